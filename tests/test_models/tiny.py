"""Small models of every algorithm, as the tests use them."""
import torch

from mmssl.models import Encoder, build_algorithm

DIM = 16
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='SyncBN'))
# a stride over maps of 1 x 1, which patches end with, leaves bfloat16 gradients unset on a CPU (a fault of torch)
FOR_PATCHES = dict(BACKBONE, strides=(1, 2, 2, 1))
NECK = dict(type='NonLinearNeck', in_channels=64, hid_channels=32, out_channels=DIM)
PREDICTOR = dict(type='LatentPredictHead', predictor=dict(NECK, in_channels=DIM, with_last_bn=False))
CONTRAST = dict(type='ContrastiveHead', temperature=0.2)
# two layers of 16 patches; dropping paths is random for each process
VIT = dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=32, patch_size=8)
TOKENIZER = dict(vocab_size=12, n_hid=8, n_blk_per_group=1)
CONFIGS = dict(
    SimCLR=dict(type='SimCLR', backbone=BACKBONE, neck=NECK, head=CONTRAST),
    SimCLRMultiCrop=dict(type='SimCLR', backbone=BACKBONE, neck=NECK, head=CONTRAST),
    DCLW=dict(type='SimCLR', backbone=BACKBONE, neck=NECK, head=dict(type='DCLHead', sigma=0.5)),
    SupCon=dict(type='SupCon', backbone=BACKBONE, neck=NECK, head=dict(type='SupConHead')),
    MoCo=dict(
        type='MoCo',
        backbone=BACKBONE,
        neck=dict(type='MoCoV2Neck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=CONTRAST,
        queue_len=20,
        feat_dim=DIM,
        momentum=0.9),
    ReSSL=dict(
        type='ReSSL',
        backbone=BACKBONE,
        neck=dict(type='MLPNeck', channels=[32, DIM]),
        head=dict(type='ReSSLHead'),
        queue_len=20,
        feat_dim=DIM,
        momentum=0.9),
    BYOL=dict(type='BYOL', backbone=BACKBONE, neck=NECK, head=PREDICTOR, base_momentum=0.9),
    SimSiam=dict(type='SimSiam', backbone=BACKBONE, neck=dict(NECK, num_layers=3), head=PREDICTOR),
    Classification=dict(
        type='Classification',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=4)),
    MMClsImageClassifierWrapper=dict(
        type='MMClsImageClassifierWrapper',
        backbone=dict(BACKBONE, type='mmcls.ResNet', out_indices=(3, )),
        neck=dict(type='mmcls.GlobalAveragePooling'),
        head=dict(type='mmcls.LinearClsHead', in_channels=64, num_classes=4, cal_acc=True)),
    RelativeLoc=dict(
        type='RelativeLoc',
        backbone=BACKBONE,
        neck=dict(type='RelativeLocNeck', in_channels=64, out_channels=32, norm_cfg=dict(type='SyncBN')),
        head=dict(type='ClsHead', in_channels=32, num_classes=8)),
    RotationPred=dict(
        type='RotationPred',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=4)),
    RotationPredOne=dict(
        type='RotationPred',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=3)),
    Jigsaw=dict(
        type='Jigsaw',
        backbone=FOR_PATCHES,
        neck=dict(
            type='ChainNeck',
            necks=[
                dict(
                    type='MLPNeck', channels=[8], norm_cfg=dict(type='SyncBN'), with_last_norm=True,
                    with_last_act=True),
                dict(type='ConcatTowers', num_towers=4)
            ]),
        head=dict(type='ClsHead', in_channels=None, num_classes=5)),
    PIRL=dict(
        type='PIRL',
        backbone=FOR_PATCHES,
        neck=dict(type='MLPNeck', channels=[DIM]),
        patch_neck=dict(
            type='ChainNeck',
            necks=[
                dict(type='MLPNeck', channels=[8]),
                dict(type='ConcatTowers', num_towers=4),
                dict(type='MLPNeck', channels=[DIM])
            ]),
        head=dict(type='NCEHead', temperature=0.2),
        memory_bank=dict(type='SimpleMemory', length=12, feat_dim=DIM, momentum=0.3),
        neg_num=9),
    MultiTask=dict(
        type='MultiTask',
        backbone=BACKBONE,
        tasks=dict(
            small=dict(
                input=1,
                stages=[2],
                head=dict(type='ClsHead', with_avg_pool=True, in_channels=None, num_classes=4),
                weight=0.3),
            large=dict(
                input=0,
                stages=[4],
                neck=dict(type='MLPNeck', channels=[32, DIM], norm_cfg=dict(type='SyncBN')),
                head=dict(type='ClsHead', in_channels=None, num_classes=4, loss=dict(type='MultiLabelLoss'))))),
    DenseCL=dict(
        type='DenseCL',
        backbone=dict(BACKBONE, strides=(1, 2, 2, 1)),  # maps of 2 x 2 positions
        neck=dict(type='DenseCLNeck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=CONTRAST,
        queue_len=20,
        feat_dim=DIM,
        momentum=0.9,
        loss_lambda=0.3),
    BarlowTwins=dict(
        type='BarlowTwins',
        backbone=BACKBONE,
        neck=dict(NECK, num_layers=3, with_last_bn=False),
        head=dict(type='LatentCrossCorrelationHead', in_channels=DIM)),
    VICReg=dict(
        type='VICReg',
        backbone=BACKBONE,
        neck=dict(NECK, num_layers=3, with_last_bn=False),
        head=dict(type='VICRegHead')),
    LeJEPA=dict(type='LeJEPA', backbone=BACKBONE, neck=NECK, head=dict(type='LeJEPAHead', num_slices=16)),
    DINO=dict(
        type='DINO',
        backbone=BACKBONE,
        neck=dict(type='DINONeck', channels=[32, DIM], out_channels=12),
        head=dict(type='DINOHead'),
        base_momentum=0.9),
    DINOv2=dict(
        type='DINOv2',
        backbone=dict(VIT, type='DINOViT', with_mask_token=True, num_registers=2, init_values=0.5),
        neck=dict(type='DINONeck', channels=[32, DIM], out_channels=12, vit_backbone=True),
        patch_neck=dict(type='DINONeck', channels=[24, 8], out_channels=10),
        head=dict(type='IBOTHead', targets='sinkhorn', teacher_temp=0.5, patch_teacher_temp=0.4),
        gram=dict(weight=0.5, start=1, interval=2),
        base_momentum=0.9),
    IBOT=dict(
        type='IBOT',
        backbone=dict(VIT, type='DINOViT', with_mask_token=True),
        neck=dict(type='IBOTNeck', channels=[32, DIM], out_channels=12, patch_channels=10),
        head=dict(type='IBOTHead', patch_channels=10),
        base_momentum=0.9),
    SEED=dict(
        type='SEED',
        backbone=BACKBONE,
        neck=dict(type='MLPNeck', channels=[32, 64]),
        head=dict(type='SEEDHead', teacher_temp=0.05),
        teacher=dict(backbone=BACKBONE),
        queue_len=20),
    DenseDistillation=dict(
        type='DenseDistillation',
        backbone=BACKBONE,
        neck=dict(type='MapNeck', channels=[32, 96]),
        head=dict(type='DenseDistillationHead'),
        teacher=dict(backbone=dict(BACKBONE, strides=(1, 2, 2, 1), out_indices=[3, 4]))),
    RelationalDistillation=dict(
        type='RelationalDistillation',
        backbone=dict(BACKBONE, strides=(1, 2, 2, 1)),
        neck=dict(type='MLPNeck', channels=[64]),
        head=dict(type='RelationalDistillationHead', patch_weight=0.5),
        teacher=dict(backbone=dict(BACKBONE, strides=(1, 2, 2, 1))),
        queue_len=20),
    SimReg=dict(
        type='SimReg',
        backbone=BACKBONE,
        neck=dict(type='MLPNeck', channels=[32, 64], norm_cfg=dict(type='SyncBN')),
        head=dict(type='SimRegHead'),
        teacher=dict(backbone=BACKBONE)),
    NNCLR=dict(
        type='NNCLR',
        backbone=BACKBONE,
        neck=NECK,
        head=dict(type='NNCLRHead', predictor=PREDICTOR['predictor']),
        queue_len=20,
        feat_dim=DIM),
    SwAV=dict(
        type='SwAV',
        backbone=BACKBONE,
        neck=dict(type='SwAVNeck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=dict(type='SwAVHead', feat_dim=DIM, num_crops=[2, 3], num_prototypes=10)),
    SwAVMomentum=dict(
        type='SwAVMomentum',
        backbone=BACKBONE,
        neck=dict(type='MLPNeck', channels=[32, 32, DIM], norm_cfg=dict(type='SyncBN'), with_l2norm=True),
        head=dict(type='SwAVHead', num_crops=[2, 3], num_prototypes=[10, 7], hard_assign_iters=1),
        momentum=0.9,
        eval_mode_iters=1),
    DeepCluster=dict(
        type='DeepCluster',
        backbone=dict(BACKBONE, in_channels=2),
        with_sobel=True,
        neck=dict(type='AvgPool2dNeck'),
        head=dict(type='ClsHead', in_channels=64, num_classes=4)),
    DeepClusterV2=dict(
        type='DeepClusterV2',
        backbone=BACKBONE,
        neck=dict(type='SwAVNeck', hid_channels=32, out_channels=DIM),
        head=dict(type='DeepClusterV2Head', temperature=0.2),
        memory_bank=dict(type='CropMemory', length=12, num_clusters=[4, 5, 3], crops=[0, 2])),
    NPID=dict(
        type='NPID',
        backbone=BACKBONE,
        neck=dict(type='LinearNeck', in_channels=64, out_channels=DIM),
        head=CONTRAST,
        memory_bank=dict(type='SimpleMemory', length=12, feat_dim=DIM, momentum=0.3),
        neg_num=9,
        ensure_neg=True),
    NPIDWithNCE=dict(
        type='NPID',
        backbone=BACKBONE,
        neck=dict(type='LinearNeck', in_channels=64, out_channels=DIM),
        head=dict(type='NCEHead', temperature=0.2),
        memory_bank=dict(type='SimpleMemory', length=12, feat_dim=DIM, momentum=0.3),
        neg_num=9),
    ODC=dict(
        type='ODC',
        backbone=BACKBONE,
        neck=dict(type='ODCNeck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=dict(type='ClsHead', in_channels=DIM, num_classes=4),
        memory_bank=dict(type='ODCMemory', length=12, feat_dim=DIM, momentum=0.3, num_classes=4, min_cluster=2)),
    InterCLRMoCo=dict(
        type='InterCLRMoCo',
        backbone=BACKBONE,
        neck=dict(type='MoCoV2Neck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=CONTRAST,
        queue_len=20,
        feat_dim=DIM,
        momentum=0.9,
        memory_bank=dict(type='InterCLRMemory', length=12, feat_dim=DIM, momentum=0.3, num_classes=4, min_cluster=2),
        neg_num=4,
        neg_sampling='hard',
        share_neck=False,
        num_classes=4),
    MoCoV3=dict(
        type='MoCoV3',
        backbone=dict(VIT, type='VisionTransformer', stop_grad_conv1=True),
        neck=dict(NECK, in_channels=16, num_layers=3, with_last_bn_affine=False, vit_backbone=True),
        head=dict(type='MoCoV3Head', predictor=dict(NECK, in_channels=DIM), temperature=0.2),
        base_momentum=0.9),
    IJEPA=dict(
        type='IJEPA',
        backbone=dict(VIT, type='IJEPAViT'),
        neck=dict(type='IJEPAPredictor', embed_dims=8, num_layers=1, num_heads=2),
        head=dict(type='IJEPAHead'),
        masks=dict(num_targets=2, min_keep=3),
        base_momentum=0.9),
    MSN=dict(
        type='MSN',
        backbone=dict(VIT, type='DINOViT'),
        neck=dict(
            type='MLPNeck',
            channels=[32, DIM],
            norm_cfg=dict(type='SyncBN'),
            act='GELU',
            with_avg_pool=False,
            vit_backbone=True),
        head=dict(type='MSNHead', num_prototypes=12),
        mask_ratio=0.3,
        base_momentum=0.9),
    MAE=dict(
        type='MAE',
        backbone=dict(VIT, type='MAEViT'),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=16,
            patch_size=8,
            embed_dim=16,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=8)),
    SimMIM=dict(
        type='SimMIM',
        backbone=dict(
            type='SimMIMSwinTransformer',
            arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
            img_size=32,
            out_indices=(1, ),
            drop_path_rate=0.,
            stage_cfgs=dict(block_cfgs=dict(window_size=4))),
        neck=dict(type='SimMIMNeck', in_channels=16, encoder_stride=8),
        head=dict(type='SimMIMHead', patch_size=4, encoder_in_channels=3)),
    MaskFeat=dict(
        type='MaskFeat',
        backbone=dict(VIT, type='MaskFeatViT'),
        head=dict(type='MaskFeatPretrainHead', embed_dim=16, hog_dim=108),
        hog_para=dict(nbins=9, pool=4, gaussian_window=16)),
    CAE=dict(
        type='CAE',
        backbone=dict(VIT, type='CAEViT', init_values=0.1, qkv_bias=False),
        neck=dict(
            type='CAENeck',
            num_classes=12,
            embed_dims=16,
            regressor_depth=1,
            decoder_depth=1,
            num_heads=2,
            init_values=0.1,
            mask_tokens_num=6),
        head=dict(type='CAEHead', tokenizer_path='of build()', lambd=2)))


def random_mask(seed, size, side, masked):
    """`masked` of the side * side patches of each image."""
    noise = torch.rand(size, side * side, generator=torch.Generator().manual_seed(seed))
    return (noise.argsort(1).argsort(1) < masked).view(size, side, side).int()


def give_tokenizer(model):
    """A small random tokenizer in place of the file."""
    torch.manual_seed(5)
    vars(model.head)['tokenizer'] = Encoder(**TOKENIZER).eval()


def start_crop_memory(model):
    """Random features, and their clusters; one sample has none."""
    bank = model.memory_bank
    bank.feature_bank.copy_(torch.randn(12, 2, DIM, generator=torch.Generator().manual_seed(1)))
    bank.feature_bank[3] = 0
    bank.cluster(seed=1)


def give_teacher(model):
    """The same random teacher in each process, in place of a file."""
    torch.manual_seed(5)
    for module in model.teacher.network.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    model.teacher._loaded = True


def start_memory(model):
    """Features and clusters of all samples; positives are the next sample of the cluster instead of a random one."""
    bank = model.memory_bank
    bank.init_memory(torch.randn(12, DIM, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 4)

    # each process draws for its own samples, so that two could not equal one
    def pick_positives(same, idx):
        behind = (torch.arange(12, device=idx.device) - idx[:, None] - 1).remainder(12)
        return (same * behind.sub(12)).argmin(1, keepdim=True)

    model.pick_positives = pick_positives


# Patches of each image, of 16 x 16 pixels, which stand in the place of views or beside the image
PATCHES = dict(Jigsaw=4, PIRL=4)
# Number of views that the data set of an algorithm gives, where it is not two; 0 is one image, not in a list
VIEWS = dict(
    Classification=0,
    DeepCluster=0,
    IJEPA=0,
    Jigsaw=0,
    MAE=0,
    MMClsImageClassifierWrapper=0,
    NPID=0,
    NPIDWithNCE=0,
    ODC=0,
    PIRL=0,
    RelativeLoc=9,
    RotationPred=4,
    RotationPredOne=0,
    SimCLRMultiCrop=4,
    DeepClusterV2=5,
    SwAV=5,
    SwAVMomentum=5,
    DINO=5,
    IBOT=5,
    DINOv2=5,
    LeJEPA=5,
    DenseDistillation=0,
    ReSSL=4,
    RelationalDistillation=0,
    MSN=5,
    SEED=0,
    SimReg=0,
    SimMIM=1,
    MaskFeat=1,
    CAE=2)
# Height and width of each view, where it is not 32
SIDES = dict(
    DeepClusterV2=(32, 32, 24, 24, 24),
    DINO=(32, 32, 24, 24, 24),
    IBOT=(32, 32, 24, 24, 24),
    DINOv2=(32, 32, 24, 24, 24),
    LeJEPA=(32, 32, 24, 24, 24),
    MSN=(32, 32, 32, 24, 24),
    MultiTask=(32, 24),
    ReSSL=(32, 32, 32, 24),
    SimCLRMultiCrop=(32, 32, 24, 24),
    SwAV=(32, 32, 24, 24, 24),
    SwAVMomentum=(32, 32, 24, 24, 24))
# Patches along a side of the mask that comes with the views, and how many of them are masked
MASKS = dict(SimMIM=(8, 20), MaskFeat=(4, 6), CAE=(4, 6))
# What a batch holds besides img and idx, computed from idx
TARGETS = dict(
    Classification=dict(label=lambda idx: idx % 4),
    DeepCluster=dict(pseudo_label=lambda idx: idx * 3 % 4),
    Jigsaw=dict(label=lambda idx: idx * 2 % 5),
    MMClsImageClassifierWrapper=dict(label=lambda idx: idx % 4),
    MultiTask=dict(label=lambda idx: idx % 4),
    RelativeLoc=dict(patch_label=lambda idx: torch.arange(8).expand(len(idx), 8)),
    RotationPred=dict(rot_label=lambda idx: torch.arange(4).expand(len(idx), 4)),
    RotationPredOne=dict(rot_label=lambda idx: idx % 3),
    SupCon=dict(label=lambda idx: idx % 4))
# What is done to a model besides initialising it: the queue is full in the third of the batches of 8, 8 and 6,
# and two processes take unequal shares of it
PREPARE = dict(
    DeepClusterV2=start_crop_memory,
    ODC=start_memory,
    InterCLRMoCo=start_memory,
    SwAV=lambda model: model.head.build_queue(13),
    SwAVMomentum=lambda model: model.head.build_queue(13),
    DeepCluster=lambda model: model.set_reweight([0, 1, 1, 2, 2, 2, 2, 3]),
    MAE=lambda model: torch.manual_seed(7),  # all processes draw the masks of all
    LeJEPA=lambda model: torch.manual_seed(7),  # all processes draw the directions that the first one hands out
    DenseDistillation=give_teacher,
    RelationalDistillation=give_teacher,
    SEED=give_teacher,
    SimReg=give_teacher,
    CAE=give_tokenizer)
VITS = ('CAE', 'DINOv2', 'IBOT', 'MAE', 'MaskFeat', 'MoCoV3', 'MSN')
TRANSFORMERS = (*VITS, 'IJEPA', 'SimMIM')
TWO_VIEWS = [name for name in CONFIGS if name not in VIEWS]


def build(name, seed=0, **changes):
    """An initialised model of the algorithm of this name.

    Without dropout: each process draws it for its own samples, so that two could not equal one.
    """
    torch.manual_seed(seed)
    model = build_algorithm(dict(CONFIGS[name], **changes))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.
    if name == 'PIRL':
        model.fit_to_data(12)
    PREPARE.get(name, lambda model: None)(model)
    return model


def plain_images(img):
    """Images, N x C x H x W, of what a batch holds."""
    img = img['image'] if isinstance(img, dict) else img[0] if isinstance(img, list) else img
    return img[:, 0] if img.dim() == 5 else img


def batch(name, size=8, seed=0, start=0, stop=None):
    """Rows `start` to `stop` of a random batch, as a loader gives it."""
    generator = torch.Generator().manual_seed(seed)
    count = VIEWS.get(name, 2)
    sides = SIDES.get(name, [32] * (count or 1))
    views = [torch.randn(size, 3, side, side, generator=generator)[start:stop] for side in sides]
    if name in MASKS:
        views.append(random_mask(seed, size, *MASKS[name])[start:stop])
    idx = torch.arange(size)[start:stop]
    img = views if count else views[0]
    if name in PATCHES:
        patches = torch.randn(size, PATCHES[name], 3, 16, 16, generator=generator)[start:stop]
        img = patches if name == 'Jigsaw' else dict(image=img, patches=patches)
    targets = {key: target(idx) for key, target in TARGETS.get(name, {}).items()}
    return dict(img=img, idx=idx, **targets)

"""A training of any algorithm that is stopped and resumed is the training that was never stopped, bit for bit."""
import pytest
import torch
from mmcv import Config

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import Encoder, algorithms, build_algorithm, build_backbone
from mmssl.utils.checkpoint import read_checkpoint

# DALL-E's encoder, small and random
TOKENIZER = Encoder(n_hid=8, n_blk_per_group=1, vocab_size=12).state_dict()
SAMPLES, BATCH, DIM, CLUSTERS = 240, 40, 8, 10
SOURCE = dict(type='Digits', num_images=SAMPLES)
CROP = [dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.)), dict(type='RandomHorizontalFlip')]
SMALL_CROP = [dict(type='RandomResizedCrop', size=8, scale=(0.1, 0.3))]
NORM = dict(mean=[0.3], std=[0.3])

BACKBONE = dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))
# what SEED and SimReg learn from, random as well
TEACHER = dict(backbone=dict(BACKBONE, base_channels=8), checkpoint='teacher.pth')
NECK = dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=DIM)
MLP = dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN'))
PREDICTOR = dict(type='LatentPredictHead', predictor=dict(MLP, in_channels=DIM, with_avg_pool=False))
CONTRAST = dict(type='ContrastiveHead', temperature=0.2)


def memory(kind, momentum):
    return dict(type=kind, length=SAMPLES, feat_dim=DIM, momentum=momentum, num_classes=CLUSTERS, min_cluster=5)


MOCO = dict(neck=NECK, head=CONTRAST, queue_len=100, feat_dim=DIM, momentum=0.9)
INTERCLR = dict(
    MOCO,
    type='InterCLRMoCo',
    memory_bank=memory('InterCLRMemory', 1.),
    num_classes=CLUSTERS,
    neg_num=30,
    semihard_neg_pool_num=60,
    semieasy_neg_pool_num=60)
VIT = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=16,
    patch_size=4,
    drop_rate=0.1,
    drop_path_rate=0.2)
MIXED = dict(augments=[dict(type='BatchMixup', alpha=0.8, prob=0.4), dict(type='BatchCutMix', alpha=1.0, prob=0.4)])
# `type` is the name unless it is given
MODELS = dict(
    SimCLR=dict(neck=MLP, head=CONTRAST),
    MoCo=MOCO,
    BYOL=dict(neck=MLP, head=PREDICTOR, base_momentum=0.9),
    SimSiam=dict(neck=dict(MLP, num_layers=3), head=PREDICTOR),
    DenseCL=dict(MOCO, neck=dict(type='DenseCLNeck', in_channels=32, hid_channels=16, out_channels=DIM)),
    SwAV=dict(
        neck=dict(type='SwAVNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=dict(type='SwAVHead', feat_dim=DIM, num_crops=[2, 2], num_prototypes=12)),
    SimCLRMultiCrop=dict(type='SimCLR', neck=MLP, head=CONTRAST),
    SimCLRMixedCrops=dict(type='SimCLR', neck=MLP, head=CONTRAST),
    SupCon=dict(neck=MLP, head=dict(type='SupConHead')),
    # hard codes, and batch norm's own statistics, beyond two of the places of resuming
    SwAVMomentum=dict(
        neck=dict(type='MLPNeck', channels=[16, 16, DIM], with_l2norm=True),
        head=dict(type='SwAVHead', num_prototypes=12, hard_assign_iters=7),
        momentum=0.9,
        eval_mode_iters=8),
    DeepClusterV2=dict(
        neck=dict(type='SwAVNeck', hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=dict(type='DeepClusterV2Head'),
        memory_bank=dict(type='CropMemory', num_clusters=[CLUSTERS, 7, 12])),
    BarlowTwins=dict(
        neck=dict(MLP, num_layers=3, with_last_bn=False), head=dict(type='LatentCrossCorrelationHead',
                                                                    in_channels=DIM)),
    VICReg=dict(neck=dict(MLP, num_layers=3, with_last_bn=False), head=dict(type='VICRegHead')),
    LeJEPA=dict(neck=MLP, head=dict(type='LeJEPAHead', num_slices=8)),
    DINO=dict(
        neck=dict(type='DINONeck', channels=[16, DIM], out_channels=12), head=dict(type='DINOHead'), base_momentum=0.9),
    IJEPA=dict(
        backbone=dict(VIT, type='IJEPAViT'),
        neck=dict(type='IJEPAPredictor', embed_dims=16, num_layers=1, num_heads=2),
        head=dict(type='IJEPAHead'),
        masks=dict(num_targets=2, min_keep=3),
        base_momentum=0.9),
    MSN=dict(
        backbone=dict(VIT, type='DINOViT'),
        neck=dict(
            type='MLPNeck',
            channels=[16, DIM],
            norm_cfg=dict(type='BN'),
            act='GELU',
            with_avg_pool=False,
            vit_backbone=True),
        head=dict(type='MSNHead', num_prototypes=12),
        mask_ratio=0.3,
        base_momentum=0.9),
    # the earlier teacher is copied before and behind each place of resuming
    DINOv2=dict(
        backbone=dict(
            VIT, type='DINOViT', with_mask_token=True, num_registers=1, init_values=0.1, drop_path_subset=True),
        neck=dict(type='DINONeck', channels=[16, DIM], out_channels=12, vit_backbone=True),
        patch_neck=dict(type='DINONeck', channels=[16, DIM], out_channels=10),
        head=dict(type='IBOTHead'),
        gram=dict(start=3, interval=4),
        base_momentum=0.9),
    IBOT=dict(
        backbone=dict(VIT, type='DINOViT', with_mask_token=True),
        neck=dict(type='IBOTNeck', channels=[16, DIM], out_channels=12),
        head=dict(type='IBOTHead'),
        base_momentum=0.9),
    SEED=dict(neck=dict(type='MLPNeck', channels=[16, 64]), head=dict(type='SEEDHead'), teacher=TEACHER, queue_len=100),
    DenseDistillation=dict(
        neck=dict(type='MapNeck', channels=[64]), head=dict(type='DenseDistillationHead'), teacher=TEACHER),
    RelationalDistillation=dict(
        neck=dict(type='MLPNeck', channels=[64]),
        head=dict(type='RelationalDistillationHead'),
        teacher=TEACHER,
        queue_len=100),
    SimReg=dict(
        neck=dict(type='MLPNeck', channels=[16, 64], norm_cfg=dict(type='BN')),
        head=dict(type='SimRegHead'),
        teacher=TEACHER),
    NNCLR=dict(neck=MLP, head=dict(type='NNCLRHead', predictor=PREDICTOR['predictor']), queue_len=100, feat_dim=DIM),
    ReSSL=dict(neck=dict(type='MLPNeck', channels=[16, DIM]), head=dict(type='ReSSLHead'), queue_len=100, feat_dim=DIM),
    NPID=dict(
        neck=dict(type='LinearNeck', in_channels=32, out_channels=DIM),
        head=CONTRAST,
        memory_bank=dict(type='SimpleMemory', length=SAMPLES, feat_dim=DIM, momentum=0.5),
        neg_num=50),
    NPIDWithNCE=dict(
        type='NPID',
        neck=dict(type='LinearNeck', in_channels=32, out_channels=DIM),
        head=dict(type='NCEHead'),
        memory_bank=dict(type='SimpleMemory', feat_dim=DIM),
        neg_num=50,
        ensure_neg=True),
    DeepCluster=dict(
        backbone=dict(BACKBONE, in_channels=2),
        neck=dict(type='AvgPool2dNeck'),
        head=dict(type='ClsHead', in_channels=32, num_classes=CLUSTERS)),
    DeepClusterReweighted=dict(
        type='DeepCluster',
        with_sobel=False,
        neck=dict(type='AvgPool2dNeck'),
        head=dict(type='ClsHead', in_channels=32, num_classes=CLUSTERS)),
    ODC=dict(
        neck=dict(type='ODCNeck', in_channels=32, hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=dict(type='ClsHead', in_channels=DIM, num_classes=CLUSTERS),
        memory_bank=memory('ODCMemory', 0.5)),
    InterCLRMoCo=INTERCLR,
    InterCLRMoCoOffline=dict(INTERCLR, online_labels=False, share_neck=False),
    RelativeLoc=dict(
        neck=dict(type='RelativeLocNeck', in_channels=32, out_channels=16),
        head=dict(type='ClsHead', in_channels=16, num_classes=8)),
    Jigsaw=dict(
        neck=dict(
            type='ChainNeck',
            necks=[
                dict(type='MLPNeck', channels=[8], norm_cfg=dict(type='BN'), with_last_norm=True, with_last_act=True),
                dict(type='ConcatTowers', num_towers=4)
            ]),
        head=dict(type='ClsHead', in_channels=None, num_classes=12)),
    PIRL=dict(
        neck=dict(type='MLPNeck', channels=[DIM]),
        patch_neck=dict(
            type='ChainNeck',
            necks=[
                dict(type='MLPNeck', channels=[8]),
                dict(type='ConcatTowers', num_towers=4),
                dict(type='MLPNeck', channels=[DIM])
            ]),
        head=dict(type='NCEHead', temperature=0.2),
        memory_bank=dict(type='SimpleMemory', feat_dim=DIM, momentum=0.5),
        neg_num=50),
    RotationPred=dict(head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=4)),
    RotationPredOne=dict(
        type='RotationPred', head=dict(type='ClsHead', in_channels=None, with_avg_pool=True, num_classes=8)),
    MoCoV3=dict(
        backbone=dict(VIT, type='VisionTransformer'),
        neck=dict(MLP, in_channels=16, vit_backbone=True),
        head=dict(PREDICTOR, type='MoCoV3Head'),
        base_momentum=0.9),
    MultiTask=dict(
        tasks=dict(
            digit=dict(
                input=0,
                stages=[4],
                neck=dict(type='MLPNeck', channels=[16, DIM], dropout=0.2),
                head=dict(type='ClsHead', in_channels=None, num_classes=10)),
            same=dict(
                input=1,
                stages=[2],
                head=dict(
                    type='ClsHead',
                    with_avg_pool=True,
                    in_channels=None,
                    num_classes=10,
                    loss=dict(type='MultiLabelLoss')),
                weight=0.5))),
    MAE=dict(
        backbone=dict(VIT, type='MAEViT'),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=16,
            patch_size=4,
            embed_dim=16,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=4)),
    SimMIM=dict(
        backbone=dict(
            type='SimMIMSwinTransformer',
            arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
            img_size=16,
            patch_size=2,
            out_indices=(1, ),
            stage_cfgs=dict(block_cfgs=dict(window_size=4))),
        neck=dict(type='SimMIMNeck', in_channels=16, encoder_stride=4),
        head=dict(type='SimMIMHead', patch_size=2, encoder_in_channels=3)),
    MaskFeat=dict(
        backbone=dict(VIT, type='MaskFeatViT'),
        head=dict(type='MaskFeatPretrainHead', embed_dim=16, hog_dim=27),
        hog_para=dict(nbins=9, pool=4, gaussian_window=16)),
    CAE=dict(
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
        head=dict(type='CAEHead', tokenizer_path='tokenizer.pth', lambd=2),
        base_momentum=0.9,
        img_norm_cfg=dict(mean=[0.3] * 3, std=[0.3] * 3)),
    Classification=dict(
        backbone=dict(VIT, type='MIMVisionTransformer', final_norm=False),
        head=dict(type='MAEFinetuneHead', embed_dim=16, num_classes=10),
        train_cfg=MIXED),
    MMClsImageClassifierWrapper=dict(
        backbone=dict(VIT, type='mmcls.VisionTransformer'),
        head=dict(type='mmcls.VisionTransformerClsHead', in_channels=16, num_classes=10, cal_acc=True),
        train_cfg=MIXED),
)

CLUSTERED = dict(type='DeepClusterDataset', pipeline=CROP)
LABELLED = dict(type='SingleViewDataset', pipeline=CROP)
# data sets other than two views
MULTI_CROP = dict(type='MultiViewDataset', num_views=[2, 2], pipelines=[CROP, SMALL_CROP])
DATA = dict(
    SupCon=dict(type='MultiViewDataset', num_views=[2], pipelines=[CROP], with_label=True),
    DINO=MULTI_CROP,
    IJEPA=LABELLED,
    IBOT=MULTI_CROP,
    DINOv2=MULTI_CROP,
    LeJEPA=MULTI_CROP,
    MSN=MULTI_CROP,
    SimCLRMultiCrop=MULTI_CROP,
    SwAV=MULTI_CROP,
    SwAVMomentum=MULTI_CROP,
    DeepClusterV2=MULTI_CROP,
    Classification=LABELLED,
    MMClsImageClassifierWrapper=LABELLED,
    NPID=LABELLED,
    DenseDistillation=LABELLED,
    RelationalDistillation=LABELLED,
    SEED=LABELLED,
    SimReg=LABELLED,
    NPIDWithNCE=LABELLED,
    DeepCluster=CLUSTERED,
    DeepClusterReweighted=CLUSTERED,
    ODC=CLUSTERED,
    RelativeLoc=dict(
        type='RelativeLocDataset',
        pipeline=[dict(type='Resize', size=27), dict(type='RandomCrop', size=24)],
        format_pipeline=[]),
    Jigsaw=dict(
        type='SampleDataset',
        pipeline=[
            *CROP,
            dict(type='ImageToPatches', num_patches=4),
            dict(type='PermutePatches', permutations=12, num_patches=4)
        ]),
    PIRL=dict(
        type='SampleDataset',
        pipeline=[
            dict(type='ImageAndPatches', size=16, patch_size=20, num_patches=4),
            dict(type='RandomHorizontalFlip')
        ]),
    RotationPred=dict(type='RotationPredDataset', pipeline=CROP),
    RotationPredOne=dict(type='SampleDataset', pipeline=[*CROP, dict(type='RandomAngle', num_angles=8)]),
    MultiTask=dict(type='SampleDataset', pipeline=[dict(type='Copies', num=2), *CROP]),
    MAE=dict(type='SingleViewDataset', pipeline=CROP),
    SimMIM=dict(
        type='SingleViewDataset',
        pipeline=[
            *CROP,
            dict(type='SimMIMMaskGenerator', input_size=16, mask_patch_size=4, model_patch_size=2, mask_ratio=0.6)
        ]),
    MaskFeat=dict(
        type='SingleViewDataset',
        pipeline=[*CROP, dict(type='MaskFeatMaskGenerator', mask_window_size=4, min_num_patches=2)]),
    CAE=dict(
        type='SingleViewDataset',
        pipeline=[
            dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=16, second_size=32),
            dict(type='BEiTMaskGenerator', input_size=4, num_masking_patches=6, min_num_patches=2)
        ]))


def clustering(kind, **kwargs):
    """A hook that clusters the images seen plainly."""
    dataset = dict(type='SingleViewDataset', data_source=SOURCE, pipeline=[dict(type='Resize', size=16)], prefetch=True)
    extractor = dict(dataset=dataset, samples_per_gpu=80, workers_per_gpu=0, prefetch=True, img_norm_cfg=NORM)
    return dict(type=kind, extractor=extractor, clustering=dict(type='Kmeans', k=CLUSTERS, pca_dim=-1), **kwargs)


WEIGHTS = dict(reweight=True, reweight_pow=0.5)
UPKEEP = dict(centroids_update_interval=4, deal_with_small_clusters_interval=1, evaluate_interval=50)
HOOKS = dict(
    Classification=[dict(type='EMAHook', momentum=0.1, priority='HIGH')],
    MMClsImageClassifierWrapper=[dict(type='EMAHook', momentum=0.1, interval=2, priority='HIGH')],
    BYOL=[dict(type='MomentumUpdateHook')],
    DINO=[
        dict(type='MomentumUpdateHook'),
        dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07),
        dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine')
    ],
    IJEPA=[
        dict(type='MomentumUpdateHook', mode='linear'),
        dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine')
    ],
    MSN=[dict(type='MomentumUpdateHook', mode='linear')],
    DINOv2=[
        dict(type='MomentumUpdateHook'),
        dict(type='ScheduleHook', target='head.patch_teacher_temp', start=0.04, end=0.07)
    ],
    IBOT=[
        dict(type='MomentumUpdateHook'),
        dict(type='ScheduleHook', target='head.teacher_temp', start=0.04, end=0.07),
        dict(type='ScheduleHook', target='head.patch_teacher_temp', start=0.04, end=0.07)
    ],
    MoCoV3=[dict(type='MomentumUpdateHook')],
    SimSiam=[dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.05)],
    # the dense loss begins within the first epoch
    DenseCL=[dict(type='DenseCLHook', start_iters=4)],
    # the queue begins with the second epoch and is full after two batches
    SwAV=[
        dict(
            type='SwAVHook',
            priority='VERY_HIGH',
            batch_size=BATCH,
            epoch_queue_starts=1,
            feat_dim=DIM,
            queue_length=2 * BATCH)
    ],
    SwAVMomentum=[dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=1, queue_length=2 * BATCH)],
    DeepClusterV2=[dict(type='DeepClusterV2Hook')],
    DeepCluster=[clustering('DeepClusterHook', unif_sampling=True, reweight=False, reweight_pow=0.5)],
    DeepClusterReweighted=[clustering('DeepClusterHook', unif_sampling=False, **WEIGHTS)],
    ODC=[
        clustering('DeepClusterHook', unif_sampling=False, init_memory=True, interval=9999999999, **WEIGHTS),
        dict(type='ODCHook', **WEIGHTS, **UPKEEP)
    ],
    InterCLRMoCo=[clustering('InterCLRHook', **UPKEEP)],
    # all samples are clustered at the start of the second epoch
    InterCLRMoCoOffline=[clustering('InterCLRHook', online_labels=False, warmup_epochs=1, **UPKEEP)])
LAYER_DECAY = dict(constructor='TransformerFinetuneConstructor', model_type='vit', layer_decay=0.7)
OPTIMIZER = dict(
    DINOv2=dict(paramwise_options=dict(flat_decay_mult=0., layer_decay_rate=0.9, patch_embed_mult=0.2)),
    Classification=dict(LAYER_DECAY, paramwise_options={'ln|bias|_norm': dict(weight_decay=0.)}),
    MMClsImageClassifierWrapper=LAYER_DECAY,
    SimSiam=dict(paramwise_options=dict(predictor=dict(fix_lr=True))))
# the prototypes of SwAV stay for the first epoch and one iteration
OPTIMIZER_CONFIG = dict(
    DINOv2=dict(grad_clip=dict(max_norm=3.0, per='part'), frozen_layers_cfg=dict(last_layer='1 epoch')),
    SwAV=dict(frozen_layers_cfg=dict(prototypes=7)),
    SwAVMomentum=dict(frozen_layers_cfg={'head.prototypes': '1 epoch'}))


def config(name, folder):
    two_views = dict(type='MultiViewDataset', num_views=[2], pipelines=[CROP])
    return Config(
        dict(
            model={
                'type': name,
                'backbone': BACKBONE,
                **MODELS[name]
            },
            data=dict(
                samples_per_gpu=BATCH,
                workers_per_gpu=0,
                drop_last=True,
                collate=dict(type='MixupCrops') if name == 'SimCLRMixedCrops' else None,
                train=dict(DATA.get(name, two_views), data_source=SOURCE, prefetch=True)),
            img_norm_cfg=NORM,
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4, **OPTIMIZER.get(name, {})),
            optimizer_config=OPTIMIZER_CONFIG.get(name, {}),
            lr_config=dict(policy='CosineAnnealing', min_lr=0., by_epoch=False, warmup='linear', warmup_iters=4),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=5, hooks=[]),
            custom_hooks=[*HOOKS.get(name, []),
                          dict(type='CheckpointHook', interval=3, by_epoch=False)],
            seed=1,
            work_dir=str(folder)))


def train(name, folder, seed, resume_from=None, **switches):
    """The checkpoint at the end, and the labels of the training's data set."""
    cfg = config(name, folder)
    cfg.merge_from_dict(dict(switches, resume_from=resume_from))
    set_random_seed(seed)
    dataset = build_dataset(cfg.data.train)
    model = build_algorithm(cfg.model)
    model.init_weights()
    if name == 'CAE':
        torch.save(TOKENIZER, folder.parent / 'tokenizer.pth')
        model.head.tokenizer_path = folder.parent / 'tokenizer.pth'
    if isinstance(model, algorithms.Distillation):
        torch.manual_seed(5)
        torch.save(build_backbone(TEACHER['backbone']).state_dict(), folder.parent / 'teacher.pth')
        model.teacher.checkpoint = folder.parent / 'teacher.pth'
        set_random_seed(seed)
    train_model(model, dataset, cfg, meta={})
    return read_checkpoint(folder / 'epoch_2.pth'), getattr(dataset, 'pseudo_labels', None)


def assert_same(a, b, where):
    """Bit for bit equality of nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b)):
            assert_same(*pair, f'{where}.{i}')
    else:
        assert a == b, where


def test_no_algorithm_is_forgotten():
    tried = {model.get('type', name) for name, model in MODELS.items()}
    assert tried == {*algorithms.__all__} - {'BackboneNeckHead', 'BaseModel', 'Distillation'}


# make test-fast takes two of them
@pytest.mark.parametrize(
    'name', [name if name in ('MoCo', 'ODC') else pytest.param(name, marks=pytest.mark.long) for name in MODELS])
def test_resumed_is_uninterrupted(name, tmp_path):
    """PITFALLS: queues and banks outside the checkpoint; labels that are lost; mmcv's resume in the midst of an epoch.

    An epoch has 6 iterations. Training is resumed behind iteration 9 (in the second epoch, behind its clustering and
    the start of its queue), behind iteration 6 (before the hooks at the end of the first epoch) and behind these
    hooks, each time from other random states and weights.
    """
    whole, labels = train(name, tmp_path / 'whole', seed=0)
    assert whole['meta']['iter'] == 12
    for number, file in enumerate(('iter_9', 'iter_6', 'epoch_1'), 1):
        again, found = train(name, tmp_path / file, number, tmp_path / f'whole/{file}.pth')
        for checkpoint in (whole, again):
            checkpoint['hooks'] = {k: v for k, v in checkpoint['hooks'].items() if not k.startswith('CheckpointHook')}
        for part in ('state_dict', 'optimizer', 'hooks', 'rng_states'):
            assert_same(again[part], whole[part], f'{file}: {part}')
        if labels is not None:
            assert labels.min() >= 0 and labels.unique().numel() > 1
        assert_same(found, labels, f'{file}: pseudo_labels')

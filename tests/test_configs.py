"""The recipes: their figures are the published ones, and each trains."""
import ast
import copy
import re
from pathlib import Path

import mmcv
import pytest
import torch
from test_configs_variants import VARIANTS
from torch.nn.functional import normalize

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / 'configs' / 'selfsup').glob('[!_]*/*.py'))

RESNET50 = 'backbone.type=ResNet; backbone.depth=50; backbone.in_channels=3; backbone.out_indices=[4]; '
MOCO = 'type=MoCo; queue_len=65536; feat_dim=128; momentum=0.999; ' + RESNET50 + 'backbone.norm_cfg.type=BN; '
MODELS = dict(
    mocov1=MOCO + 'neck.type=LinearNeck; neck.in_channels=2048; neck.out_channels=128; neck.with_avg_pool=True; '
    'head.type=ContrastiveHead; head.temperature=0.07',
    mocov2=MOCO + 'neck.type=MoCoV2Neck; neck.in_channels=2048; neck.hid_channels=2048; neck.out_channels=128; '
    'neck.with_avg_pool=True; head.type=ContrastiveHead; head.temperature=0.2',
    simclr='type=SimCLR; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=NonLinearNeck; neck.in_channels=2048; neck.hid_channels=2048; neck.out_channels=128; '
    'neck.num_layers=2; neck.with_avg_pool=True; head.type=ContrastiveHead; head.temperature=0.1',
    byol='type=BYOL; base_momentum=0.99; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; neck.type=NonLinearNeck; '
    'neck.in_channels=2048; neck.hid_channels=4096; neck.out_channels=256; neck.num_layers=2; neck.with_bias=True; '
    'neck.with_last_bn=False; neck.with_avg_pool=True; head.type=LatentPredictHead; '
    'head.predictor.type=NonLinearNeck; head.predictor.in_channels=256; head.predictor.hid_channels=4096; '
    'head.predictor.out_channels=256; head.predictor.num_layers=2; head.predictor.with_bias=True; '
    'head.predictor.with_last_bn=False; head.predictor.with_avg_pool=False',
    barlowtwins='type=BarlowTwins; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=NonLinearNeck; neck.in_channels=2048; neck.hid_channels=8192; neck.out_channels=8192; '
    'neck.num_layers=3; neck.with_last_bn=False; neck.with_last_bn_affine=False; neck.with_avg_pool=True; '
    "neck.init_cfg.type=Kaiming; neck.init_cfg.distribution=uniform; neck.init_cfg.layer=['Linear']; "
    'head.type=LatentCrossCorrelationHead; head.in_channels=8192',
    deepcluster='type=DeepCluster; ' + RESNET50.replace('in_channels=3', 'in_channels=2') +
    'backbone.norm_cfg.type=BN; neck.type=AvgPool2dNeck; head.type=ClsHead; head.with_avg_pool=False; '
    'head.in_channels=2048; head.num_classes=10000; with_sobel=True',
    densecl='type=DenseCL; queue_len=65536; feat_dim=128; momentum=0.999; loss_lambda=0.5; ' + RESNET50 +
    'backbone.norm_cfg.type=BN; neck.type=DenseCLNeck; neck.in_channels=2048; neck.hid_channels=2048; '
    'neck.out_channels=128; neck.num_grid=None; head.type=ContrastiveHead; head.temperature=0.2',
    interclr='type=InterCLRMoCo; queue_len=65536; feat_dim=128; momentum=0.999; ' + RESNET50 +
    'backbone.norm_cfg.type=BN; neck.type=MoCoV2Neck; neck.in_channels=2048; neck.hid_channels=2048; '
    'neck.out_channels=128; neck.with_avg_pool=True; head.type=ContrastiveHead; head.temperature=0.2; '
    'memory_bank.type=InterCLRMemory; memory_bank.feat_dim=128; '
    'memory_bank.momentum=1.0; memory_bank.num_classes=10000; memory_bank.min_cluster=20; memory_bank.debug=False; '
    'online_labels=True; neg_num=16384; neg_sampling=semihard; semihard_neg_pool_num=128000; '
    'semieasy_neg_pool_num=128000; intra_cos_marign_loss=False; intra_cos_margin=0; inter_cos_marign_loss=True; '
    'inter_cos_margin=-0.5; intra_loss_weight=0.75; inter_loss_weight=0.25; share_neck=True; num_classes=10000',
    npid='type=NPID; neg_num=65536; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; neck.type=LinearNeck; '
    'neck.in_channels=2048; neck.out_channels=128; neck.with_avg_pool=True; head.type=ContrastiveHead; '
    'head.temperature=0.07; memory_bank.type=SimpleMemory; memory_bank.feat_dim=128; '
    'memory_bank.momentum=0.5',
    odc='type=ODC; with_sobel=False; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; neck.type=ODCNeck; '
    'neck.in_channels=2048; neck.hid_channels=512; neck.out_channels=256; neck.with_avg_pool=True; '
    'head.type=ClsHead; head.with_avg_pool=False; head.in_channels=256; head.num_classes=10000; '
    'memory_bank.type=ODCMemory; memory_bank.feat_dim=256; memory_bank.momentum=0.5; '
    'memory_bank.num_classes=10000; memory_bank.min_cluster=20; memory_bank.debug=False',
    relative_loc='type=RelativeLoc; ' + RESNET50 + 'backbone.norm_cfg.type=BN; neck.type=RelativeLocNeck; '
    'neck.in_channels=2048; neck.out_channels=4096; neck.with_avg_pool=True; head.type=ClsHead; '
    "head.with_avg_pool=False; head.in_channels=4096; head.num_classes=8; head.init_cfg=[{'type': 'Normal', "
    "'std': 0.005, 'layer': 'Linear'}, {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']}]",
    rotation_pred='type=RotationPred; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; head.type=ClsHead; '
    'head.with_avg_pool=True; head.in_channels=2048; head.num_classes=4',
    swav='type=SwAV; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=SwAVNeck; neck.hid_channels=2048; neck.out_channels=128; neck.with_avg_pool=True; '
    'head.type=SwAVHead; head.epsilon=0.05; head.temperature=0.1',
    simsiam='type=SimSiam; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=NonLinearNeck; neck.in_channels=2048; neck.hid_channels=2048; neck.out_channels=2048; '
    'neck.num_layers=3; neck.with_last_bn_affine=False; neck.with_avg_pool=True; head.type=LatentPredictHead; '
    'head.predictor.type=NonLinearNeck; head.predictor.in_channels=2048; head.predictor.hid_channels=512; '
    'head.predictor.out_channels=2048; head.predictor.with_avg_pool=False; head.predictor.with_last_bn=False; '
    'head.predictor.with_last_bias=True')

MODELS.update(
    mocov3='type=MoCoV3; base_momentum=0.99; backbone.type=VisionTransformer; backbone.arch=mocov3-small; '
    'backbone.img_size=224; backbone.patch_size=16; backbone.stop_grad_conv1=True; neck.type=NonLinearNeck; '
    'neck.in_channels=384; neck.hid_channels=4096; neck.out_channels=256; neck.num_layers=3; neck.with_bias=False; '
    'neck.with_last_bn=True; neck.with_last_bn_affine=False; neck.with_last_bias=False; neck.with_avg_pool=False; '
    'neck.vit_backbone=True; head.type=MoCoV3Head; head.predictor.type=NonLinearNeck; head.predictor.in_channels=256; '
    'head.predictor.hid_channels=4096; head.predictor.out_channels=256; head.predictor.num_layers=2; '
    'head.predictor.with_bias=False; head.predictor.with_last_bn=True; head.predictor.with_last_bn_affine=False; '
    'head.predictor.with_last_bias=False; head.predictor.with_avg_pool=False; head.temperature=0.2',
    mae='type=MAE; backbone.type=MAEViT; backbone.arch=b; backbone.patch_size=16; backbone.mask_ratio=0.75; '
    'neck.type=MAEPretrainDecoder; neck.patch_size=16; neck.in_chans=3; neck.embed_dim=768; '
    'neck.decoder_embed_dim=512; neck.decoder_depth=8; neck.decoder_num_heads=16; neck.mlp_ratio=4.0; '
    'head.type=MAEPretrainHead; head.norm_pix=True; head.patch_size=16',
    simmim='type=SimMIM; backbone.type=SimMIMSwinTransformer; backbone.arch=B; backbone.img_size=192; '
    'backbone.stage_cfgs.block_cfgs.window_size=6; neck.type=SimMIMNeck; neck.in_channels=1024; '
    'neck.encoder_stride=32; head.type=SimMIMHead; head.patch_size=4; head.encoder_in_channels=3',
    cae='type=CAE; backbone.type=CAEViT; backbone.arch=b; backbone.patch_size=16; backbone.init_values=0.1; '
    'backbone.qkv_bias=False; neck.type=CAENeck; neck.patch_size=16; neck.embed_dims=768; neck.num_heads=12; '
    'neck.regressor_depth=4; neck.decoder_depth=4; neck.mlp_ratio=4; neck.init_values=0.1; head.type=CAEHead; '
    'head.tokenizer_path=cae_ckpt/dalle_encoder.pth; head.lambd=2; base_momentum=0.0',
    maskfeat='type=MaskFeat; backbone.type=MaskFeatViT; backbone.arch=b; backbone.patch_size=16; '
    'backbone.drop_path_rate=0; head.type=MaskFeatPretrainHead; head.hog_dim=108; hog_para.nbins=9; hog_para.pool=8; '
    'hog_para.gaussian_window=16')

# recipes that have another model or other views than the algorithm's; `like` in the table names them
MODELS['npid-nce'] = ('type=NPID; neg_num=4096; ensure_neg=True; ' + RESNET50 +
                      'backbone.norm_cfg.type=BN; neck.type=LinearNeck; '
                      'neck.out_channels=128; neck.with_avg_pool=True; head.type=NCEHead; head.temperature=0.07; '
                      'memory_bank.type=SimpleMemory; memory_bank.feat_dim=128; memory_bank.momentum=0.5')

MLP = "{{'type': 'MLPNeck', 'channels': {}{}}}"
TOWERS = "{'type': 'ConcatTowers', 'num_towers': 9}"
MODELS['jigsaw'] = ('type=Jigsaw; ' + RESNET50 + 'backbone.norm_cfg.type=BN; neck.type=ChainNeck; neck.necks=[' +
                    MLP.format([1000], ", 'norm_cfg': {'type': 'BN'}, 'with_last_norm': True, 'with_last_act': True") +
                    f', {TOWERS}]; head.type=ClsHead; head.in_channels=None; head.num_classes=2000')
PIRL = (
    'type=PIRL; neg_num=32000; patch_weight=0.5; ' + RESNET50 + 'backbone.norm_cfg.type=BN; neck.type=MLPNeck; '
    'patch_neck.type=ChainNeck; memory_bank.type=SimpleMemory; memory_bank.feat_dim=128; memory_bank.momentum=0.5; ')
MODELS['pirl'] = (
    PIRL + f'neck.channels=[128]; patch_neck.necks=[{MLP.format([128], "")}, {TOWERS}, {MLP.format([128], "")}]; '
    'head.type=NCEHead; head.temperature=0.07')
MODELS['pirl-gblur'] = MODELS['pirl']
for width in (2048, 4096, 8192):
    MODELS[f'pirl-mlp-{width}'] = (
        PIRL + f'neck.channels={[width, 128]}; patch_neck.necks=[' +
        MLP.format([width, 128], ", 'with_last_act': True") + f', {TOWERS}, {MLP.format([128], "")}]; '
        'head.type=ContrastiveHead; head.temperature=0.1')

JITTER = 'RandomAppliedTrans(ColorJitter(brightness={0}, contrast={0}, saturation={1}, hue={2}), p=0.8)'
BLUR = 'RandomGrayscale(p=0.2) > GaussianBlur(sigma_min=0.1, sigma_max=2.0, p={})'
BYOL_VIEW = ('RandomResizedCrop(size=224, interpolation=3) > RandomHorizontalFlip() > ' + JITTER.format(0.4, 0.2, 0.1) +
             ' > ' + BLUR + ' > Solarization(p={})')
MOCOV2_VIEW = ('RandomResizedCrop(size=224, scale=(0.2, 1.0)) > ' + JITTER.format(0.4, 0.4, 0.1) + ' > ' +
               BLUR.format(0.5) + ' > RandomHorizontalFlip()')
MOCOV1_VIEW = ('RandomResizedCrop(size=224, scale=(0.2, 1.0)) > RandomGrayscale(p=0.2) > ColorJitter(brightness=0.4, '
               'contrast=0.4, saturation=0.4, hue=0.4) > RandomHorizontalFlip()')
CLUSTER_VIEW = ('RandomResizedCrop(size=224) > RandomHorizontalFlip() > RandomRotation(degrees=2) > ColorJitter('
                'brightness=0.4, contrast=0.4, saturation=1.0, hue=0.5) > RandomGrayscale(p=0.2)')
SWAV_VIEW = ('RandomResizedCrop(size={}, scale={}) > ' + JITTER.format(0.8, 0.8, 0.2) + ' > ' + BLUR.format(0.5) +
             ' > RandomHorizontalFlip(p=0.5)')
MOCOV3_VIEW = ('RandomResizedCrop(size=224, scale=(0.08, 1.0)) > ' + JITTER.format(0.4, 0.2, 0.1) + ' > ' + BLUR +
               ' > Solarization(p={}) > RandomHorizontalFlip()')
# type of the data set, its num_views, its pipelines
VIEWS = dict(
    mocov1=('MultiViewDataset', [2], MOCOV1_VIEW),
    mocov2=('MultiViewDataset', [2], MOCOV2_VIEW),
    simclr=('MultiViewDataset', [2], 'RandomResizedCrop(size=224) > RandomHorizontalFlip() > ' +
            JITTER.format(0.8, 0.8, 0.2) + ' > ' + BLUR.format(0.5)),
    byol=('MultiViewDataset', [1, 1], BYOL_VIEW.format(1.0, 0.0) + ' || ' + BYOL_VIEW.format(0.1, 0.2)),
    simsiam=('MultiViewDataset', [2], MOCOV2_VIEW),
    barlowtwins=('MultiViewDataset', [1, 1], BYOL_VIEW.format(1.0, 0.0) + ' || ' + BYOL_VIEW.format(0.1, 0.2)),
    deepcluster=('DeepClusterDataset', None, CLUSTER_VIEW),
    densecl=('MultiViewDataset', [2], MOCOV2_VIEW),
    interclr=('MultiViewDataset', [2], MOCOV2_VIEW),
    npid=('SingleViewDataset', None, MOCOV1_VIEW),
    odc=('DeepClusterDataset', None, CLUSTER_VIEW),
    relative_loc=('RelativeLocDataset', None, 'Resize(size=292) > RandomCrop(size=255) > RandomGrayscale(p=0.66)'),
    rotation_pred=('RotationPredDataset', None, 'RandomResizedCrop(size=224) > RandomHorizontalFlip()'),
    swav=('MultiViewDataset', [2, 6], SWAV_VIEW.format(224, (0.14, 1.0)) + ' || ' + SWAV_VIEW.format(96, (0.05, 0.14))))

VIEWS.update(
    mocov3=('MultiViewDataset', [1, 1], MOCOV3_VIEW.format(1.0, 0.0) + ' || ' + MOCOV3_VIEW.format(0.1, 0.2)),
    mae=('SingleViewDataset', None,
         'RandomResizedCrop(size=224, scale=(0.2, 1.0), interpolation=3) > RandomHorizontalFlip()'),
    simmim=('SingleViewDataset', None,
            'RandomResizedCrop(size=192, scale=(0.67, 1.0), ratio=(0.75, 1.3333333333333333))'
            ' > RandomHorizontalFlip() > SimMIMMaskGenerator(input_size=192, mask_patch_size=32, model_patch_size=4, '
            'mask_ratio=0.6)'),
    cae=('SingleViewDataset', None,
         'RandomHorizontalFlip(p=0.5) > RandomResizedCropAndInterpolationWithTwoPic(size=224, second_size=112, '
         'interpolation=bicubic, second_interpolation=lanczos, scale=(0.08, 1.0)) > BEiTMaskGenerator(input_size='
         '(14, 14), num_masking_patches=75, max_num_patches=None, min_num_patches=16)'),
    maskfeat=('SingleViewDataset', None,
              'RandomResizedCropAndInterpolationWithTwoPic(size=224, scale=(0.5, 1.0), ratio=(0.75, 1.3333), '
              'interpolation=bicubic) > RandomHorizontalFlip() > MaskFeatMaskGenerator(mask_ratio=0.4)'))

VIEWS['npid-nce'] = ('SingleViewDataset', None,
                     'ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4) > RandomResizedCrop(size=224)'
                     ' > RandomHorizontalFlip()')

JIGSAW_VIEW = ('Resize(size=256) > RandomHorizontalFlip() > RandomCrop(size=255) > RandomGrayscale(p=0.66) > '
               'ImageToPatches(num_patches=9) > PermutePatches(permutations={})')
for name, order in (('jigsaw', '2000'), ('jigsaw-perm100', '100, rule=max-min'), ('jigsaw-perm10k', '10000')):
    VIEWS[name] = ('SampleDataset', None, JIGSAW_VIEW.format(order))
    MODELS[name] = MODELS['jigsaw']
PIRL_VIEW = ('ImageAndPatches(size=224, scale=(0.08, 1.0), patch_size=255, patch_scale=(0.6, 1.0), num_patches=9) > ')
VIEWS['pirl'] = ('SampleDataset', None, PIRL_VIEW + 'ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)'
                 ' > RandomPhotometric(p=0.66) > RandomGrayscale(p=0.2) > RandomHorizontalFlip()')
VIEWS.update({f'pirl-mlp-{width}': VIEWS['pirl'] for width in (2048, 4096, 8192)})
VIEWS['pirl-gblur'] = ('SampleDataset', None, PIRL_VIEW + 'RandomHorizontalFlip() > ' + JITTER.format(0.8, 0.8, 0.2) +
                       ' > ' + BLUR.format(0.5))
MODELS['rotation-pred-one'] = MODELS['rotation_pred']
VIEWS['rotation-pred-one'] = ('SampleDataset', None,
                              'RandomResizedCrop(size=224) > RandomHorizontalFlip() > RandomAngle(num_angles=4)')

SGD = 'type=SGD; lr=0.03; weight_decay=0.0001; momentum=0.9'
LARS = (r'type=LARS; lr={}; weight_decay=1e-06; momentum=0.9; paramwise_options.(bn|gn)(\d+)?.(weight|bias).'
        r'weight_decay=0.0; paramwise_options.(bn|gn)(\d+)?.(weight|bias).lars_exclude=True; '
        'paramwise_options.bias.weight_decay=0.0; paramwise_options.bias.lars_exclude=True')
COSINE = 'policy=CosineAnnealing; min_lr=0.0'
WARM_COSINE = COSINE + '; warmup=linear; warmup_iters=10; warmup_ratio=0.0001; warmup_by_epoch=True'
SIMSIAM = 'type=SGD; lr=0.05; weight_decay=0.0001; momentum=0.9; paramwise_options.predictor.fix_lr=True'
SIMSIAM_HOOKS = [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.05)]
BARLOW = ('type=LARS; lr=1.6; weight_decay=1e-06; momentum=0.9; ' +
          '; '.join(f'paramwise_options.{names}.{option}'
                    for names in (r'(bn|gn)(\d+)?.(weight|bias)', 'bias', 'downsample.1')
                    for option in ('weight_decay=0', 'lr_mult=0.024', 'lars_exclude=True')))
BARLOW_COSINE = ('policy=CosineAnnealing; min_lr=0.0016; warmup=linear; warmup_iters=10; warmup_ratio=0.00016; '
                 'warmup_by_epoch=True; by_epoch=False')
STEP = 'policy=step; step=[120, 160]'
CLUSTER_SGD = r'type=SGD; lr={}; weight_decay=1e-05; momentum=0.9; paramwise_options.\Ahead..momentum=0.0'
SGD_70 = 'type=SGD; lr=0.2; weight_decay=0.0001; momentum=0.9'
STEP_70 = 'policy=step; step=[30, 50]; warmup=linear; warmup_iters=5; warmup_ratio=0.1; warmup_by_epoch=True'

MAE = 'type=AdamW; lr=0.0024; betas=(0.9, 0.95); weight_decay=0.05; ' + '; '.join(
    f'paramwise_options.{name}.weight_decay=0.0' for name in ('ln', 'bias', 'pos_embed', 'mask_token', 'cls_token'))
MAE_COSINE = ('policy=StepFixCosineAnnealing; min_lr=0.0; warmup=linear; warmup_iters=40; warmup_ratio=0.0001; '
              'warmup_by_epoch=True; by_epoch=False')
SIMMIM = 'type=AdamW; lr=0.0008; betas=(0.9, 0.999); weight_decay=0.05; eps=1e-08; ' + '; '.join(
    f'paramwise_options.{name}.weight_decay=0.0'
    for name in ('norm', 'bias', 'absolute_pos_embed', 'relative_position_bias_table'))
SIMMIM_COSINE = ('policy=CosineAnnealing; min_lr=4e-05; warmup=linear; warmup_iters=10; '
                 'warmup_ratio=0.004999999999999999; warmup_by_epoch=True; by_epoch=False')
# published without 'ln', for want of which the norms of the layers were decayed (a pitfall)
CAE = 'type=AdamW; lr=0.0015; betas=(0.9, 0.999); weight_decay=0.05; ' + '; '.join(
    f'paramwise_options.{name}.weight_decay=0.0' for name in ('norm', 'ln', 'bias', 'gamma'))
CAE_COSINE = ('policy=StepFixCosineAnnealing; min_lr=1e-05; warmup=linear; warmup_iters=10; warmup_ratio=0.0001; '
              'warmup_by_epoch=True; by_epoch=False')
MASKFEAT = ('type=AdamW; lr=0.0016; weight_decay=0.05; betas=(0.9, 0.999); paramwise_options.ln.weight_decay=0.0; '
            'paramwise_options.bias.weight_decay=0.0')
MASKFEAT_COSINE = ('policy=CosineAnnealing; by_epoch=False; min_lr=1e-06; warmup=linear; warmup_iters=30; '
                   'warmup_ratio=1e-06; warmup_by_epoch=True')


def clip(max_norm):
    return dict(optimizer_config=dict(grad_clip=dict(max_norm=max_norm)))


def momentum_hook(update_interval):
    return dict(
        hooks=[dict(type='MomentumUpdateHook', end_momentum=1., update_interval=update_interval)],
        optimizer_config=dict(update_interval=update_interval))


def cluster_hook(kind, dataset, batch, pca_dim, **arguments):
    """A hook that clusters all images, in 256 > 224 pixels, into 10000."""
    return dict(
        type=kind,
        extractor=dict(
            samples_per_gpu=batch,
            workers_per_gpu=8,
            dataset=dict(
                type=dataset,
                data_source=SOURCE,
                pipeline=[dict(type='Resize', size=256),
                          dict(type='CenterCrop', size=224)],
                # published: False, with ToTensor and Normalize at the end of the pipeline
                prefetch=True),
            prefetch=True,
            img_norm_cfg=NORM),
        clustering=dict(type='Kmeans', k=10000, pca_dim=pca_dim),
        **arguments)


SOURCE = dict(type='ImageNet', data_prefix='data/imagenet/train', ann_file='data/imagenet/meta/train.txt')
NORM = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
DEEPCLUSTER_HOOKS = [
    cluster_hook(
        'DeepClusterHook',
        'DeepClusterDataset',
        128,
        256,
        unif_sampling=True,
        reweight=False,
        reweight_pow=0.5,
        initial=True,
        interval=1)
]
ODC_HOOKS = [
    cluster_hook(
        'DeepClusterHook',
        'DeepClusterDataset',
        128,
        -1,
        unif_sampling=False,
        reweight=True,
        reweight_pow=0.5,
        init_memory=True,
        initial=True,
        interval=9999999999),
    dict(
        type='ODCHook',
        centroids_update_interval=10,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        reweight=True,
        reweight_pow=0.5)
]
INTERCLR_HOOKS = [
    cluster_hook(
        'InterCLRHook',
        'SingleViewDataset',
        256,
        -1,
        centroids_update_interval=10,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        warmup_epochs=0,
        init_memory=True,
        initial=True,
        online_labels=True,
        interval=10)
]
SWAV_HOOKS = [dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=15, queue_length=3840)]

# recipe: samples per GPU, epochs, optimizer, learning rate policy, other settings (absent ones by default), and figures
# of the model that are not those of its algorithm
TABLE = {
    'mocov1/mocov1_resnet50_8xb32-steplr-200e': (32, 200, SGD, STEP, {}),
    'mocov1/mocov1_resnet50_8xb32-fp16-steplr-200e': (32, 200, SGD, STEP, dict(fp16=512.)),
    'mocov2/mocov2_resnet50_8xb32-coslr-200e': (32, 200, SGD, COSINE, {}),
    'mocov2/mocov2_resnet50_8xb32-coslr-800e': (32, 800, SGD, COSINE, {}),
    'simclr/simclr_resnet50_16xb256-coslr-200e': (256, 200, LARS.format(4.8), WARM_COSINE, {}),
    'simclr/simclr_resnet50_8xb32-coslr-200e': (32, 200, LARS.format(0.3), WARM_COSINE, {}),
    'simclr/simclr_resnet50_8xb64-coslr-200e': (64, 200, LARS.format(0.6), WARM_COSINE, {}),
    'byol/byol_resnet50_16xb256-coslr-200e': (256, 200, LARS.format(4.8), WARM_COSINE, momentum_hook(1)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-100e':
    (256, 100, LARS.format(7.2), WARM_COSINE, dict(momentum_hook(2), fp16=512.)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-200e':
    (256, 200, LARS.format(4.8), WARM_COSINE, dict(momentum_hook(2), fp16=512.)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-300e': (256, 300, LARS.format(4.8), WARM_COSINE,
                                                         dict(momentum_hook(2), fp16=512.)),
    'byol/byol_resnet50_8xb32-accum16-coslr-100e': (32, 100, LARS.format(7.2), WARM_COSINE, momentum_hook(16)),
    'byol/byol_resnet50_8xb32-accum16-coslr-200e': (32, 200, LARS.format(4.8), WARM_COSINE, momentum_hook(16)),
    'byol/byol_resnet50_8xb32-accum16-coslr-300e': (32, 300, LARS.format(4.8), WARM_COSINE, momentum_hook(16)),
    'simsiam/simsiam_resnet50_8xb32-coslr-100e': (32, 100, SIMSIAM, COSINE, dict(hooks=SIMSIAM_HOOKS)),
    'simsiam/simsiam_resnet50_8xb32-coslr-200e': (32, 200, SIMSIAM, COSINE, dict(hooks=SIMSIAM_HOOKS)),
    'barlowtwins/barlowtwins_resnet50_8xb256-coslr-1000e': (256, 1000, BARLOW, BARLOW_COSINE, {}),
    'barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e': (256, 300, BARLOW, BARLOW_COSINE, {}),
    'barlowtwins/barlowtwins_resnet50_8xb32-accum8-coslr-100e': (32, 100, BARLOW, BARLOW_COSINE,
                                                                 dict(optimizer_config=dict(update_interval=8))),
    'deepcluster/deepcluster-sobel_resnet50_8xb64-steplr-200e':
    (64, 200, CLUSTER_SGD.format(0.1), 'policy=step; step=[400]', dict(hooks=DEEPCLUSTER_HOOKS)),
    'deepcluster/deepcluster_resnet50_8xb64-steplr-200e':
    (64, 200, CLUSTER_SGD.format(0.1), 'policy=step; step=[400]',
     dict(hooks=DEEPCLUSTER_HOOKS, model='with_sobel=False; backbone.in_channels=3')),
    'densecl/densecl_resnet50_8xb32-coslr-200e': (32, 200, SGD, COSINE, {}),
    'interclr/interclr-moco_resnet50_8xb32-coslr-200e': (32, 200, SGD, COSINE, dict(hooks=INTERCLR_HOOKS)),
    'npid/npid-ensure-neg_resnet50_8xb32-steplr-200e': (32, 200, SGD, STEP, dict(model='ensure_neg=True')),
    'npid/npid_resnet50_8xb32-steplr-200e': (32, 200, SGD, STEP, {}),
    'odc/odc_resnet50_8xb64-steplr-440e': (64, 440, CLUSTER_SGD.format(0.06), 'policy=step; step=[400]; gamma=0.4',
                                           dict(hooks=ODC_HOOKS)),
    'relative_loc/relative-loc_resnet50_8xb64-steplr-70e':
    (64, 70, SGD_70 + r'; paramwise_options.\Aneck..weight_decay=0.0005; paramwise_options.\Ahead..weight_decay=0.0005',
     STEP_70, {}),
    'rotation_pred/rotation-pred_resnet50_8xb16-fp16-steplr-70e': (16, 70, SGD_70, STEP_70, dict(fp16=512.)),
    'rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e': (16, 70, SGD_70, STEP_70, {}),
    'swav/swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96':
    (32, 200, 'type=LARS; lr=0.6; weight_decay=1e-06; momentum=0.9', 'policy=CosineAnnealing; min_lr=0.0006',
     dict(hooks=SWAV_HOOKS, optimizer_config=dict(frozen_layers_cfg=dict(prototypes='1 epoch')))),
}
TABLE.update({
    'mocov3/mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224':
    (128, 300, 'type=AdamW; lr=0.0024; weight_decay=0.1', MAE_COSINE.replace('StepFix', ''),
     dict(hooks=[dict(type='MomentumUpdateHook')], fp16='dynamic')),
    'mae/mae_vit-base-p16_8xb512-coslr-1600e': (512, 1600, MAE, MAE_COSINE, {}),
    'mae/mae_vit-base-p16_8xb512-coslr-400e-fp16': (512, 400, MAE, MAE_COSINE, dict(fp16='dynamic')),
    'mae/mae_vit-base-p16_8xb512-coslr-400e': (512, 400, MAE, MAE_COSINE, {}),
    'mae/mae_vit-base-p16_8xb512-coslr-800e': (512, 800, MAE, MAE_COSINE, {}),
    'simmim/simmim_swin-base_16xb128-coslr-100e_in1k-192':
    (128, 100, SIMMIM, SIMMIM_COSINE, dict(clip(5.0), fp16='dynamic')),
    'simmim/simmim_swin-base_8xb256-coslr-100e_in1k-192': (256, 100, SIMMIM, SIMMIM_COSINE,
                                                           dict(clip(5.0), fp16='dynamic')),
    **{
        f'cae/cae_vit-base-p16_{gpus}xb{images}-fp16-coslr-300e': (images, 300, CAE, CAE_COSINE,
                                                                   dict(clip(3.0), fp16='dynamic'))
        for gpus, images in ((16, 128), (32, 64), (8, 256))
    },
    'maskfeat/maskfeat_vit-base-p16_8xb256-coslr-300e': (256, 300, MASKFEAT, MASKFEAT_COSINE, clip(0.02)),
})
# VISSL does not decay norms
NO_NORMS = 'type=SGD; lr={}; weight_decay=0.0001; momentum=0.9; paramwise_options.norm_decay_mult=0.0'
NCE, SLOW_COSINE = dict(like='npid-nce'), 'policy=CosineAnnealing; min_lr=0.00012'
TABLE.update({
    'npid/npid-nce_resnet50_8xb32-steplr-200e': (32, 200, NO_NORMS.format(0.03), STEP, NCE),
    **{
        f'npid/npidpp_{net}_32xb32-coslr-{epochs}e': (32, epochs, NO_NORMS.format(0.12), SLOW_COSINE,
                                                      dict(NCE, model=f'neg_num=32000; backbone.{change}'))
        for net, epochs, change in (
            ('resnet50', 800, 'depth=50'),
            ('resnet50', 200, 'depth=50'),
            ('resnet101', 800, 'depth=101'),
            ('resnet50-w2', 800, 'width_multiplier=2'),
            ('resnet50-w3', 800, 'width_multiplier=3'),
        )
    },
    'npid/npidpp_resnet50_32xb32-steplr-200e': (32, 200, NO_NORMS.format(0.12), STEP, dict(NCE, model='neg_num=32000')),
})
JIGSAW_STEP = ('policy=step; step=[30, 60, 90, 100]; warmup=linear; warmup_iters=5; warmup_ratio=0.25; '
               'warmup_by_epoch=True')
WIDE = {w: dict(model=f'backbone.width_multiplier={w}', fp16='dynamic') for w in (2, 4)}
NO_BIASES = NO_NORMS.format(0.12) + '; paramwise_options.bias_decay_mult=0.0'
TABLE.update({
    **{
        f'jigsaw/{name}_resnet50_{gpus}xb32-steplr-105e': (32, 105, NO_NORMS.format(lr), JIGSAW_STEP,
                                                           dict(other, like=name))
        for name, gpus, lr, other in (
            ('jigsaw', 8, 0.1, {}),
            ('jigsaw', 32, 0.4, {}),
            ('jigsaw-perm100', 8, 0.1, dict(model='head.num_classes=100')),
            ('jigsaw-perm10k', 8, 0.1, dict(model='head.num_classes=10000')),
        )
    },
    **{
        f'pirl/{name}_32xb32{fp16}-coslr-{epochs}e': (32, epochs, NO_BIASES, SLOW_COSINE, dict(other, like=like))
        for name, fp16, epochs, like, other in (
            ('pirl_resnet50', '', 800, 'pirl', {}),
            ('pirl_resnet50', '', 200, 'pirl', {}),
            ('pirl-gblur_resnet50', '', 800, 'pirl-gblur', {}),
            ('pirl-mlp_resnet50', '', 800, 'pirl-mlp-2048', {}),
            ('pirl-mlp_resnet50', '', 200, 'pirl-mlp-2048', {}),
            ('pirl_resnet50-w2', '-fp16', 400, 'pirl', WIDE[2]),
            ('pirl_resnet50-w4', '-fp16', 400, 'pirl', WIDE[4]),
            ('pirl-mlp_resnet50-w2', '-fp16', 400, 'pirl-mlp-4096', WIDE[2]),
            ('pirl-mlp_resnet50-w4', '-fp16', 400, 'pirl-mlp-8192', WIDE[4]),
        )
    },
})
TABLE['rotation_pred/rotation-pred-one_resnet50_8xb32-steplr-105e'] = (32, 105, NO_NORMS.format(0.1),
                                                                       'policy=step; step=[30, 60, 90, 100]',
                                                                       dict(like='rotation-pred-one'))
LARC = 'type=LARS; lr=4.8; weight_decay=1e-06; momentum=0.9'
LARC_COSINE = COSINE + '; by_epoch=False; warmup=linear; warmup_iters=10; warmup_ratio=0.0625; warmup_by_epoch=True'
DCV2 = dict(hooks=[dict(type='DeepClusterV2Hook')], fp16='dynamic')
MODELS['deepclusterv2'] = (
    'type=DeepClusterV2; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; neck.type=MLPNeck; neck.channels=[2048, 128]; '
    'head.type=DeepClusterV2Head; head.temperature=0.1; memory_bank.type=CropMemory; memory_bank.num_clusters='
    '[3000, 3000, 3000]; memory_bank.crops=[0, 1]; memory_bank.iterations=10')
MODELS['clusterfit'] = ('type=Classification; ' + RESNET50 + 'backbone.norm_cfg.type=BN; head.type=ClsHead; '
                        'head.with_avg_pool=True; head.in_channels=None; head.num_classes=16000')
MODELS['deepclusterv2-mcrop'] = MODELS['deepclusterv2']
VIEWS['deepclusterv2'] = VIEWS['simclr']
VIEWS['deepclusterv2-mcrop'] = ('MultiViewDataset', [2, 4],
                                SWAV_VIEW.format(160, (0.08, 1.0)) + ' || ' + SWAV_VIEW.format(96, (0.05, 0.14)))
VIEWS['clusterfit'] = ('SingleViewDataset', None, 'RandomResizedCrop(size=224) > ColorJitter(brightness=0.4, '
                       'contrast=0.4, saturation=0.4, hue=0.2) > RandomHorizontalFlip()')
TABLE.update({
    **{
        f'deepclusterv2/deepclusterv2_resnet50_64xb64-{name}': (64, epochs, LARC, LARC_COSINE, dict(DCV2, like=like))
        for name, epochs, like in (
            ('fp16-coslr-100e', 100, 'deepclusterv2'),
            ('mcrop-2-4-fp16-coslr-100e_in1k-160-96', 100, 'deepclusterv2-mcrop'),
            ('mcrop-2-4-fp16-coslr-400e_in1k-160-96', 400, 'deepclusterv2-mcrop'),
        )
    },
    'clusterfit/clusterfit_resnet50_8xb32-steplr-105e':
    (32, 105, NO_NORMS.format(0.1), JIGSAW_STEP, dict(source=dict(labels='work_dirs/clusterfit/train_labels.npy'))),
})
MODELS['rotation-pred-alexnet'] = ('type=RotationPred; backbone.type=AlexNet; backbone.variant=rotnet; backbone.'
                                   'out_indices=[7]; backbone.norm_cfg.type=SyncBN; head.type=ClsHead; '
                                   'head.with_avg_pool=True; head.in_channels=None; head.num_classes=4')
VIEWS['rotation-pred-alexnet'] = VIEWS['rotation-pred-one']
TABLE['rotation_pred/rotation-pred-one_alexnet_8xb32-steplr-105e'] = (
    *TABLE['rotation_pred/rotation-pred-one_resnet50_8xb32-steplr-105e'][:4], dict(like='rotation-pred-alexnet'))

LARC = 'type=LARS; lr=4.8; weight_decay=1e-06; momentum=0.9'
LARC_COSINE = ('policy=StepFixCosineAnnealing; by_epoch=False; min_lr={}; warmup=linear; warmup_iters=10; '
               'warmup_ratio={}; warmup_by_epoch=True')
MODELS['vissl-simclr'] = ('type=SimCLR; ' + RESNET50 +
                          'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; neck.type=MLPNeck; '
                          'neck.channels=[2048, 128]; head.type=ContrastiveHead; head.temperature=0.1')
VIEWS['vissl-simclr'] = VIEWS['simclr']
VIEWS['vissl-mocov2'] = ('MultiViewDataset', [2],
                         'RandomResizedCrop(size=224, scale=(0.08, 1.0)) > RandomAppliedTrans(' +
                         MOCOV2_VIEW.partition(' > ')[2] + ', p=1.0)')
MODELS['vissl-mocov2'] = MODELS['mocov2'] + '; backbone.zero_init_residual=True'
TABLE.update({
    'simclr/vissl-simclr_resnet50_64xb64-coslr-100e':
    (64, 100, LARC, LARC_COSINE.format(0., 0.125), dict(like='vissl-simclr')),
    'swav/vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96':
    (64, 400, LARC, LARC_COSINE.format(0.0048, 0.0625),
     dict(optimizer_config=dict(frozen_layers_cfg=dict(prototypes='1 epoch')), fp16='dynamic')),
    'mocov2/vissl-mocov2_resnet50_8xb32-steplr-200e':
    (32, 200, SGD + '; nesterov=True', STEP, dict(like='vissl-mocov2')),
    'barlowtwins/vissl-barlowtwins_resnet50_32xb64-coslr-1000e': (64, 1000, BARLOW, LARC_COSINE.format(0.016,
                                                                                                       0.0001), {}),
})

VISSL_VIT = ('backbone.type=DINOViT; backbone.arch={}; backbone.img_size=224; backbone.patch_size=16; backbone.{}=0.1; '
             'neck.type=MLPNeck; neck.channels={}; neck.vit_backbone=True; ')
MODELS['vissl-simclr-vit'] = ('type=SimCLR; ' + VISSL_VIT.format('base', 'drop_rate', [3072, 128]) +
                              'head.type=ContrastiveHead; head.temperature=0.1')
MODELS['vissl-swav-vit'] = ('type=SwAV; ' + VISSL_VIT.format('deit-base', 'drop_path_rate', [2048, 128]) +
                            'neck.norm_cfg.type=BN; neck.with_l2norm=True; head.type=SwAVHead; head.epsilon=0.05; '
                            'head.temperature=0.1')
VIEWS['vissl-simclr-vit'] = VIEWS['simclr']
VIEWS['vissl-swav-vit'] = ('MultiViewDataset', [2],
                           'RandomResizedCrop(size=224, scale=(0.14, 1.0)) > RandomHorizontalFlip() > ' +
                           'RandomAppliedTrans(RandAugment(num_ops=1, magnitude=27), p=0.5) > ' * 2 +
                           'ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4) > RandomErasing(p=0.25)')
VISSL_ADAMW = 'type=AdamW; lr={}; weight_decay={}; paramwise_options.norm_decay_mult=0.0'
VISSL_COSINE = MAE_COSINE.replace('min_lr=0.0', 'min_lr={}').replace('iters=40', 'iters={}').replace('0.0001', '{}')
TABLE.update({
    'simclr/vissl-simclr_vit-base-p16_32xb64-coslr-300e':
    (64, 300, VISSL_ADAMW.format(0.0015, 0.3), VISSL_COSINE.format(0., 30, 0.0001),
     dict(clip(1.), like='vissl-simclr-vit', fp16='dynamic')),
    'swav/vissl-swav_deit-base-p16_16xb16-2crops-coslr-300e':
    (16, 300, VISSL_ADAMW.format(0.00025, 0.05) + '; paramwise_options.pos_embed.weight_decay=0.0; '
     'paramwise_options.cls_token.weight_decay=0.0', VISSL_COSINE.format(5e-7, 15, 0.5),
     dict(optimizer_config=dict(frozen_layers_cfg=dict(prototypes=313)), like='vissl-swav-vit')),
})

RESNET50_ALONE = RESNET50.replace('backbone.in_channels=3; ', '') + 'backbone.norm_cfg.type=SyncBN; '
MODELS.update(
    vicreg='type=VICReg; ' + RESNET50_ALONE + 'backbone.zero_init_residual=True; neck.type=NonLinearNeck; '
    'neck.hid_channels=8192; neck.out_channels=8192; neck.num_layers=3; neck.with_bias=True; neck.with_last_bn=False; '
    'neck.with_avg_pool=True; head.type=VICRegHead',
    nnclr='type=NNCLR; queue_len=65536; feat_dim=256; ' + RESNET50_ALONE + 'backbone.zero_init_residual=True; '
    'neck.type=NonLinearNeck; neck.hid_channels=2048; neck.out_channels=256; neck.num_layers=3; '
    'neck.with_avg_pool=True; head.type=NNCLRHead; head.temperature=0.1; head.predictor.type=NonLinearNeck; '
    'head.predictor.in_channels=256; head.predictor.hid_channels=4096; head.predictor.out_channels=256; '
    'head.predictor.num_layers=2; head.predictor.with_last_bn=False; head.predictor.with_last_bias=True; '
    'head.predictor.with_avg_pool=False',
    lejepa='type=LeJEPA; backbone.type=VisionTransformer; backbone.arch=deit-small; backbone.img_size=224; '
    'backbone.patch_size=16; backbone.drop_path_rate=0.1; neck.type=NonLinearNeck; neck.hid_channels=2048; '
    'neck.out_channels=256; neck.num_layers=3; neck.with_bias=True; neck.with_last_bn=False; neck.with_last_bias=True; '
    'neck.with_avg_pool=False; neck.vit_backbone=True; head.type=LeJEPAHead; head.lambd=0.05; head.num_slices=1024',
    dino='type=DINO; base_momentum=0.996; backbone.type=DINOViT; backbone.arch=deit-small; backbone.img_size=224; '
    'backbone.patch_size=16; backbone.drop_path_rate=0.1; neck.type=DINONeck; neck.out_channels=65536; '
    'neck.norm_last_layer=False; neck.with_avg_pool=False; neck.vit_backbone=True; head.type=DINOHead; '
    'head.teacher_temp=0.04; head.student_temp=0.1',
    ibot='type=IBOT; base_momentum=0.996; backbone.type=DINOViT; backbone.arch=deit-small; backbone.img_size=224; '
    'backbone.patch_size=16; backbone.drop_path_rate=0.1; backbone.with_mask_token=True; neck.type=IBOTNeck; '
    'neck.out_channels=8192; neck.norm_last_layer=False; head.type=IBOTHead; head.teacher_temp=0.04; '
    'head.patch_teacher_temp=0.04; head.student_temp=0.1; masks.ratio=[0.1, 0.5]; masks.probability=0.5; '
    'masks.shape=block')
MODELS.update(
    seed='type=SEED; queue_len=65536; backbone.type=ResNet; backbone.depth=18; backbone.out_indices=[4]; '
    'backbone.norm_cfg.type=BN; neck.type=MLPNeck; neck.channels=[512, 128]; head.type=SEEDHead; '
    'head.student_temp=0.2; head.teacher_temp=0.0001; '
    'teacher.checkpoint=work_dirs/mocov2_resnet50_8xb32-coslr-800e_in1k/latest.pth; '
    'teacher.backbone.type=ResNet; teacher.backbone.depth=50; teacher.backbone.out_indices=[4]; '
    'teacher.neck.type=MoCoV2Neck; teacher.neck.in_channels=2048; teacher.neck.hid_channels=2048; '
    'teacher.neck.out_channels=128',
    simreg='type=SimReg; backbone.type=ResNet; backbone.depth=18; backbone.out_indices=[4]; backbone.norm_cfg.type=BN; '
    'neck.type=MLPNeck; neck.channels=[1024, 512, 1024, 2048]; neck.norm_cfg.type=BN; head.type=SimRegHead; '
    'teacher.checkpoint=work_dirs/mocov2_resnet50_8xb32-coslr-800e_in1k/latest.pth; teacher.backbone.type=ResNet; '
    'teacher.backbone.depth=50; teacher.backbone.out_indices=[4]')
MODELS['ressl'] = (
    'type=ReSSL; queue_len=131072; feat_dim=512; momentum=0.999; backbone.type=ResNet; backbone.depth=50; '
    'backbone.out_indices=[4]; backbone.norm_cfg.type=BN; neck.type=MLPNeck; neck.channels=[4096, 512]; '
    'head.type=ReSSLHead; head.student_temp=0.1; head.teacher_temp=0.04')
DINOV2 = ('backbone.type=ResNet; backbone.depth=18; backbone.out_indices=[4]; backbone.norm_cfg.type=BN; '
          'teacher.backbone.type=TIMMBackbone; teacher.backbone.model_name=vit_small_patch14_dinov2; '
          'teacher.backbone.pretrained=True; teacher.backbone.dynamic_img_size=True; ')
MODELS['dense_distillation'] = (
    DINOV2 + 'type=DenseDistillation; neck.type=MapNeck; neck.channels=[768]; head.type=DenseDistillationHead; '
    'head.kind=mse; teacher.backbone.out_indices=[-2, -1]; teacher.backbone.norm_stages=True')
MODELS['relational_distillation'] = (
    DINOV2 + 'type=RelationalDistillation; queue_len=8192; neck.type=MLPNeck; neck.channels=[384]; '
    'head.type=RelationalDistillationHead; head.student_temp=0.07; head.teacher_temp=0.07; head.patch_temp=0.07; '
    'head.patch_weight=1.0')
WEAK = 'RandomResizedCrop(size=224, scale=(0.2, 1.0)) > RandomHorizontalFlip()'
VIEWS.update(
    ressl=('MultiViewDataset', [1, 1], WEAK + ' || ' + MOCOV2_VIEW),
    seed=('SingleViewDataset', None, MOCOV2_VIEW),
    dense_distillation=('SingleViewDataset', None, MOCOV2_VIEW),
    relational_distillation=('SingleViewDataset', None, MOCOV2_VIEW),
    simreg=('SingleViewDataset', None, WEAK))
COLOURS = 'RandomHorizontalFlip() > ' + JITTER.format(0.4, 0.2, 0.1) + ' > ' + BLUR
LEJEPA_VIEW = 'RandomResizedCrop(size={}, scale={}) > ' + COLOURS.format(0.5) + ' > Solarization(p=0.2)'
DINO_VIEW = 'RandomResizedCrop(size={}, scale={}, interpolation=3) > ' + COLOURS
VIEWS.update(
    vicreg=VIEWS['byol'],
    nnclr=VIEWS['simclr'],
    lejepa=('MultiViewDataset', [2, 6], LEJEPA_VIEW.format(224,
                                                           (0.3, 1.0)) + ' || ' + LEJEPA_VIEW.format(96, (0.05, 0.3))),
    **{
        name: ('MultiViewDataset', [1, 1, small], ' || '.join([
            DINO_VIEW.format(224, (scale, 1.0), 1.0),
            DINO_VIEW.format(224, (scale, 1.0), 0.1) + ' > Solarization(p=0.2)',
            DINO_VIEW.format(96, (0.05, scale), 0.5)
        ]))
        for name, small, scale in (('dino', 8, 0.4), ('ibot', 10, 0.25), ('dinov2', 8, 0.32))
    })
MODELS['dinov2'] = (
    'type=DINOv2; base_momentum=0.992; koleo_weight=0.1; backbone.type=DINOViT; backbone.arch=large; '
    'backbone.img_size=224; backbone.patch_size=16; backbone.with_mask_token=True; backbone.init_values=1e-05; '
    'backbone.layer_cfgs.drop_path_rate=0.3; backbone.drop_path_subset=True; neck.type=IBOTNeck; '
    'neck.out_channels=65536; neck.norm_last_layer=False; head.type=IBOTHead; head.teacher_temp=0.04; '
    'head.patch_teacher_temp=0.04; head.student_temp=0.1; masks.ratio=[0.1, 0.5]; '
    'masks.probability=0.5; masks.stratified=True; masks.min_patches=4')
ADAMW_COSINE = MAE_COSINE.replace('min_lr=0.0', 'min_lr={}').replace('iters=40', 'iters=10')
DINO_ADAMW = ('type=AdamW; lr=0.002; weight_decay=0.04; '
              r'paramwise_options.(bn|ln|gn)(\d+)?.(weight|bias).weight_decay=0.0; '
              'paramwise_options.bias.weight_decay=0.0')
DINO_CLIP = dict(
    optimizer_config=dict(grad_clip=dict(max_norm=3.0, per='tensor'), frozen_layers_cfg=dict(last_layer='1 epoch')))
MOMENTUM = dict(type='MomentumUpdateHook')
DECAY = dict(type='ScheduleHook', target='optimizer.weight_decay', start=0.04, end=0.4, mode='cosine')


def warmer(temperature):
    return dict(type='ScheduleHook', target=temperature, start=0.04, end=0.07, epochs=30, by_epoch=True)


TABLE.update({
    'vicreg/vicreg_resnet50_32xb64-coslr-1000e': (64, 1000, LARS.format(1.6),
                                                  WARM_COSINE.replace('0.0;', '0.0016;') + '; by_epoch=False', {}),
    'seed/seed_resnet18_8xb32-coslr-200e':
    (32, 200, SGD, COSINE.replace('Cosine', 'StepFixCosine') + '; by_epoch=False; warmup=linear; '
     'warmup_iters=5; warmup_ratio=0.001; warmup_by_epoch=True', {}),
    'simreg/simreg_resnet18_8xb32-coslr-130e': (32, 130, SGD.replace('0.03', '0.05'), COSINE, {}),
    'dense_distillation/dense-distill_resnet18-dinov2_1xb128-coslr-100e':
    (128, 100, 'type=AdamW; lr=0.0005; weight_decay=0.04',
     WARM_COSINE.replace('iters=10', 'iters=5') + '; by_epoch=False', {}),
    'relational_distillation/relational-distill_resnet18-dinov2_1xb128-coslr-100e':
    (128, 100, 'type=AdamW; lr=0.0005; weight_decay=0.04',
     WARM_COSINE.replace('iters=10', 'iters=5') + '; by_epoch=False', {}),
    'ressl/ressl_resnet50_8xb32-coslr-200e':
    (32, 200, SGD.replace('0.03', '0.05') + '; ' +
     r'paramwise_options.(bn|ln|gn)(\d+)?.(weight|bias).weight_decay=0.0; paramwise_options.bias.weight_decay=0.0',
     COSINE + '; by_epoch=False; warmup=linear; warmup_iters=5; warmup_ratio=0.0001; warmup_by_epoch=True', {}),
    'nnclr/nnclr_resnet50_8xb64-coslr-200e': (64, 200, LARS.format(0.6), WARM_COSINE, {}),
    'lejepa/lejepa_vit-small-p16_8xb64-coslr-100e': (64, 100, 'type=AdamW; lr=0.0005; weight_decay=0.05',
                                                     ADAMW_COSINE.format(5e-07), {}),
    'dino/dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e': (64, 300, DINO_ADAMW, ADAMW_COSINE.format(1e-06), {
        'hooks': [MOMENTUM, warmer('head.teacher_temp'), DECAY],
        **DINO_CLIP
    }),
    'dinov2/dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e':
    (64, 200, 'type=AdamW; lr=0.005657; weight_decay=0.04; paramwise_options.flat_decay_mult=0.0; '
     'paramwise_options.layer_decay_rate=0.9; paramwise_options.patch_embed_mult=0.2',
     ADAMW_COSINE.format(1e-06).replace('iters=10', 'iters=20'),
     dict(
         hooks=[
             MOMENTUM, *(dict(type='ScheduleHook', target=f'head.{name}', start=0.04, end=0.07, epochs=60)
                         for name in ('teacher_temp', 'patch_teacher_temp')), DECAY
         ],
         optimizer_config=dict(grad_clip=dict(max_norm=3.0, per='part'),
                               frozen_layers_cfg=dict(last_layer='2 epochs')))),
    'ibot/ibot_vit-small-p16_16xb64-mcrop-2-10-coslr-800e': (64, 800, DINO_ADAMW, ADAMW_COSINE.format(1e-06), {
        'hooks': [MOMENTUM, warmer('head.teacher_temp'),
                  warmer('head.patch_teacher_temp'), DECAY],
        **DINO_CLIP
    }),
})
MODELS.update(
    dcl=MODELS['simclr'].replace('ContrastiveHead', 'DCLHead'),
    supcon='type=SupCon; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=MLPNeck; neck.channels=[2048, 2048, 128]; head.type=SupConHead; head.temperature=0.1')
VIEWS.update(dcl=VIEWS['simclr'], supcon=VIEWS['simclr'])
TABLE.update({
    'dcl/dcl_resnet50_8xb32-coslr-100e': (32, 100, LARS.format(1.2), WARM_COSINE, {}),
    'supcon/supcon_resnet50_8xb128-coslr-350e':
    (128, 350, SGD.replace('0.03', '0.5'), WARM_COSINE.replace('ratio=0.0001', 'ratio=0.02'), {}),
})

MODELS.update(
    ijepa='type=IJEPA; base_momentum=0.996; backbone.type=IJEPAViT; backbone.arch=huge; backbone.img_size=224; '
    'backbone.patch_size=14; neck.type=IJEPAPredictor; neck.embed_dims=384; neck.num_layers=12; neck.num_heads=16; '
    'head.type=IJEPAHead; masks.num_targets=4; masks.target_share=(0.15, 0.2); masks.target_aspect=(0.75, 1.5); '
    'masks.context_share=(0.85, 1.0); masks.min_keep=10',
    msn='type=MSN; base_momentum=0.996; mask_ratio=0.15; backbone.type=DINOViT; backbone.arch=deit-small; '
    'backbone.img_size=224; backbone.patch_size=16; neck.type=MLPNeck; neck.channels=[2048, 2048, 256]; '
    'neck.norm_cfg.type=SyncBN; neck.act=GELU; neck.with_avg_pool=False; neck.vit_backbone=True; head.type=MSNHead; '
    'head.num_prototypes=1024; head.student_temp=0.1; head.sharpening=0.25; head.sinkhorn_iterations=3')
MODELS['ijepa-448'] = MODELS['ijepa'].replace('img_size=224', 'img_size=448').replace('patch_size=14', 'patch_size=16')
MSN_COLOURS = 'RandomHorizontalFlip() > ' + JITTER.format(0.4, 0.4, 0.1) + ' > ' + BLUR.format(0.5)
VIEWS.update({
    'ijepa': ('SingleViewDataset', None, 'RandomResizedCrop(size=224, scale=(0.3, 1.0))'),
    'ijepa-448': ('SingleViewDataset', None, 'RandomResizedCrop(size=448, scale=(0.3, 1.0))'),
    'msn': ('MultiViewDataset', [2, 10], 'RandomResizedCrop(size=224, scale=(0.3, 1.0)) > ' + MSN_COLOURS +
            ' || RandomResizedCrop(size=96, scale=(0.05, 0.3)) > ' + MSN_COLOURS),
})
MODELS['msn-few'], VIEWS['msn-few'] = MODELS['msn'], (VIEWS['msn'][0], [2, 4], VIEWS['msn'][2])
FROM_A_FIFTH = ADAMW_COSINE.replace('0.0001', '0.2').replace('iters=10', 'iters={}')
IJEPA = 'type=AdamW; lr={}; weight_decay=0.04; paramwise_options.flat_decay_mult=0.0'
MSN = IJEPA + '; paramwise_options.prototypes.weight_decay=0.0'
LINEAR = dict(hooks=[dict(type='MomentumUpdateHook', mode='linear'), DECAY])
TABLE.update({
    'ijepa/ijepa_vit-huge-p14_16xb128-coslr-300e': (128, 300, IJEPA.format(0.001), FROM_A_FIFTH.format(1e-06,
                                                                                                       40), LINEAR),
    'ijepa/ijepa_vit-huge-p16_128xb16-coslr-300e_in1k-448':
    (16, 300, IJEPA.format(0.001), FROM_A_FIFTH.format(1e-06, 40), dict(LINEAR, like='ijepa-448')),
    'ijepa/ijepa_vit-small-p16_1xb256-coslr-300e':
    (256, 300, IJEPA.format(0.00025), FROM_A_FIFTH.format(1e-06, 40),
     dict(
         LINEAR,
         model='backbone.arch=deit-small; backbone.patch_size=16; neck.embed_dims=192; neck.num_layers=6; '
         'neck.num_heads=6')),
    'msn/msn_vit-small-p16_16xb64-mcrop-2-10-coslr-800e':
    (64, 800, MSN.format(0.001), FROM_A_FIFTH.format(1e-06, 15),
     dict(
         clip(3.),
         hooks=[dict(type='MomentumUpdateHook', mode='linear', end_momentum=0.9992),
                dict(DECAY, epochs=1000)])),
    'msn/msn_vit-small-p16_1xb128-mcrop-2-4-coslr-200e': (128, 200, MSN.format(0.00025), FROM_A_FIFTH.format(1e-06, 15),
                                                          dict(clip(3.), **LINEAR, like='msn-few')),
})


def path_of(name):
    """File of a recipe of ImageNet."""
    return ROOT / 'configs' / 'selfsup' / f'{name}{"" if "_in1k" in name else "_in1k"}.py'


def flatten(tree, prefix=''):
    """Nested dicts to one dict with dotted keys."""
    flat = {}
    for key, value in tree.items():
        flat.update(flatten(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value})
    return flat


def read_figures(text):
    """'a.b=1; c=word' to a dict with dotted keys."""
    figures = {}
    for item in text.split('; '):
        key, _, value = item.partition('=')
        try:
            figures[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            figures[key] = value
    return figures


def pipelines(train):
    """The pipelines of a data set's config, of which some have a single one."""
    return train.get('pipelines') or [train.pipeline]


def write_pipeline(steps):
    """A pipeline in the notation of the table."""
    written = []
    for step in steps:
        args = {key: value for key, value in step.items() if key not in ('type', 'transforms')}
        inner = [write_pipeline(step['transforms'])] if 'transforms' in step else []
        written.append(f'{step["type"]}({", ".join(inner + [f"{k}={v}" for k, v in args.items()])})')
    return ' > '.join(written)


def test_the_table_has_every_recipe_of_imagenet():
    assert {path_of(name) for name in TABLE} == {path for path in RECIPES if '_in1k' in path.name} - {*VARIANTS}


@pytest.mark.parametrize('name', TABLE)
def test_figures_are_the_published_ones(name):
    """Pitfalls: a transform's probability silently dropped; MoCo v2's crop scale is 0.2, not 0.08."""
    samples, epochs, optimizer, policy, other = TABLE[name]
    cfg = mmcv.Config.fromfile(str(path_of(name)))
    algorithm = other.get('like', name.split('/')[0])
    model = read_figures(MODELS[algorithm])
    if 'model' in other:
        model.update(read_figures(other['model']))
    assert flatten(cfg.model) == model
    assert flatten(cfg.optimizer) == read_figures(optimizer)
    assert flatten(cfg.lr_config) == read_figures(policy)
    assert dict(cfg.runner) == dict(type='EpochBasedRunner', max_epochs=epochs)
    train = cfg.data.train
    assert cfg.data.samples_per_gpu == samples and cfg.data.drop_last
    assert train.data_source == {**SOURCE, **other.get('source', {})}
    assert (train.type, train.get('num_views'), ' || '.join(map(write_pipeline, pipelines(train)))) == VIEWS[algorithm]
    # the place of ToTensor and Normalize at the end of each pipeline, or in the format_pipeline of patches
    assert train.get('format_pipeline', []) == []
    assert cfg.prefetch is True and train.prefetch is True
    assert cfg.img_norm_cfg == NORM
    assert cfg.get('custom_hooks', []) == other.get('hooks', [])
    assert cfg.optimizer_config == other.get('optimizer_config', {})
    assert cfg.get('fp16') == (dict(loss_scale=other['fp16']) if 'fp16' in other else None)
    assert cfg.checkpoint_config == dict(interval=10, max_keep_ckpts=3)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs/selfsup/_base_/datasets').glob('imagenet_*.py')), ids=lambda p: p.stem)
def test_without_prefetch_the_worker_makes_floats(path, tmp_path):
    """One word in a base file moves the normalisation from the device to the workers, for every view.

    It stands last, or right before the mask.
    """
    for base in path.parent.glob('*.py'):  # one may stand on another
        (tmp_path / base.name).write_text(base.read_text().replace('\nprefetch = True\n', '\nprefetch = False\n'))
    cfg = mmcv.Config.fromfile(str(tmp_path / path.name))
    train = cfg.data.train
    assert train.prefetch is False
    ends = [train.format_pipeline] if 'format_pipeline' in train else pipelines(train)
    ends = [pipeline[:-1] if pipeline[-1].type.endswith('MaskGenerator') else pipeline for pipeline in ends]
    assert all(pipeline[-2:] == [dict(type='ToTensor'), dict(type='Normalize', **NORM)] for pipeline in ends)


def bases(path):
    """The files that a config stands on."""
    found = [
        n.value for n in ast.parse(path.read_text()).body if getattr(n, 'targets', None) and n.targets[0].id == '_base_'
    ]
    found = ast.literal_eval(found[0]) if found else []
    return [path.parent / base for base in ([found] if isinstance(found, str) else found)]


def levels(path):
    """How many files stand one on the other; the base files count as one."""
    return 1 if '_base_' in path.parts else 1 + max(map(levels, bases(path)), default=0)


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_three_levels_at_most(path):
    assert 2 <= levels(path) <= 3
    # the head of a recipe says how it is run, on what, and what is known of its results
    head = ast.get_docstring(ast.parse(path.read_text()))
    assert str(path.relative_to(ROOT)) in head
    assert all(f'\n{word}: ' in head for word in ('Command', 'Hardware', 'Known'))


def options_for(path, folder):
    """Options for a folder of images: from the head of a recipe or of the one it varies, else those for any recipe."""
    from mmssl.utils.config import parse_value
    heads = [ast.get_docstring(ast.parse(p.read_text())) for p in (path, *bases(path))]
    options = next(filter(None, (re.search('--cfg-options (.*)', head) for head in heads)), None)
    options = options[1] if options else ('data.train.data_source.type=Folder data.train.data_source.ann_file=None '
                                          'data.train.data_source.data_prefix=FOLDER')
    # N images in batches of B at a rate of LR, I iterations; K clusters of S images; M negatives of the P nearest, a
    # queue of Q
    values = dict(
        FOLDER=str(folder), N=24, B=12, LR=0.02, I=2, K=4, S=2, M=8, P=12, Q=20, LABELS=[i % 4 for i in range(24)])
    pairs = [option.split('=') for option in options.split()]
    return {key: values.get(value, parse_value(value)) for key, value in pairs}


MULTI_CROP = 'vissl-simclr_resnet50_64xb64-mcrop'
# of the variants two that lead through other lines
TRAINED = [path for path in RECIPES if path not in VARIANTS or path.stem.startswith(('swav-momentum', MULTI_CROP))]


@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_two_iterations(path, photo_folder, tmp_path):
    """Each recipe trains on images of a folder, with its own hooks, optimizer and precision, on this machine."""
    from mmssl.apis import set_random_seed, train_model
    from mmssl.datasets import build_dataset
    from mmssl.models import Encoder, build_algorithm
    from mmssl.utils.config import load_config
    parts = copy.deepcopy(SMALL_PARTS.get(path.stem, SMALL_PARTS.get(path.parent.name,
                                                                     {})))  # mmcv takes _delete_ out of it
    if 'model.head.tokenizer_path' in parts:
        parts = dict(parts, **{'model.head.tokenizer_path': str(tmp_path / 'tokenizer.pth')})
        torch.save(Encoder(n_hid=8, n_blk_per_group=1, vocab_size=12).state_dict(), tmp_path / 'tokenizer.pth')
    alexnet = '_alexnet_' in path.name  # of one size, and for images of 63 pixels or more
    small = {k: v for k, v in SMALL.items() if not (alexnet or 'model.backbone.arch' in parts) or k not in RESNET}
    parts = {k: v for k, v in parts.items() if not (alexnet and k == 'model.head.in_channels')}
    if 'custom_hooks' not in mmcv.Config.fromfile(str(path)):
        parts = {key: value for key, value in parts.items() if not key.startswith('custom_hooks')}
    cfg = load_config(str(path), {**small, **options_for(path, photo_folder), **parts})
    cfg.work_dir = str(tmp_path)
    extractors = [hook.extractor for hook in cfg.get('custom_hooks', []) if 'extractor' in hook]
    for data in (cfg.data.train, *(extractor.dataset for extractor in extractors)):
        for step in sum(map(list, pipelines(data)), []):
            if 'size' in step and step.size > 64:  # 224 becomes 32, and 96 becomes 14
                step.size //= 3 if alexnet or data.type == 'RelativeLocDataset' else 7
    for extractor in extractors:
        extractor.workers_per_gpu = 0
    for part, channels in (('neck', parts.get('model.neck.in_channels', 64)), ('head.predictor', None)):
        shrink(cfg.model, part, channels)
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    before = {name: value.clone() for name, value in model.named_parameters()}
    dataset = build_dataset(cfg.data.train)
    runner = train_model(model, dataset, cfg)
    assert runner.iter == 2
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    # everything has learned but what the recipe freezes: SwAV's prototypes, of which only the length is set to 1
    frozen = cfg.optimizer_config.get('frozen_layers_cfg', ())
    parts_by_name = dict(model.named_modules())
    for name, value in model.named_parameters():
        if any(word in name for word in frozen):
            kept = normalize(before[name]) if cfg.model.type.startswith('SwAV') else before[name]
            assert torch.allclose(value, kept, atol=1e-6)
        elif value.requires_grad and re.sub(r'fc(\d+)\.bias$', r'bn\1', name) not in parts_by_name:
            # the gradient of a bias in front of a batch normalisation is 0 but for rounding
            assert not torch.equal(value, before[name]), name
    by_name = cfg.optimizer.get('paramwise_options', {})
    scheduled = {hook.get('target', '').removeprefix('optimizer.') for hook in cfg.get('custom_hooks', [])}
    for option in {'weight_decay', 'momentum'} & set(cfg.optimizer) - scheduled:
        values = {cfg.optimizer[option]}
        values |= {options[option] for options in by_name.values() if isinstance(options, dict) and option in options}
        if option == 'weight_decay':  # of norms or biases, say
            values |= {cfg.optimizer[option] * by_name[kind] for kind in by_name if kind.endswith('_decay_mult')}
        assert {g[option] for g in runner.optimizer.param_groups} == values
    if 'queue_len' in cfg.model:
        assert int(model.queue_ptr) == 24 % cfg.model.queue_len  # the keys of two batches of 12
    if 'memory_bank' in cfg.model:
        assert model.memory_bank.feature_bank.norm(dim=-1).sub(1).abs().max() < 1e-4
    if cfg.model.type == 'DeepCluster':
        assert set(dataset.pseudo_labels.tolist()) == set(range(4))


def test_clustering_on_a_folder_from_the_command_line(photo_folder, call_tool, tmp_path):
    """The options in the head of DeepCluster's recipe, and some that make it small, are all that a folder takes."""
    from mmssl.utils.checkpoint import read_checkpoint
    path = next(path for path in RECIPES if path.stem.startswith('deepcluster-sobel'))
    options = {
        **SMALL,
        **options_for(path, photo_folder),
        **SMALL_PARTS['deepcluster'], 'runner.max_epochs': 2,
        'custom_hooks.0.extractor.workers_per_gpu': 0,
        'custom_hooks.0.extractor.dataset.pipeline.0.size': 32,
        'custom_hooks.0.extractor.dataset.pipeline.1.size': 32,
        'data.train.pipeline.0.size': 32
    }
    done = call_tool('tools/train.py', path, '--work-dir', tmp_path, '--cfg-options',
                     *(f'{key}={value}' for key, value in options.items()))
    # before each of the two epochs
    assert (done.stdout + done.stderr).count('Clustering of 24 samples') == 2
    checkpoint = read_checkpoint(tmp_path / 'epoch_2.pth')
    labels = checkpoint['hooks']['DeepClusterHook']['labels']
    assert labels.shape == (24, ) and labels.unique().tolist() == [0, 1, 2, 3]
    assert checkpoint['state_dict']['head.fc_cls.weight'].shape == (4, 64)


def test_too_few_images_are_an_error(photo_folder, tmp_path):
    """A folder with less than a batch used to train on nothing, without a word."""
    from mmssl.apis import train_model
    from mmssl.datasets import build_dataset
    from mmssl.utils.config import load_config
    options = {**SMALL, 'data.train.data_source.data_prefix': str(photo_folder), 'data.samples_per_gpu': 25}
    cfg = load_config(str(next(path for path in RECIPES if path.stem.endswith('folder'))), options)
    cfg.work_dir = str(tmp_path)
    with pytest.raises(ValueError, match='24 samples make no batch: data.samples_per_gpu is 25'):
        train_model(torch.nn.Linear(1, 1), build_dataset(cfg.data.train), cfg)


RESNET = {'model.backbone.depth': 18, 'model.backbone.stem_channels': 8, 'model.backbone.base_channels': 8}
# 24 photographs make two batches
SMALL = {
    **RESNET,
    'data.samples_per_gpu': 12,
    'data.workers_per_gpu': 0,
    'runner.max_epochs': 1,
    'checkpoint_config.interval': 2,  # none is written after the one epoch
    'seed': 0,
}

QUEUE = {'model.queue_len': 48}
# 4 x 4 patches of 16 pixels
VIT = {
    'model.backbone.arch': dict(_delete_=True, embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    'model.backbone.img_size': 64
}
# float16 of a CPU is slow
DINO_NECK = {'model.neck.channels': [512, 512, 128], 'model.neck.out_channels': 64}
# a small random teacher, without a file
STUDENT = {
    'model.teacher':
    dict(_delete_=True, backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, out_indices=[4])),
    'model.neck.channels': [32, 64]
}
SMALL_PARTS = dict(
    nnclr=dict(QUEUE, **{'model.backbone.zero_init_residual': False}),
    seed=dict(STUDENT, **QUEUE),
    simreg=STUDENT,
    dense_distillation=STUDENT,
    # maps of 2 x 2 places, which are compared
    relational_distillation=dict(
        STUDENT, **QUEUE, **{
            'model.backbone.strides': [1, 2, 2, 1],
            'model.teacher.backbone.strides': [1, 2, 2, 1]
        }),
    ressl=dict(QUEUE, **{
        'model.feat_dim': 64,
        'model.neck.channels': [32, 64]
    }),
    # a dynamic scale would leave the first steps out
    **dict.fromkeys(
        ('dino', 'ibot'), {
            **VIT,
            **DINO_NECK, 'amp.loss_scale': 1024.,
            'data.train.pipelines.0.0.size': 64,
            'data.train.pipelines.1.0.size': 64,
            'data.train.pipelines.2.0.size': 32
        }),
    ijepa={
        **VIT, 'model.backbone.patch_size': 16,
        'model.masks.min_keep': 4,
        'model.neck.embed_dims': 16,
        'model.neck.num_layers': 1,
        'model.neck.num_heads': 2,
        'data.train.pipeline.0.size': 64
    },
    msn={
        **VIT, 'model.neck.channels': [32, 16],
        'model.head.num_prototypes': 12,
        'data.train.pipelines.0.0.size': 64,
        'data.train.pipelines.1.0.size': 32
    },
    dinov2={
        **VIT,
        **DINO_NECK, 'amp.loss_scale': 1024.,
        'data.train.pipelines.0.0.size': 64,
        'data.train.pipelines.1.0.size': 64,
        'data.train.pipelines.2.0.size': 32
    },
    vicreg={
        'model.neck.out_channels': 32,
        'model.backbone.zero_init_residual': False
    },
    # torch leaves bfloat16 gradients of convolutions over so small maps unset on a CPU
    lejepa={
        'model.head.num_slices': 8,
        'amp': None
    },
    mocov1=QUEUE,
    mocov2=QUEUE,
    densecl=QUEUE,
    barlowtwins={
        'model.neck.out_channels': 32,
        'model.head.in_channels': 32,
        # else the first step, which is all that accum8 makes here, does not reach the inside of a block
        'model.backbone.zero_init_residual': False
    },
    deepcluster={
        'model.head.in_channels': 64,
        'custom_hooks.0.clustering.pca_dim': 8
    },
    deepclusterv2={'model.memory_bank.num_clusters': [4, 5, 3]},
    relative_loc={
        'model.neck.out_channels': 32,
        'model.head.in_channels': 32
    },
    jigsaw={
        'data.train.pipeline.5.permutations': 20,
        'model.head.num_classes': 20
    },
    pirl={
        'data.train.pipeline.0.patch_size': 36,
        'fp16': None  # a dynamic scale leaves out the first steps, which are all there are here
    },
    rotation_pred={'model.head.in_channels': 64},
    mocov3={
        **VIT, 'model.neck.in_channels': 16,
        'model.backbone.img_size': 32
    },
    mae={
        **VIT, 'model.neck.num_patches': 16,
        'model.neck.embed_dim': 16,
        'model.neck.decoder_embed_dim': 16,
        'model.neck.decoder_depth': 1,
        'model.neck.decoder_num_heads': 2,
        'data.train.pipeline.0.size': 64
    },
    simmim={
        'model.backbone.arch': dict(_delete_=True, embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8]),
        'model.backbone.img_size': 64,
        'model.backbone.stage_cfgs.block_cfgs.window_size': 2,
        'model.neck.in_channels': 64,
        'data.train.pipeline.0.size': 64,
        'data.train.pipeline.2.input_size': 64
    },
    cae={
        **VIT, 'model.head.tokenizer_path': 'one that the test writes',
        'model.neck.num_classes': 12,
        'model.neck.embed_dims': 16,
        'model.neck.num_heads': 2,
        'model.neck.mask_tokens_num': 6,
        'data.train.pipeline.1.size': 64,
        'data.train.pipeline.1.second_size': 32,
        'data.train.pipeline.2.input_size': (4, 4),
        'data.train.pipeline.2.num_masking_patches': 6,
        'data.train.pipeline.2.min_num_patches': 2
    },
    maskfeat={
        **VIT, 'model.head.embed_dim': 16,
        'data.train.pipeline.0.size': 64,
        'data.train.pipeline.2.mask_window_size': 4,
        'data.train.pipeline.2.min_num_patches': 2
    },
    swav={
        'model.head.num_prototypes': 10,
        'custom_hooks.0.epoch_queue_starts': 0,
        'custom_hooks.0.queue_length': 24
    })
# 4 x 4 patches of 14 pixels, and 2 x 2
DINOV2_P14 = {
    **VIT,
    **DINO_NECK, 'model.backbone.img_size': 56,
    'amp.loss_scale': 1024.,
    'lr_config.warmup_iters': 1,
    'load_from': None,
    **{
        f'data.train.pipelines.{i}.0.size': size
        for i, size in enumerate((56, 56, 28))
    }
}
for stem in ('135e_in22k', '2e_in22k-518'):
    SMALL_PARTS[f'dinov2_vit-large-p14_96xb32-mcrop-2-8-coslr-{stem}'] = dict(
        DINOV2_P14, **{
            'model.patch_neck.out_channels': 48,
            'model.patch_neck.channels': [512, 512, 128]
        })
# JPEGs in the place of tiles
SMALL_PARTS['mocov2-splitbn_resnet18_1xb64-coslr-100e_tiles'] = {
    **SMALL_PARTS.get('mocov2', {}), 'model.backbone.in_channels': 3,
    'img_norm_cfg.mean': [100.] * 3,
    'img_norm_cfg.std': [50.] * 3
}
SMALL_PARTS['dinov2-continued_vit-small-p14_1xb64-coslr-30e_folder'] = dict(
    DINOV2_P14, **{
        'model.backbone.init_cfg': None,
        'amp': None
    })
SMALL_PARTS['dino_resnet18_1xb64-mcrop-2-4-coslr-200e_folder'] = {'model.neck.out_channels': 64, 'amp': None}
SMALL_PARTS['lejepa_vit-small-p16_8xb64-coslr-100e_in1k'] = {
    **VIT, 'model.head.num_slices': 8,
    'data.train.pipelines.0.0.size': 64,
    'data.train.pipelines.1.0.size': 32
}
SMALL_PARTS['vissl-simclr_vit-base-p16_32xb64-coslr-300e_in1k'] = {
    **VIT, 'fp16.loss_scale': 128.,
    'model.neck.channels': [32, 16],
    'data.train.pipelines.0.0.size': 64
}
SMALL_PARTS['vissl-swav_deit-base-p16_16xb16-2crops-coslr-300e_in1k'] = {
    **VIT, 'model.neck.channels': [32, 16],
    'model.head.num_prototypes': 12,
    'data.train.pipelines.0.0.size': 64
}


def shrink(model, part, in_channels):
    """Make a projector or predictor of a config small, and fit for what comes before."""
    for key in part.split('.'):
        model = model.get(key, {})
    if 'hid_channels' in model:
        model.hid_channels = 32
    if 'in_channels' in model and in_channels:
        model.in_channels = in_channels

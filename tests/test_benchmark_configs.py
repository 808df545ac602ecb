"""The benchmark recipes: their figures are the published ones, and their models build."""
from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl.core import build_optimizer
from mmssl.models import build_algorithm
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[1] / 'configs/benchmarks/classification'
SINGLE = dict(out_indices=[4], head='ClsHead')
MULTI = dict(out_indices=[0, 1, 2, 3, 4], head='MultiClsHead', frozen=4)
SIX = dict(out_indices=[0, 1, 2, 3, 4, 4], head='MultiClsHead', frozen=4)
# recipe: classes, kind, frozen stages, samples per process, optimizer and rate, decay, epochs, policy, steps
TABLE = {
    'cifar/resnet50_8xb128-steplr-350e_cifar10': (10, SINGLE, -1, 128, 'SGD', 0.1, 5e-4, 350, 'step', [150, 250]),
    'imagenet/resnet50_8xb32-steplr-90e_in1k': (1000, SINGLE, -1, 32, 'SGD', 0.1, 1e-4, 90, 'step', [30, 60, 90]),
    'imagenet/resnet50_linear-8xb32-steplr-100e_in1k': (1000, SINGLE, 4, 32, 'SGD', 30., 0., 100, 'step', [60, 80]),
    'imagenet/resnet50-sobel_linear-8xb32-steplr-100e_in1k':
    (1000, SINGLE, 4, 32, 'SGD', 30., 0., 100, 'step', [60, 80]),
    'imagenet/resnet50_linear-8xb32-coslr-100e_in1k':
    (1000, SINGLE, 4, 32, 'SGD', 0.3, 1e-6, 100, 'CosineAnnealing', None),
    'imagenet/resnet50_linear-8xb512-coslr-90e_in1k':
    (1000, SINGLE, 4, 512, 'LARS', 1.6, 0., 90, 'CosineAnnealing', None),
    'imagenet/resnet50_mhead_linear-8xb32-steplr-90e_in1k':
    (1000, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 90, 'step', [30, 60, 90]),
    'imagenet/resnet50-sobel_mhead_linear-8xb32-steplr-90e_in1k': (1000, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 90, 'step',
                                                                   [30, 60, 90]),
    'inaturalist2018/resnet50_mhead_8xb32-steplr-84e_inat18': (8142, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 84, 'step',
                                                               [24, 48, 72]),
    'inaturalist2018/resnet50-sobel_mhead_8xb32-steplr-84e_inat18': (8142, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 84, 'step',
                                                                     [24, 48, 72]),
    'places205/resnet50_mhead_8xb32-steplr-28e_places205': (205, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 28, 'step',
                                                            [7, 14, 21]),
    'places205/resnet50-sobel_mhead_8xb32-steplr-28e_places205': (205, MULTI, 4, 32, 'SGD', 0.01, 1e-4, 28, 'step',
                                                                  [7, 14, 21]),
    # VISSL's
    'imagenet/resnet50_bn-linear-8xb32-steplr-28e_in1k': (1000, SINGLE, 4, 32, 'SGD', 0.01, 5e-4, 28, 'step',
                                                          [8, 16, 24]),
    'imagenet/resnet50_mhead_linear-8xb32-steplr-28e_in1k': (1000, SIX, 4, 32, 'SGD', 0.01, 5e-4, 28, 'step',
                                                             [8, 16, 24]),
    'places205/resnet50_mhead_linear-8xb32-steplr-14e_places205': (205, SIX, 4, 32, 'SGD', 0.01, 5e-4, 14, 'step',
                                                                   [4, 8, 12]),
    'places205/resnet50_8xb32-steplr-105e-fulltune_places205': (205, SINGLE, -1, 32, 'SGD', 0.1, 0., 105, 'step',
                                                                [30, 60, 90, 100]),
    # several labels an image
    'voc07/resnet50_8xb32-steplr-105e_voc07': (20, SINGLE, -1, 32, 'SGD', 0.01, 0., 105, 'step', [30, 60, 90, 100]),
    'voc07/resnet50_bn-linear-8xb32-steplr-28e_voc07': (20, SINGLE, 4, 32, 'SGD', 0.01, 5e-4, 28, 'step', [8, 16, 24]),
    'coco2014/resnet50_bn-linear-8xb32-steplr-28e_coco2014': (80, SINGLE, 4, 32, 'SGD', 0.01, 5e-4, 28, 'step',
                                                              [8, 16, 24]),
    'openimages/resnet50_bn-linear-8xb16-steplr-16e_openimages': (9605, SINGLE, 4, 16, 'SGD', 0.003, 1e-4, 16, 'step',
                                                                  [2, 4, 6]),
}
for share, decay in (('1', 5e-4), ('10', 1e-4)):
    where = f'imagenet/imagenet_{share}percent'
    for mult in (1, 10, 100):
        for power in (1, 2, 3):
            TABLE[f'{where}/resnet50_head{mult}_4xb64-steplr1e-{power}-20e_in1k-{share}pct'] = (1000, SINGLE, -1, 64,
                                                                                                'SGD', 10**-power,
                                                                                                decay, 20, 'step',
                                                                                                [12, 16])
    TABLE[f'{where}/resnet50-sobel_4xb64-steplr1e-2-20e_in1k-{share}pct'] = (1000, SINGLE, -1, 64, 'SGD', 0.01, decay,
                                                                             20, 'step', [12, 16])


@pytest.mark.parametrize('name', TABLE)
def test_figures(name):
    classes, kind, frozen, samples, optimizer, lr, decay, epochs, policy, steps = TABLE[name]
    cfg = load_config(ROOT / f'{name}.py')
    model = cfg.model
    assert model.type == 'Classification' and model.head.type == kind['head']
    assert model.backbone.out_indices == kind['out_indices'] and model.backbone.frozen_stages == frozen
    assert model.backbone.in_channels == (2 if 'sobel' in name else 3)
    assert model.get('with_sobel', False) == ('sobel' in name)
    assert model.head.num_classes == classes and cfg.data.samples_per_gpu == samples
    assert (cfg.optimizer.type, cfg.optimizer.momentum) == (optimizer, 0.9)
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == pytest.approx((lr, decay))
    assert cfg.runner.max_epochs == epochs and cfg.lr_config.policy == policy
    assert cfg.lr_config.get('step') == steps
    if 'pct' in name:
        mult = 1 if 'sobel' in name else int(name.split('head')[1].split('_')[0])
        assert cfg.optimizer.paramwise_options[r'\Ahead.'].lr_mult == mult and cfg.lr_config.gamma == 0.2
        assert cfg.model.backbone.norm_cfg.type == 'SyncBN' and 'pct' in cfg.data.train.data_source.ann_file + 'pct'
        assert cfg.data.train.data_source.ann_file.endswith(('train_1percent.txt', 'train_10pct.txt'))
    if kind is MULTI:
        assert cfg.optimizer.nesterov and cfg.optimizer.paramwise_options.norm_decay_mult == 0
        assert model.head.norm_cfg == dict(type='SyncBN', momentum=0.1, affine=False)
    if kind is SIX or name.endswith('fulltune_places205') or 'bn-linear' in name:
        assert cfg.optimizer.nesterov and cfg.data.train.pipeline == [
            dict(type='RandomResizedCrop', size=224),
            dict(type='RandomHorizontalFlip')
        ]
    if kind is SIX or 'bn-linear' in name:  # with weights and biases, which do not decay
        assert model.head.norm_cfg == dict(type='SyncBN') and cfg.optimizer.paramwise_options.norm_decay_mult == 0
    if name.startswith(('voc07', 'coco2014', 'openimages')):
        assert model.head.loss == dict(type='MultiLabelLoss') and 'topk' not in cfg.evaluation
        assert cfg.evaluation.metric == 'mean_average_precision'
        assert cfg.data.train.data_source.multi_label and cfg.data.val.data_source.multi_label
    if 'places205' in name:
        assert 'places205/train' in cfg.data.train.data_source.ann_file


@pytest.mark.parametrize('name', ['knn_places205', 'svm_places205'])
def test_places_without_augmentation(name):
    data = load_config(ROOT / f'{name}.py').data
    train = data.train.dataset if name == 'svm_places205' else data.train
    plain = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]
    assert train.pipeline == data.val.pipeline == plain and train.prefetch
    assert Path(train.data_source.ann_file).name == 'train_places205.csv'
    assert Path(data.val.data_source.ann_file).name == 'val_places205.csv'
    if name == 'svm_places205':
        assert (data.train.type, data.train.per_class) == ('ClassBalancedSubset', 500)


def test_six_heads_have_the_sizes_of_vissl():
    """About 9,000 numbers for the stem and each stage, and the mean of the last map."""
    cfg = load_config(ROOT / 'imagenet/resnet50_mhead_linear-8xb32-steplr-28e_in1k.py')
    cfg.model.backbone.init_cfg = None
    model = build_algorithm(cfg.model).eval()
    assert [fc.in_features for fc in model.head.fcs] == [9216, 9216, 8192, 9216, 8192, 2048]
    with torch.no_grad():
        scores = model(torch.zeros(1, 3, 224, 224), mode='test')
    assert list(scores) == ['head0', 'head1', 'head2', 'head3', 'head4', 'head4_2']


@pytest.mark.parametrize('variant, dims', [
    ('bvlc', [7776, 6400, 6144, 6144, 6400]),
    ('colorization', [7776, 6400, 6144, 6144, 6400]),
    ('deepcluster', [9600, 9216, 9600, 9600, 9216]),
    ('jigsaw', [9600, 9216, 9600, 9600, 9216]),
    ('rotnet', [6400, 6912, 9600, 6400, 9216]),
])
def test_linear_evaluation_of_alexnets(variant, dims):
    """VISSL's windows make 9600, 9216, 9600, 9600 and 9216 numbers of the widest maps of 55, 27 and 13 pixels."""
    cfg = load_config(ROOT / f'imagenet/alexnet-{variant}_mhead_linear-8xb32-steplr-28e_in1k.py')
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay, cfg.optimizer.nesterov) == (0.01, 5e-4, False)
    assert cfg.runner.max_epochs == 28 and cfg.lr_config.step == [8, 16, 24] and cfg.data.samples_per_gpu == 32
    train, val = ([step.type for step in cfg.data[part].pipeline] for part in ('train', 'val'))
    lab = ['ToLab'] * (variant == 'colorization')
    assert train == ['Resize', 'RandomCrop', 'RandomHorizontalFlip'] + lab and val == ['Resize', 'CenterCrop'] + lab
    assert cfg.img_norm_cfg.mean[0] == (0.5 if lab else 0.485)
    with torch.device('meta'):
        model = build_algorithm(cfg.model).eval()
        assert [fc.in_features for fc in model.head.fcs] == dims
        maps = model.extract_feat(torch.empty(1, 3, 224, 224))
        assert [score.shape for score in model.head(maps)] == [(1, 1000)] * 5
    assert not any(p.requires_grad for p in model.backbone.parameters())


AUGMENTS = [
    dict(type='BatchMixup', alpha=0.8, num_classes=1000, prob=0.5),
    dict(type='BatchCutMix', alpha=1.0, num_classes=1000, prob=0.5)
]
ADAMW = dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05, constructor='TransformerFinetuneConstructor')
VIT_HEAD = dict(type='MAEFinetuneHead', embed_dim=768, num_classes=1000, label_smooth_val=0.1)
STEP_FIX = dict(
    policy='StepFixCosineAnnealing',
    min_lr=1e-6,
    warmup='linear',
    warmup_iters=5,
    warmup_ratio=1e-4,
    warmup_by_epoch=True,
    by_epoch=False)
# recipe: backbone, head, pixels, samples per process, colour jitter, rate, schedule
FINETUNED = {
    'vit-base-p16_ft-8xb128-coslr-100e_in1k': ({}, VIT_HEAD, 224, 128, None, 4e-3, STEP_FIX),
    'vit-base-p16_ft-8xb128-coslr-100e-rpe_in1k': (dict(use_window=True, init_values=0.1,
                                                        qkv_bias=False), VIT_HEAD, 224, 128, 0.4, 8e-3, STEP_FIX),
    'vit-base-p16_ft-8xb256-coslr-100e_in1k': ({}, dict(VIT_HEAD, type='MaskFeatFinetuneHead'), 224, 256, 0.4, 8e-3,
                                               dict(
                                                   policy='CosineAnnealing',
                                                   min_lr=1e-6,
                                                   warmup='linear',
                                                   warmup_iters=20,
                                                   warmup_ratio=1e-8,
                                                   warmup_by_epoch=True)),
}
for name, pixels, samples in (('swin-base_ft-8xb256-coslr-100e_in1k', 192, 256), ('swin-base_ft-32xb64-coslr-100e_in1k',
                                                                                  192, 64),
                              ('swin-base_ft-8xb256-coslr-100e_in1k-224', 224, 256)):
    FINETUNED[name] = (dict(
        type='mmcls.SwinTransformer',
        arch='base',
        img_size=pixels,
        drop_path_rate=0.1,
        stage_cfgs=dict(block_cfgs=dict(window_size=pixels // 32))),
                       dict(
                           type='mmcls.LinearClsHead',
                           num_classes=1000,
                           in_channels=1024,
                           init_cfg=None,
                           loss=dict(type='mmcls.LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
                           cal_acc=False), pixels, samples, 0.4, 5e-3,
                       dict(STEP_FIX, policy='CosineAnnealing', warmup_iters=20, warmup_ratio=2e-4))


@pytest.mark.parametrize('name', FINETUNED)
def test_figures_of_finetuning(name):
    backbone, head, pixels, samples, jitter, lr, schedule = FINETUNED[name]
    cfg = load_config(ROOT / f'imagenet/{name}.py')
    swin = 'swin' in name
    vit = dict(type='MIMVisionTransformer', arch='b', patch_size=16, drop_path_rate=0.1, final_norm=False)
    assert cfg.model.backbone == (backbone if swin else {**vit, **backbone})
    assert cfg.model.type == ('MMClsImageClassifierWrapper' if swin else 'Classification')
    assert cfg.model.head == head and cfg.model.train_cfg == dict(augments=AUGMENTS)
    assert cfg.data.train.pipeline == [
        dict(
            type='RandomAug',
            input_size=pixels,
            color_jitter=jitter,
            auto_augment='rand-m9-mstd0.5-inc1',
            interpolation='bicubic',
            re_prob=0.25,
            re_mode='pixel',
            re_count=1,
            mean=[0.485, 0.456, 0.406],
            std=[0.229, 0.224, 0.225])
    ]
    size = cfg.data.val.pipeline[1]['size']
    assert size == pixels and cfg.data.val.pipeline[0]['size'] == round(pixels * 256 / 224)
    workers = 8 if '32xb64' in name else 32
    assert (cfg.data.samples_per_gpu, cfg.data.workers_per_gpu, cfg.data.drop_last) == (samples, workers, False)
    plain = ['norm', 'bias', 'absolute_pos_embed', 'relative_position_bias_table'] if swin else \
        ['ln', 'bias', 'pos_embed', 'cls_token', 'fc_norm']
    kind = dict(model_type='swin', layer_decay=0.9) if swin else dict(model_type='vit', layer_decay=0.65)
    assert cfg.optimizer == dict(ADAMW, lr=lr, paramwise_options={key: dict(weight_decay=0.) for key in plain}, **kind)
    assert cfg.lr_config == schedule and cfg.runner == dict(type='EpochBasedRunner', max_epochs=100)
    assert cfg.optimizer_config == (dict(grad_clip=dict(max_norm=5.)) if swin else {})
    assert cfg.get('fp16') == (dict(loss_scale='dynamic') if swin else None)
    assert cfg.evaluation == dict(interval=10, topk=(1, 5))
    if swin:
        assert cfg.model.neck == dict(type='mmcls.GlobalAveragePooling')
        assert cfg.model.init_cfg == [
            dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.),
            dict(type='Constant', layer='LayerNorm', val=1., bias=0.)
        ]


def test_figures_of_linear_probes():
    cfg = load_config(ROOT / 'imagenet/vit-small-p16_linear-8xb128-coslr-90e_in1k.py')
    assert cfg.model == dict(
        type='Classification',
        backbone=dict(
            type='VisionTransformer',
            arch='mocov3-small',
            img_size=224,
            patch_size=16,
            stop_grad_conv1=True,
            frozen_stages=12,
            norm_eval=True),
        head=dict(type='ClsHead', in_channels=384, num_classes=1000, vit_backbone=True))
    assert cfg.optimizer == dict(type='SGD', lr=12., momentum=0.9, weight_decay=0.)
    assert cfg.lr_config == dict(policy='CosineAnnealing', min_lr=0.)
    assert (cfg.runner.max_epochs, cfg.data.samples_per_gpu, cfg.data.workers_per_gpu) == (90, 128, 4)
    cfg = load_config(ROOT / 'imagenet/vit-base-p16_linear-8xb2048-coslr-90e_in1k.py')
    assert cfg.model.backbone.finetune is False and cfg.model.backbone.final_norm is True
    assert cfg.optimizer == dict(type='LARS', lr=6.4, momentum=0.9, weight_decay=0.)
    assert cfg.lr_config == dict(STEP_FIX, min_lr=0., warmup_iters=10)
    assert (cfg.runner.max_epochs, cfg.data.samples_per_gpu) == (90, 2048)


@pytest.mark.parametrize('name', ['vit-base-p16_ft-8xb128-coslr-100e-rpe_in1k', 'swin-base_ft-8xb256-coslr-100e_in1k'])
def test_norms_and_biases_do_not_decay(name):
    """PITFALLS: LayerNorm parameters decayed because the key `norm` missed `ln`."""
    cfg = load_config(ROOT / f'imagenet/{name}.py')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    if 'swin' in name:
        arch = dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 1, 1, 1])
    cfg.model.backbone.arch = arch
    model = build_algorithm(cfg.model)
    decay = {n: g['weight_decay'] for g in build_optimizer(model, cfg.optimizer).param_groups for n in g['names']}
    exempt = {n for n, p in model.named_parameters() if p.dim() == 1 and 'gamma' not in n}
    exempt |= {n for n in decay if n.endswith(('cls_token', 'pos_embed', 'relative_position_bias_table'))}
    assert {n for n, value in decay.items() if value == 0} == exempt
    assert {n for n, value in decay.items() if value == 0.05} == decay.keys() - exempt


PATHS = sorted(path for path in ROOT.glob('**/*.py') if '_base_' not in path.parts)


@pytest.mark.long
@pytest.mark.parametrize('path', PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_models_build(path):
    """Each config is read; a frozen backbone leaves nothing of it to an optimizer."""
    cfg = load_config(path)
    if 'model' not in cfg:
        return
    cfg.model.backbone.init_cfg = None
    model = build_algorithm(cfg.model)
    trained = {name.split('.')[0] for name, p in model.named_parameters() if p.requires_grad}
    frozen = cfg.model.backbone.get('frozen_stages', -1) == 4 or 'linear' in path.stem
    assert trained == ({'head'} if frozen else {'backbone', 'head'})
    model.train()
    if frozen:
        assert not any(m.training for m in model.backbone.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize(
    'network, width',
    [
        ('mobilenetv3_small_100', 1024),  # with the convolution behind its features
        ('resnet18', 512),
        pytest.param('deit_tiny_patch16_224', 192, marks=pytest.mark.long),
    ])
def test_linear_evaluation_of_small_networks(network, width):
    """MoCo's recipe; the classifier has the width of the network, which gets no gradient and keeps its statistics."""
    path = ROOT.parent / 'small_models/linear_mobilenetv3-large_8xb32-steplr-100e_in1k.py'
    cfg = load_config(path, {'model.backbone.model_name': network})
    assert cfg.optimizer == dict(type='SGD', lr=30., momentum=0.9, weight_decay=0.)
    assert (cfg.lr_config.step, cfg.runner.max_epochs, cfg.data.samples_per_gpu) == ([60, 80], 100, 32)
    model = build_algorithm(cfg.model).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model(torch.randn(2, 3, 224, 224), label=torch.tensor([3, 999]))['loss'].backward()
    assert model.head.fc_cls.weight.shape == (1000, width)
    assert {name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None} == {'head'}
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())

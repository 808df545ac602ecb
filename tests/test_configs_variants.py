"""Recipes that change a few figures of another one: which these are, and whether networks, heads and crops fit."""
import ast
import contextlib
import types
from pathlib import Path

import mmcv
import pytest
import torch

SELFSUP = Path(__file__).resolve().parents[1] / 'configs' / 'selfsup'
SIMCLR = 'simclr/vissl-simclr_resnet50_64xb64-coslr-100e'
SIMCLR_VIT = 'simclr/vissl-simclr_vit-base-p16_32xb64-coslr-300e'
SWAV = 'swav/vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96'
SWAV_NAME = 'swav/vissl-swav_{}_64xb64-mcrop-2-6-coslr-400e_in1k'
LARGE, CROPS = 'data.train.pipelines.0.0.', 'data.train.num_views='
SMALL = LARGE.replace('0.0', '1.0')
FOUR = CROPS + '[2, 4]'
REGNET = 'model.backbone.type=RegNet; model.backbone.arch={}'
MLP = 'model.neck.type=MLPNeck; model.neck.channels={}; model.neck.with_l2norm=True'
RESNEXT = 'model.backbone.type=ResNeXt; model.backbone.groups=32; model.backbone.width_per_group={}'
EFFICIENTNET = ('model.backbone.type=TIMMBackbone; model.backbone.model_name=efficientnet_b{}; '
                'model.backbone.bn_eps=0.001; model.backbone.bn_momentum=0.01; model.backbone.drop_path_rate=0.2')
QUEUE = "custom_hooks.0.type=SwAVHook; custom_hooks.0.priority='VERY_HIGH'; custom_hooks.0.epoch_queue_starts={}; " \
    'custom_hooks.0.queue_length={}'
# recipe: the one that it varies, and every figure in which it differs
TABLE = {
    'ressl/ressl_resnet18_1xb256-coslr-100e':
    ('ressl/ressl_resnet50_8xb32-coslr-200e', 'model.backbone.depth=18; model.backbone.norm_cfg.type=SplitBN; '
     'model.backbone.norm_cfg.num_splits=8; model.neck.channels=[1024, 512]; data.samples_per_gpu=256; '
     'data.workers_per_gpu=8; runner.max_epochs=100'),
    'simclr/vissl-simclr_resnet50_32xb128-coslr-300e': (SIMCLR, 'data.samples_per_gpu=128; runner.max_epochs=300'),
    'simclr/vissl-simclr_resnet50_64xb64-mcrop-2-4-coslr-100e_in1k-160-96':
    (SIMCLR, f'{FOUR}; {LARGE}size=160; {LARGE}scale=(0.08, 1.0); {SMALL}type=RandomResizedCrop; {SMALL}size=96; '
     f'{SMALL}scale=(0.05, 0.14)'),
    'simclr/vissl-simclr_resnet101_64xb64-coslr-100e': (SIMCLR, 'model.backbone.depth=101'),
    'simclr/vissl-simclr_resnet50-bnhead_64xb64-coslr-100e':
    (SIMCLR, 'model.neck.norm_cfg.type=SyncBN; model.neck.with_bias=False'),
    'simclr/vissl-simclr_regnety-400mf_64xb64-coslr-100e': (SIMCLR, REGNET.format('y-400mf') +
                                                            '; model.neck.channels=[440, 128]'),
    'simclr/vissl-simclr_resnext50_64xb64-coslr-100e': (SIMCLR, RESNEXT.format(4)),
    'simclr/vissl-simclr_resnext101_64xb64-coslr-100e': (SIMCLR, RESNEXT.format(8) + '; model.backbone.depth=101'),
    'swav/vissl-swav_resnet50_64xb64-2crops-coslr-400e': (SWAV, f'{CROPS}[2]; {LARGE}scale=(0.08, 1.0)'),
    'swav/vissl-swav_resnet50_64xb64-mcrop-2-4-coslr-400e_in1k-224-96': (SWAV, FOUR),
    'swav/vissl-swav_resnet50_64xb64-mcrop-2-4-coslr-400e_in1k-160-96': (SWAV, f'{FOUR}; {LARGE}size=160'),
    'swav/vissl-swav_resnet50_64xb64-6crops-coslr-400e_in1k-160': (SWAV, f'{CROPS}[6]; {LARGE}size=160'),
    'swav/vissl-swav_resnet50_4xb64-mcrop-2-6-coslr-400e_in1k-224-96':
    (SWAV, f'{QUEUE.format(15, 3840)}; optimizer.lr=0.6; lr_config.min_lr=0.0006; lr_config.warmup=None'),
    'swav/vissl-swav_resnet50_64xb64-mcrop-2-6-restart-100e_in1k-224-96':
    (SWAV, 'lr_config.policy=Composite; lr_config.parts.0.type=linear; lr_config.parts.0.start=0.6; '
     'lr_config.parts.0.end=4.8; lr_config.parts.0.length=0.1; lr_config.parts.1.type=cosine_restart; '
     'lr_config.parts.1.start=4.8; lr_config.parts.1.end=0.0048; lr_config.parts.1.period=0.5; '
     'lr_config.parts.1.adaptive=True; runner.max_epochs=100'),
    'swav/vissl-swav-power_resnet50_64xb64-mcrop-2-6-coslr-100e': (SWAV,
                                                                   'model.head.power=0.25; runner.max_epochs=100'),
    'swav/swav-momentum_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96':
    (SWAV, 'model.type=SwAVMomentum; model.momentum=0.99; model.eval_mode_iters=0'),
    'swav/vissl-swav_resnet18_64xb64-mcrop-2-6-coslr-400e_in1k-224-96': (SWAV, 'model.backbone.depth=18'),
    'swav/vissl-swav_resnet34_64xb64-mcrop-2-6-coslr-400e_in1k-224-96': (SWAV, 'model.backbone.depth=34'),
    'swav/vissl-swav_resnet50-w2_128xb32-mcrop-2-4-coslr-400e_in1k-224-96':
    (SWAV, f'model.backbone.width_multiplier=2; model.neck.hid_channels=8192; data.samples_per_gpu=32; {FOUR}'),
    'swav/vissl-swav_resnet50-w4_64xb40-mcrop-2-4-coslr-400e_in1k-224-96':
    (SWAV, f'model.backbone.width_multiplier=4; model.neck.hid_channels=8192; data.samples_per_gpu=40; {FOUR}; '
     f'{LARGE}scale=(0.08, 1.0); {SMALL}scale=(0.08, 0.14); {QUEUE.format(0, 2560)}; '
     'optimizer.lr=3.0; lr_config.min_lr=0.003; lr_config.warmup_ratio=0.1'),
    'swav/vissl-swav_resnet50-w5_128xb12-mcrop-2-4-coslr-400e_in1k-224-96':
    (SWAV, f'model.backbone.width_multiplier=5; {MLP.format([10240, 128])}; data.samples_per_gpu=12; {FOUR}; '
     f'{QUEUE.format(0, 1536)}; optimizer.lr=1.8; lr_config.min_lr=0.0018; lr_config.warmup_ratio=0.16666666666666666'),
    'swav/vissl-swav_resnet50-w3_64xb64-mcrop-2-6-coslr-400e_in1k-224-96':
    (SWAV, 'model.backbone.width_multiplier=3; model.neck.hid_channels=6144'),
    'simclr/vissl-simclr_vit-large-p16_32xb16-coslr-300e':
    (SIMCLR_VIT, 'model.backbone.arch=large; model.neck.channels=[4096, 128]; data.samples_per_gpu=16; '
     'optimizer.lr=0.000375'),
    'mocov2/vissl-mocov2_vit-base-p16_32xb128-coslr-300e':
    (SIMCLR_VIT, 'model.type=MoCo; model.queue_len=65536; model.feat_dim=128; model.momentum=0.999; '
     'model.head.temperature=0.2; model.neck.channels=[2048, 128]; data.samples_per_gpu=128; optimizer.lr=0.0005; '
     'optimizer.weight_decay=0.05'),
    SWAV_NAME.format('regnety-400mf'): (SWAV, REGNET.format('y-400mf') + '; model.neck.hid_channels=440'),
    SWAV_NAME.format('regnety-16gf'): (SWAV, REGNET.format('y-16gf') + '; ' + MLP.format([3024, 128])),
}
for w in (2, 3, 4):
    TABLE[f'simclr/vissl-simclr_resnet50-w{w}_64xb64-coslr-100e'] = (
        SIMCLR, f'model.backbone.width_multiplier={w}; model.neck.channels={[2048 * w, 128]}')
for b, size, width in ((0, 224, 1280), (1, 240, 1280), (2, 260, 1408)):
    network = EFFICIENTNET.format(b) + f'; {LARGE}size={size}' * (b > 0)  # B0 has the size of a ResNet
    TABLE[f'simclr/vissl-simclr_efficientnet-b{b}_64xb64-coslr-100e_in1k-{size}'] = (
        SIMCLR, f'{network}; model.neck.channels={[width, 128]}')
    TABLE[f'swav/vissl-swav_efficientnet-b{b}_64xb64-mcrop-2-4-coslr-400e'] = (
        SWAV, f'{network}; model.neck.hid_channels={width}; {FOUR}')
for arch, width in (('128gf', 7392), ('256gf', 10444)):
    network = REGNET.format(f'y-{arch}')
    TABLE[SWAV_NAME.format(f'regnety-{arch}')] = (SWAV, f'{network}; {MLP.format([width, 128])}')
    TABLE[SWAV_NAME.format(f'regnety-{arch}-16k')] = (
        SWAV, f'{network}; {MLP.format([8192, 8192, 256])}; model.head.num_prototypes=16000')

DINO = 'dino/dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e'
IBOT = 'ibot/ibot_vit-small-p16_16xb64-mcrop-2-10-coslr-800e'
LEJEPA = 'lejepa/lejepa_vit-small-p16_8xb64-coslr-100e'
TABLE.update({
    'vicreg/vicreg_resnet50_8xb64-coslr-100e': ('vicreg/vicreg_resnet50_32xb64-coslr-1000e',
                                                'optimizer.lr=0.6; lr_config.min_lr=0.0006; runner.max_epochs=100'),
    'lejepa/lejepa_resnet50_8xb64-coslr-100e':
    (LEJEPA, 'model.backbone.type=ResNet; model.backbone.depth=50; model.backbone.out_indices=[4]; '
     'model.backbone.norm_cfg.type=SyncBN; model.neck.with_avg_pool=True; model.neck.vit_backbone=False; '
     'optimizer.weight_decay=0.0005'),
    'dino/dino_resnet50_8xb64-mcrop-2-8-coslr-100e':
    (DINO, 'model.backbone.type=ResNet; model.backbone.depth=50; model.backbone.out_indices=[4]; '
     'model.backbone.norm_cfg.type=SyncBN; model.neck.norm_last_layer=True; model.neck.with_avg_pool=True; '
     f"model.neck.vit_backbone=False; {LARGE}scale=(0.14, 1.0); {LARGE.replace('0.0', '1.0')}scale=(0.14, 1.0); "
     f"{LARGE.replace('0.0', '2.0')}scale=(0.05, 0.14); optimizer.type='SGD'; optimizer.lr=0.06; "
     'optimizer.momentum=0.9; optimizer.weight_decay=0.0001; runner.max_epochs=100'),
    'dino/dino_vit-small-p16_8xb64-mcrop-2-8-coslr-100e':
    (DINO, "custom_hooks.1.target='optimizer.weight_decay'; custom_hooks.1.end=0.4; custom_hooks.1.mode='cosine'; "
     'optimizer.lr=0.001; runner.max_epochs=100; model.neck.norm_last_layer=True'),
    'dino/dino_vit-base-p16_32xb32-mcrop-2-8-coslr-400e':
    (DINO, "model.backbone.arch='deit-base'; model.neck.norm_last_layer=True; data.samples_per_gpu=32; "
     "optimizer_config.grad_clip.max_norm=0.3; optimizer_config.frozen_layers_cfg.last_layer='3 epochs'; "
     'custom_hooks.1.epochs=50; runner.max_epochs=400'),
    'ibot/ibot_vit-base-p16_32xb32-mcrop-2-10-coslr-400e':
    (IBOT, "model.backbone.arch='deit-base'; data.samples_per_gpu=32; runner.max_epochs=400"),
    'ibot/ibot_vit-small-p16_1xb128-mcrop-2-10-coslr-100e':
    (IBOT, "data.samples_per_gpu=128; optimizer.lr=0.00025; amp.dtype='bfloat16'; runner.max_epochs=100"),
})
DCL, ONE_GPU = 'dcl/dcl_resnet50_8xb32-coslr-100e', "data.samples_per_gpu=256; amp.dtype='bfloat16'; channels_last=True"
TABLE.update({
    'dino/dino_vit-small-p16_1xb128-mcrop-2-8-coslr-100e':
    (DINO, "custom_hooks.1.target='optimizer.weight_decay'; custom_hooks.1.end=0.4; custom_hooks.1.mode='cosine'; "
     'optimizer.lr=0.00025; runner.max_epochs=100; data.samples_per_gpu=128; channels_last=True'),
    'vicreg/vicreg_resnet50_1xb256-coslr-100e':
    ('vicreg/vicreg_resnet50_32xb64-coslr-1000e',
     f'{ONE_GPU}; optimizer.lr=0.3; lr_config.min_lr=0.0003; runner.max_epochs=100'),
    'lejepa/lejepa_vit-small-p16_1xb256-coslr-100e': (LEJEPA, 'data.samples_per_gpu=256; channels_last=True'),
    'nnclr/nnclr_resnet50_1xb256-coslr-200e': ('nnclr/nnclr_resnet50_8xb64-coslr-200e', f'{ONE_GPU}; optimizer.lr=0.3'),
    'seed/seed_resnet18_1xb256-coslr-200e': ('seed/seed_resnet18_8xb32-coslr-200e', ONE_GPU),
    'simreg/simreg_resnet18_1xb256-coslr-130e': ('simreg/simreg_resnet18_8xb32-coslr-130e', ONE_GPU),
})
TABLE.update({
    'dcl/dclw_resnet50_8xb32-coslr-100e': (DCL, 'model.head.sigma=0.5'),
    'dcl/dcl_resnet50_1xb256-coslr-100e': (DCL, ONE_GPU),
    'supcon/supcon_resnet50_1xb256-coslr-100e':
    ('supcon/supcon_resnet50_8xb128-coslr-350e', f'{ONE_GPU}; optimizer.lr=0.125; runner.max_epochs=100'),
})
DINOV2 = 'dinov2/dinov2_vit-large-p16_32xb64-mcrop-2-8-coslr-200e'
TABLE.update({
    'dinov2/dinov2_vit-large-p16_32xb64-mcrop-2-8-gram-coslr-80e':
    (DINOV2, f"load_from='work_dirs/{DINOV2.partition('/')[2]}_in1k/latest.pth'; model.base_momentum=0.999; "
     'model.head.teacher_temp=0.07; model.head.patch_teacher_temp=0.07; model.gram.weight=2.0; '
     'model.gram.interval=10000; model.gram.updates=3; optimizer.lr=0.0005657; lr_config.warmup_iters=1; '
     'custom_hooks.0.end_momentum=0.999; runner.max_epochs=80'),
    'dinov2/dinov2_vit-small-p16_1xb128-mcrop-2-8-coslr-100e':
    (DINOV2, "model.base_momentum=0.998; model.backbone.arch='deit-small'; "
     'model.backbone.layer_cfgs.drop_path_rate=0.1; model.backbone.drop_path_subset=False; '
     'model.neck.out_channels=16384; data.samples_per_gpu=128; '
     "optimizer.lr=0.001; lr_config.warmup_iters=10; optimizer_config.frozen_layers_cfg.last_layer='1 epoch'; "
     "custom_hooks.1.epochs=30; custom_hooks.2.epochs=30; runner.max_epochs=100; amp.dtype='bfloat16'"),
})


def path_of(name):
    """File of a recipe of ImageNet."""
    return SELFSUP / f'{name}{"" if "_in1k" in name else "_in1k"}.py'


VARIANTS = [path_of(name) for name in TABLE]


def flatten(tree, prefix=''):
    """Nested dicts and lists of dicts to one dict with dotted keys; steps that RandomAppliedTrans holds in any case
    (p = 1) stand in its place."""
    if isinstance(tree, (list, tuple)) and tree and isinstance(tree[0], (dict, list)):
        steps = []
        for step in tree:
            always = isinstance(step, dict) and step.get('type') == 'RandomAppliedTrans' and step['p'] == 1
            steps.extend(step['transforms'] if always else [step])
        tree = dict(enumerate(steps))
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree}
    return {key: value for name, part in tree.items() for key, value in flatten(part, f'{prefix}{name}.').items()}


def figures_of(path):
    cfg = mmcv.Config.fromfile(str(path))
    return flatten({
        key: cfg[key]
        for key in cfg if not key.endswith('pipeline') and key not in ('color', 'large', 'small', 'auto_scale_lr')
    })


@pytest.mark.parametrize('name', TABLE)
def test_figures_that_differ(name):
    """A fault of VISSL: overlays without effect. Each figure that differs is meant to, and no other one does."""
    main, changes = TABLE[name]
    main, variant = figures_of(path_of(main)), figures_of(path_of(name))
    expected = {}
    for item in changes.split('; '):
        key, _, value = item.partition('=')
        try:
            expected[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            expected[key] = value
    found = {key: value for key, value in variant.items() if key not in main or main[key] != value}
    # small crops that the other recipe has not are changed in colour as the large ones
    for key in [key for key in found if key not in main and '.pipelines.1.' in key and key not in expected]:
        assert found.pop(key) == variant[key.replace('.pipelines.1.', '.pipelines.0.')]
    assert found == expected
    # what is gone belongs to a network or a schedule that another one has replaced, or to crops that are not made
    gone = {key.rpartition('.')[0] for key in main.keys() - variant.keys()}
    replaced = ('model.backbone', 'model.neck', 'lr_config', 'data.train.pipelines.1', 'custom_hooks',
                'optimizer_config.frozen_layers_cfg')
    assert all(part.startswith(replaced) for part in gone)


@pytest.mark.long
@pytest.mark.parametrize('name', [name for name in TABLE if not name.startswith(('seed', 'simreg'))])
def test_networks_fit_heads_and_crops(name, monkeypatch):
    """The loss of two images of the recipe's sizes, on the meta device, which has shapes and no numbers."""
    from mmssl.models import build_algorithm
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: contextlib.nullcontext())  # it knows no such device
    cfg = mmcv.Config.fromfile(str(path_of(name)))
    train = cfg.data.train
    with torch.device('meta'):
        model = build_algorithm(cfg.model)
        model.fit_to_data(samples=1281167, views=train.num_views)
        img = [
            torch.empty(2, 3, pipeline[0]['size'], pipeline[0]['size'])
            for number, pipeline in zip(train.num_views, train.pipelines) for _ in range(number)
        ]
        labels = dict(label=torch.zeros(2, dtype=torch.long)) if train.get('with_label') else {}
        out = model(img, **labels)
    assert all(out[name].shape == () for name in model.loss_names)
    # lengths of prototypes and positions may be fixed
    followers = (*model.momentum_parts, 'gram_teacher', 'neck.last_layer.weight_g', 'backbone.pos_embed')
    assert all(p.requires_grad for name, p in model.named_parameters() if not name.startswith(followers))


@pytest.mark.parametrize('name, start, peak, end', [
    (SIMCLR, 0.6, 4.8, 0.),
    ('simclr/vissl-simclr_resnet50_32xb128-coslr-300e', 0.6, 4.8, 0.),
    (SWAV, 0.3, 4.8, 0.0048),
    ('swav/vissl-swav_resnet50_4xb64-mcrop-2-6-coslr-400e_in1k-224-96', 0.6, 0.6, 0.0006),
    ('swav/vissl-swav_resnet50-w4_64xb40-mcrop-2-4-coslr-400e_in1k-224-96', 0.3, 3., 0.003),
    ('swav/vissl-swav_resnet50-w5_128xb12-mcrop-2-4-coslr-400e_in1k-224-96', 0.3, 1.8, 0.0018),
    ('barlowtwins/vissl-barlowtwins_resnet50_32xb64-coslr-1000e', 0., 1.6, 0.016),
    (SIMCLR_VIT, 0., 0.0015, 0.),
    ('simclr/vissl-simclr_vit-large-p16_32xb16-coslr-300e', 0., 0.000375, 0.),
    ('mocov2/vissl-mocov2_vit-base-p16_32xb128-coslr-300e', 0., 0.0005, 0.),
    ('swav/vissl-swav_deit-base-p16_16xb16-2crops-coslr-300e', 0.000125, 0.00025, 5e-7),
])
def test_rates_are_those_that_the_head_of_the_recipe_says(name, start, peak, end):
    """Faults of VISSL: a warm-up that vanishes or begins elsewhere, and a cosine that never reaches the peak."""
    from mmssl.core.builder import HOOKS
    cfg = mmcv.Config.fromfile(str(path_of(name)))
    schedule, epochs, length = dict(cfg.lr_config), cfg.runner.max_epochs, 100
    hook = HOOKS.build(dict(schedule, type=schedule.pop('policy') + 'LrUpdaterHook'))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.optimizer.lr)
    runner = types.SimpleNamespace(
        optimizer=optimizer, max_epochs=epochs, max_iters=epochs * length, epoch=0, data_loader=range(length))
    hook.before_run(runner)
    rates = []
    for runner.iter in range(runner.max_iters):
        runner.epoch = runner.iter // length
        if runner.iter % length == 0:
            hook.before_train_epoch(runner)
        hook.before_train_iter(runner)
        rates.append(optimizer.param_groups[0]['lr'])
    # ten epochs, a tenth of the training of the vision transformers, a twentieth of that of SwAV's
    warmup = (15 if '_deit' in name else 30 if '_vit' in name else 10) * length if schedule.get('warmup') else 0
    small = 1.1e-4 * peak  # a warm-up from 0 begins at a ten-thousandth
    assert rates[0] == pytest.approx(start, abs=small) and rates[-1] == pytest.approx(end, abs=2e-6 * peak)
    assert rates[warmup] == max(rates) == pytest.approx(peak)
    step = (peak - start) / max(warmup, 1)
    assert rates[:warmup] == pytest.approx([start + step * i for i in range(warmup)], abs=small)
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)

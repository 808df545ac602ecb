"""The recipes: their figures are the published ones, and each trains."""
import ast
from pathlib import Path

import mmcv
import pytest
import torch

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
    simsiam='type=SimSiam; ' + RESNET50 + 'backbone.norm_cfg.type=SyncBN; backbone.zero_init_residual=True; '
    'neck.type=NonLinearNeck; neck.in_channels=2048; neck.hid_channels=2048; neck.out_channels=2048; '
    'neck.num_layers=3; neck.with_last_bn_affine=False; neck.with_avg_pool=True; head.type=LatentPredictHead; '
    'head.predictor.type=NonLinearNeck; head.predictor.in_channels=2048; head.predictor.hid_channels=512; '
    'head.predictor.out_channels=2048; head.predictor.with_avg_pool=False; head.predictor.with_last_bn=False; '
    'head.predictor.with_last_bias=True')

JITTER = 'RandomAppliedTrans(ColorJitter(brightness={0}, contrast={0}, saturation={1}, hue={2}), p=0.8)'
BLUR = 'RandomGrayscale(p=0.2) > GaussianBlur(sigma_min=0.1, sigma_max=2.0, p={})'
BYOL_VIEW = ('RandomResizedCrop(size=224, interpolation=3) > RandomHorizontalFlip() > ' + JITTER.format(0.4, 0.2, 0.1) +
             ' > ' + BLUR + ' > Solarization(p={})')
MOCOV2_VIEW = ('RandomResizedCrop(size=224, scale=(0.2, 1.0)) > ' + JITTER.format(0.4, 0.4, 0.1) + ' > ' +
               BLUR.format(0.5) + ' > RandomHorizontalFlip()')
VIEWS = dict(
    mocov1=([2], 'RandomResizedCrop(size=224, scale=(0.2, 1.0)) > RandomGrayscale(p=0.2) > ColorJitter(brightness=0.4, '
            'contrast=0.4, saturation=0.4, hue=0.4) > RandomHorizontalFlip()'),
    mocov2=([2], MOCOV2_VIEW),
    simclr=([2], 'RandomResizedCrop(size=224) > RandomHorizontalFlip() > ' + JITTER.format(0.8, 0.8, 0.2) + ' > ' +
            BLUR.format(0.5)),
    byol=([1, 1], BYOL_VIEW.format(1.0, 0.0) + ' || ' + BYOL_VIEW.format(0.1, 0.2)),
    simsiam=([2], MOCOV2_VIEW))

SGD = 'type=SGD; lr=0.03; weight_decay=0.0001; momentum=0.9'
LARS = (r'type=LARS; lr={}; weight_decay=1e-06; momentum=0.9; paramwise_options.(bn|gn)(\d+)?.(weight|bias).'
        r'weight_decay=0.0; paramwise_options.(bn|gn)(\d+)?.(weight|bias).lars_exclude=True; '
        'paramwise_options.bias.weight_decay=0.0; paramwise_options.bias.lars_exclude=True')
COSINE = 'policy=CosineAnnealing; min_lr=0.0'
WARM_COSINE = COSINE + '; warmup=linear; warmup_iters=10; warmup_ratio=0.0001; warmup_by_epoch=True'
SIMSIAM = 'type=SGD; lr=0.05; weight_decay=0.0001; momentum=0.9; paramwise_options.predictor.fix_lr=True'
SIMSIAM_HOOK = dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.05)

# recipe: samples per GPU, epochs, optimizer, learning rate policy, other settings (absent ones by default)
TABLE = {
    'mocov1/mocov1_resnet50_8xb32-steplr-200e': (32, 200, SGD, 'policy=step; step=[120, 160]', {}),
    'mocov1/mocov1_resnet50_8xb32-fp16-steplr-200e': (32, 200, SGD, 'policy=step; step=[120, 160]', dict(fp16=512.)),
    'mocov2/mocov2_resnet50_8xb32-coslr-200e': (32, 200, SGD, COSINE, {}),
    'mocov2/mocov2_resnet50_8xb32-coslr-800e': (32, 800, SGD, COSINE, {}),
    'simclr/simclr_resnet50_16xb256-coslr-200e': (256, 200, LARS.format(4.8), WARM_COSINE, {}),
    'simclr/simclr_resnet50_8xb32-coslr-200e': (32, 200, LARS.format(0.3), WARM_COSINE, {}),
    'simclr/simclr_resnet50_8xb64-coslr-200e': (64, 200, LARS.format(0.6), WARM_COSINE, {}),
    'byol/byol_resnet50_16xb256-coslr-200e': (256, 200, LARS.format(4.8), WARM_COSINE, dict(update_interval=1)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-100e':
    (256, 100, LARS.format(7.2), WARM_COSINE, dict(update_interval=2, fp16=512.)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-200e':
    (256, 200, LARS.format(4.8), WARM_COSINE, dict(update_interval=2, fp16=512.)),
    'byol/byol_resnet50_8xb256-fp16-accum2-coslr-300e': (256, 300, LARS.format(4.8), WARM_COSINE,
                                                         dict(update_interval=2, fp16=512.)),
    'byol/byol_resnet50_8xb32-accum16-coslr-100e': (32, 100, LARS.format(7.2), WARM_COSINE, dict(update_interval=16)),
    'byol/byol_resnet50_8xb32-accum16-coslr-200e': (32, 200, LARS.format(4.8), WARM_COSINE, dict(update_interval=16)),
    'byol/byol_resnet50_8xb32-accum16-coslr-300e': (32, 300, LARS.format(4.8), WARM_COSINE, dict(update_interval=16)),
    'simsiam/simsiam_resnet50_8xb32-coslr-100e': (32, 100, SIMSIAM, COSINE, dict(hook=SIMSIAM_HOOK)),
    'simsiam/simsiam_resnet50_8xb32-coslr-200e': (32, 200, SIMSIAM, COSINE, dict(hook=SIMSIAM_HOOK)),
}


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


def write_pipeline(steps):
    """A pipeline in the notation of the table."""
    written = []
    for step in steps:
        args = {key: value for key, value in step.items() if key not in ('type', 'transforms')}
        inner = [write_pipeline(step['transforms'])] if 'transforms' in step else []
        written.append(f'{step["type"]}({", ".join(inner + [f"{k}={v}" for k, v in args.items()])})')
    return ' > '.join(written)


def test_the_table_has_every_recipe_of_imagenet():
    names = {str(path.relative_to(ROOT / 'configs' / 'selfsup')) for path in RECIPES}
    assert {f'{name}_in1k.py' for name in TABLE} == {name for name in names if name.endswith('_in1k.py')}


@pytest.mark.parametrize('name', TABLE)
def test_figures_are_the_published_ones(name):
    """Pitfalls: a transform's probability silently dropped; MoCo v2's crop scale is 0.2, not 0.08."""
    samples, epochs, optimizer, policy, other = TABLE[name]
    cfg = mmcv.Config.fromfile(str(ROOT / 'configs' / 'selfsup' / f'{name}_in1k.py'))
    algorithm = name.split('/')[0]
    assert flatten(cfg.model) == read_figures(MODELS[algorithm])
    assert flatten(cfg.optimizer) == read_figures(optimizer)
    assert flatten(cfg.lr_config) == read_figures(policy)
    assert dict(cfg.runner) == dict(type='EpochBasedRunner', max_epochs=epochs)
    num_views, views = VIEWS[algorithm]
    assert cfg.data.samples_per_gpu == samples and cfg.data.drop_last
    assert cfg.data.train.data_source == dict(
        type='ImageNet', data_prefix='data/imagenet/train', ann_file='data/imagenet/meta/train.txt')
    assert cfg.data.train.num_views == num_views
    assert ' || '.join(map(write_pipeline, cfg.data.train.pipelines)) == views
    # the place of ToTensor and Normalize at the end of each pipeline
    assert cfg.prefetch is True and cfg.data.train.prefetch is True
    assert cfg.img_norm_cfg == dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    hooks = [other['hook']] if 'hook' in other else []
    if 'update_interval' in other:
        hooks = [dict(type='MomentumUpdateHook', end_momentum=1., update_interval=other['update_interval'])]
    assert cfg.get('custom_hooks', []) == hooks
    assert cfg.optimizer_config.get('update_interval') == other.get('update_interval')
    assert cfg.get('fp16') == (dict(loss_scale=other['fp16']) if 'fp16' in other else None)
    assert cfg.checkpoint_config == dict(interval=10, max_keep_ckpts=3)


def levels(path):
    """How many files stand one on the other."""
    bases = [
        n.value for n in ast.parse(path.read_text()).body if getattr(n, 'targets', None) and n.targets[0].id == '_base_'
    ]
    bases = ast.literal_eval(bases[0]) if bases else []
    return 1 + max((levels(path.parent / base) for base in ([bases] if isinstance(bases, str) else bases)), default=0)


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_three_levels_at_most(path):
    assert 2 <= levels(path) <= 3
    # the head of a recipe says how it is run, on what, and what is known of its results
    head = ast.get_docstring(ast.parse(path.read_text()))
    assert str(path.relative_to(ROOT)) in head
    assert all(f'\n{word}: ' in head for word in ('Command', 'Hardware', 'Known'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_two_iterations(path, photo_folder, tmp_path):
    """Each recipe trains on images of a folder, with its own hooks, optimizer and precision, on this machine."""
    from mmssl.apis import set_random_seed, train_model
    from mmssl.datasets import build_dataset
    from mmssl.models import build_algorithm
    from mmssl.utils.config import load_config
    cfg = load_config(str(path), {'data.train.data_source.data_prefix': str(photo_folder), **SMALL})
    cfg.work_dir = str(tmp_path)
    if cfg.data.train.data_source.type == 'ImageNet':
        cfg.data.train.data_source.ann_file = None  # the class folders give the labels
    for pipeline in cfg.data.train.pipelines:
        pipeline[0].size = 32
    for part, channels in (('neck', 64), ('head.predictor', None)):
        shrink(cfg.model, part, channels)
    if cfg.model.type == 'MoCo':
        cfg.model.queue_len = 48
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    before = {name: value.clone() for name, value in model.backbone.named_parameters()}
    runner = train_model(model, build_dataset(cfg.data.train), cfg)
    assert runner.iter == 2
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert all(not torch.equal(value, before[name]) for name, value in model.backbone.named_parameters())
    groups = {g['weight_decay'] for g in runner.optimizer.param_groups}
    assert groups == ({0., cfg.optimizer.weight_decay}
                      if cfg.optimizer.type == 'LARS' else {cfg.optimizer.weight_decay})
    if cfg.model.type == 'MoCo':
        assert int(model.queue_ptr) == 24  # the keys of two batches of 12


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


# 24 photographs make two batches
SMALL = {
    'data.samples_per_gpu': 12,
    'data.workers_per_gpu': 0,
    'runner.max_epochs': 1,
    'checkpoint_config': None,
    'model.backbone.depth': 18,
    'model.backbone.stem_channels': 8,
    'model.backbone.base_channels': 8,
    'seed': 0,
}


def shrink(model, part, in_channels):
    """Make a projector or predictor of a config small, and fit for what comes before."""
    for key in part.split('.'):
        model = model.get(key, {})
    if 'hid_channels' in model:
        model.hid_channels = 32
    if 'in_channels' in model and in_channels:
        model.in_channels = in_channels

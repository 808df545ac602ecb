"""The benchmark recipes of convolutional networks: their figures are the published ones, and their models build."""
from pathlib import Path

import pytest
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl.models import build_algorithm
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[1] / 'configs/benchmarks/classification'
SINGLE = dict(out_indices=[4], head='ClsHead')
MULTI = dict(out_indices=[0, 1, 2, 3, 4], head='MultiClsHead', frozen=4)
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


PATHS = sorted(path for path in ROOT.glob('**/*.py') if '_base_' not in path.parts)


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

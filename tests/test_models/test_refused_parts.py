"""Parts and numbers that do not fit, each refused in one line that says what would be right."""
import copy

import pytest
import tiny
import torch

from mmssl.core.hooks import MomentumUpdateHook
from mmssl.models import build_algorithm
from mmssl.models.algorithms.base import large_first
from mmssl.utils.errors import ConfigError

CONFIGS = tiny.CONFIGS
HALF = dict(mean=[0.5] * 3, std=[0.5] * 3)


def refusal(name, message, batch=None, **changes):
    """Build a tiny model with changes such as neck__channels, train on a batch, and look at the error."""
    cfg = copy.deepcopy(CONFIGS[name])
    for path, value in changes.items():
        *outer, last = path.split('__')
        part = cfg
        for key in outer:
            part = part[key]
        part[last] = value
    with pytest.raises(ConfigError, match=message) as caught:
        model = build_algorithm(cfg)
        tiny.PREPARE.get(name, lambda model: None)(model)
        model.train_step(tiny.batch(name, 4) if batch is None else batch)
    assert 'Error' not in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('name, message, changes', [
    ('IBOT', 'DINONeck takes no patches', dict(neck=CONFIGS['DINO']['neck'])),
    ('IBOT', 'IBOT takes the head IBOTHead', dict(head=CONFIGS['DINO']['head'])),
    ('IBOT', 'set vit_backbone=True', dict(neck__vit_backbone=False)),
    ('DINO', 'set vit_backbone=False', dict(neck__vit_backbone=True)),
    ('IBOT', 'takes 0 channels and gets 10', dict(head__patch_channels=0)),
    ('DINOv2', 'DINONeck takes no patches', dict(patch_neck=None, head__patch_channels=12)),
    ('DINOv2', 'leave out its vit_backbone', dict(patch_neck__vit_backbone=True)),
    ('DINOv2', 'leave out model.neck.patch_channels', dict(neck=CONFIGS['IBOT']['neck'])),
    ('DINOv2', 'rope takes no head_dim, .*got 8', dict(backbone__rope=dict(head_dim=8))),
    ('DINOv2', 'rescale at least 1 or None, got base=100.0, rescale=inf', dict(backbone__rope=dict(rescale=1e999))),
    ('DINOv2', 'must be float, got nan', dict(koleo_weight=float('nan'))),
    ('DINOv2', 'drop_path_rate is a probability .*got 1.0', dict(backbone__drop_path_rate=1.)),
    ('IJEPA', 'set use_window=False', dict(backbone__use_window=True)),
    ('IJEPA', 'MAEPretrainDecoder does not', dict(neck=CONFIGS['MAE']['neck'])),
    ('IJEPA', 'num_layers is an integer of at least 1, got 0', dict(neck__num_layers=0)),
    ('IJEPA', 'multiple of 4 .*got embed_dims=6', dict(neck__embed_dims=6)),
    ('IJEPA', 'patch_size is an integer of at least 1, got 0', dict(backbone__patch_size=0)),
    ('IJEPA', r'img_size is .*got \[32\]', dict(backbone__img_size=[32])),
    ('MSN', 'set use_window=False', dict(backbone__use_window=True)),
    ('MSN', 'got MAEViT', dict(backbone=CONFIGS['MAE']['backbone'])),
    ('MSN', 'got CAEViT', dict(backbone=CONFIGS['CAE']['backbone'])),
    ('MSN', 'from 0 to below 1, got 1.0', dict(mask_ratio=1.)),
    ('MoCo', 'set model.feat_dim=16', dict(feat_dim=5)),
    ('ReSSL', 'set model.feat_dim=16', dict(feat_dim=5)),
    ('SEED', "FrozenTeacher takes no argument 'chekpoint'", dict(teacher__chekpoint='a.pth')),
    ('SEED', "StoredTeacher takes no argument 'backbone'", dict(teacher__features='a')),
    ('SEED', 'std above 0', dict(teacher__img_norm_cfg=dict(HALF, std=[0.] * 3), teacher__data_norm_cfg=HALF)),
    ('SEED', 'scale 0 to 1', dict(teacher__img_norm_cfg=HALF, teacher__data_norm_cfg=dict(HALF, mean=[127.] * 3))),
    ('SEED', 'img_norm_cfg has a mean', dict(teacher__img_norm_cfg=dict(mean=[0.5] * 3), teacher__data_norm_cfg=HALF)),
    ('SEED', 'each channel', dict(teacher__img_norm_cfg=dict(mean=[0.], std=[1.]), teacher__data_norm_cfg=HALF)),
    ('RelationalDistillation', 'one place, of 1 x 1', dict(teacher__backbone=tiny.BACKBONE, backbone=tiny.BACKBONE)),
])
def test_refused(name, message, changes):
    refusal(name, message, **changes)


@pytest.mark.parametrize('name', ['DINO', 'DINOv2', 'IBOT', 'LeJEPA', 'MSN'])
def test_views(name):
    batch = tiny.batch(name, 4)
    refusal(name, 'gives 1 view', dict(batch, img=batch['img'][:1]))
    refusal(name, 'gives one tensor', dict(batch, img=batch['img'][0]))
    refusal(name, 'gives 24 x 24 pixels before 32 x 32', dict(batch, img=batch['img'][::-1]))


def test_large_views_may_be_wide():
    views = [torch.zeros(1, 3, 16, 64), torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 8, 96)]
    assert large_first(views) is views


@pytest.mark.parametrize('base, end', [(2.5, 1.), (-0.1, 1.), (0.9, 1.1)])
def test_momentum(base, end):
    """It ran into an error of the moving average, with a traceback, or not at all where there was no hook."""

    class Runner:
        hooks = []
        model = tiny.build('DINO', base_momentum=base)

    with pytest.raises(ConfigError, match='0 to 1, got'):
        MomentumUpdateHook(end_momentum=end).before_run(Runner)

# Copyright (c) mmssl contributors. All rights reserved.
"""Learning rates that follow the batch: every policy, every place where a rate stands, and resumes."""
import logging
import re
from pathlib import Path

import pytest
import test_short_trainings as short
import torch
from mmcv import Config
from mmcv.runner.hooks import Hook
from test_schedules import fake_runner, run

from mmssl.apis import set_random_seed, train_model
from mmssl.core.builder import HOOKS
from mmssl.core.lr_scaling import global_batch, scale_rates
from mmssl.core.runner import _updater
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

WARM_UP = dict(warmup='linear', warmup_iters=6, warmup_ratio=.1)
CHAIN = [
    dict(type='linear', start=.6, end=4.8, epochs=1),
    dict(type='cosine', start=4.8, end=.0048, epochs=1),
    dict(type='linear', start=.0048, end=2.114, epochs=1),
    dict(type='step', values=[2.114, .3, .2, 1.])
]
FACTORS = [dict(type='linear', start=.1, end=1., epochs=1), dict(type='inverse_sqrt', start=1.)]
POLICIES = dict(
    fixed=dict(policy='Fixed', **WARM_UP),
    step=dict(policy='step', step=[1, 3], min_lr=.1, **WARM_UP),
    exp=dict(policy='Exp', gamma=.9),
    poly=dict(policy='poly', power=2., min_lr=.03, by_epoch=False),
    inv=dict(policy='inv', gamma=.1),
    cosine=dict(policy='CosineAnnealing', min_lr=.02, by_epoch=False, **WARM_UP),
    cosine_ratio=dict(policy='CosineAnnealing', min_lr_ratio=.02),
    flat=dict(policy='FlatCosineAnnealing', min_lr=.02),
    restart=dict(policy='CosineRestart', periods=[2, 2], restart_weights=[1, .5], min_lr=.1),
    cyclic=dict(policy='cyclic', target_ratio=(10., 1e-4)),
    one_cycle=dict(policy='OneCycle', max_lr=3.),
    linear=dict(policy='LinearAnnealing', min_lr=.1),
    step_fix=dict(policy='StepFixCosineAnnealing', min_lr=.1, by_epoch=False, **WARM_UP),
    chain=dict(policy='Composite', parts=CHAIN),
    factors=dict(policy='Composite', parts=FACTORS, relative=True),
)


def config(**rest):
    return Config(
        dict(
            data=dict(samples_per_gpu=32),
            optimizer=dict(type='SGD', lr=2., weight_decay=.1),
            auto_scale_lr=dict(base_batch_size=256),
            **rest))


def rates(cfg):
    """Rates of two groups, the second with a tenth of the first's, in each iteration of a short training."""
    arguments = dict(cfg.lr_config)
    kind = _updater(arguments.pop('policy'), 'LrUpdaterHook')
    return torch.tensor([[lr for lr, _ in groups]
                         for groups in run(HOOKS.build(dict(type=kind, **arguments)), fake_runner(lr=cfg.optimizer.lr))
                         ])


@pytest.mark.parametrize('policy', POLICIES)
def test_every_policy(policy):
    """All rates of the whole training, warm-ups, ends and lists of values included, are multiplied by one number."""
    cfg = config(lr_config=POLICIES[policy])
    before = rates(cfg)
    assert torch.equal(rates(scale_rates(cfg, 256)), before)
    torch.testing.assert_close(rates(scale_rates(cfg, 64)), before / 4)  # one machine has its warm-up as well
    cfg.auto_scale_lr.rule = 'sqrt'
    torch.testing.assert_close(rates(scale_rates(cfg, 4096)), before * 4)
    assert torch.equal(rates(cfg), before)  # the config stays


def test_every_place():
    cfg = config(
        lr_config=dict(POLICIES['cosine'], schedules=dict(head=POLICIES['chain'])),
        momentum_config=dict(policy='step', step=[1]),
        custom_hooks=[
            dict(type='SimSiamHook', fix_pred_lr=True, lr=.05),
            dict(type='ScheduleHook', target='optimizer.lr', start=1., end=.1),
            dict(type='ScheduleHook', target='optimizer.weight_decay', start=.04, end=.4),
            dict(type='MomentumUpdateHook', end_momentum=1.),
        ])
    cfg.optimizer.paramwise_options = {'head': dict(lr=.4, weight_decay=.3), 'bias': dict(lr_mult=2.), 'x': dict()}
    cfg.optimizer.paramwise_options['flat_decay_mult'] = 0.
    scaled = scale_rates(cfg, 512).to_dict()
    expected = cfg.to_dict()
    expected['optimizer'].update(lr=4.)
    expected['optimizer']['paramwise_options']['head']['lr'] = .8
    expected['lr_config']['min_lr'] = .04
    for part in expected['lr_config']['schedules']['head']['parts']:
        for name in ('start', 'end'):
            if name in part:
                part[name] *= 2
        if 'values' in part:
            part['values'] = [2 * v for v in part['values']]
    expected['custom_hooks'][0]['lr'] = .1
    expected['custom_hooks'][1].update(start=2., end=.2)
    assert scaled == expected


def test_words(caplog):
    logger = logging.getLogger('scaling')
    cfg = config()
    cfg.optimizer_config = dict(update_interval=4)
    assert global_batch(cfg, 8) == 32 * 8 * 4
    with caplog.at_level(logging.INFO):
        assert scale_rates(cfg, 256, None, logger) is cfg and not caplog.records
        model = torch.nn.Module()
        model.queue_len, model.momentum_parts = 65536, ('encoder_k', )
        scale_rates(cfg, 128, model, logger)
        assert 'multiplied by 0.5: they are for a batch of 256, a step of this training has 128' in caplog.messages[0]
        assert 'scaled rates work poorly' in caplog.messages[1]
        cfg.auto_scale_lr.enable = False
        assert scale_rates(cfg, 128, model, logger) is cfg
        assert 'are for a batch of 256, a step of this training has 128 images: --auto-scale-lr' in caplog.messages[2]
    for section in (dict(), dict(base_batch_size=0), dict(base_batch_size=256, rule='square')):
        cfg.auto_scale_lr = dict(enable=True, **section)
        with pytest.raises(ConfigError, match='auto_scale_lr'):
            scale_rates(cfg, 128)


def test_recipes_tell_their_batch():
    root = Path(__file__).resolve().parents[2] / 'configs'
    recipes = [f for f in root.rglob('*.py') if re.search(r'\d+xb\d+', f.name) and '_base_' not in f.parts]
    assert len(recipes) > 200
    for recipe in recipes:
        cfg = load_config(recipe)
        processes = int(re.search(r'(\d+)xb\d+', recipe.name)[1])
        assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=global_batch(cfg, processes)), recipe


class Rates(Hook):

    def before_train_iter(self, runner):
        self.__dict__.setdefault('seen', []).append([group['lr'] for group in runner.optimizer.param_groups])


def test_resume_with_another_batch(tmp_path, warnings_of_data):
    """As with another number of processes: the rates are those of the new batch, from the resume on."""
    cfg = Config(
        dict(
            model=dict(
                type='SimCLR',
                backbone=short.BACKBONE,
                neck=dict(type='LinearNeck', in_channels=32, out_channels=8),
                head=dict(type='ContrastiveHead')),
            data=dict(
                samples_per_gpu=40,
                workers_per_gpu=0,
                train=dict(
                    type='MultiViewDataset',
                    data_source=dict(type='Digits', num_images=120),
                    num_views=[2],
                    pipelines=[short.CROP],
                    prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer=dict(type='SGD', lr=.2, paramwise_options=dict(neck=dict(lr=.1))),
            auto_scale_lr=dict(base_batch_size=80),
            lr_config=dict(policy='CosineAnnealing', min_lr=.02, by_epoch=False),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=1, hooks=[]),
            custom_hooks=[dict(type=Rates)],
            seed=1,
            work_dir=str(tmp_path)))

    def train():
        set_random_seed(1)
        model = build_algorithm(cfg.model)
        model.init_weights()
        runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
        return torch.tensor(next(hook for hook in runner.hooks if isinstance(hook, Rates)).seen)

    def expected(iterations, factor):
        share = (1 + torch.cos(torch.pi * torch.arange(iterations) / iterations)) / 2
        return factor * torch.stack([.02 + (high - .02) * share for high in (.2, .1)], 1)

    torch.testing.assert_close(train().sort(1, descending=True)[0], expected(6, .5))
    cfg.data.samples_per_gpu = 20
    cfg.resume_from = str(tmp_path / 'epoch_1.pth')
    warnings_of_data.clear()
    torch.testing.assert_close(train().sort(1, descending=True)[0], expected(12, .25)[6:])
    assert any('multiplied by 0.25' in message for message in warnings_of_data)
    assert any('changed settings' in message and 'lr: 0.1 -> 0.05' in message for message in warnings_of_data)

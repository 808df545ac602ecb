# Copyright (c) mmssl contributors. All rights reserved.
"""A loss that stays at ln K is said in the log, once, with what helps."""
import math
import types

import pytest
import torch
from mmcv import Config

from mmssl.apis import train_model
from mmssl.core.hooks import UniformScoresHook
from mmssl.datasets import build_dataset
from mmssl.models import ClsHead, ContrastiveHead, DINOHead, LatentPredictHead, build_algorithm

LN = math.log(12)


def watch(values, warnings, iters=1000, head=None, **settings):
    """Give a hook these losses and entropies of DINO with 12 prototypes, one after the other."""
    hook = UniformScoresHook(**settings)
    runner = types.SimpleNamespace(
        model=types.SimpleNamespace(head=head or DINOHead(12)),
        max_iters=iters,
        logger=types.SimpleNamespace(warning=warnings.append))
    for runner.iter, (loss, entropy) in enumerate(values):
        runner.outputs = dict(log_vars=dict(loss=torch.tensor(loss), teacher_entropy=torch.tensor(entropy)))
        hook.after_train_iter(runner)


def test_what_is_said():
    said = []
    watch([(LN, 0.995 * LN)] * 9, said, interval=1, start=2)
    assert len(said) == 1
    assert 'loss 2.485 and teacher_entropy 2.472 stay at ln K = 2.485' in said[0] and 'iteration 5:' in said[0]
    assert 'lower head.teacher_temp (now 0.04)' in said[0] and 'learning rate' in said[0]


def test_other_losses():
    """A positive among so many keys, classes, and cosines, each in its own words."""
    contrast = ContrastiveHead(0.5)
    contrast(torch.rand(4, 1), torch.rand(4, 11))
    near = LatentPredictHead(dict(type='NonLinearNeck', in_channels=4, hid_channels=4, out_channels=4))
    for head, value, words in ((contrast, LN, 'stays at ln N = 2.485, N the number of keys'),
                               (contrast, LN, 'lower head.temperature (now 0.5)'),
                               (ClsHead(in_channels=4, num_classes=12), LN, 'ln K = 2.485, K the number of classes'),
                               (near, -0.005, 'stays at 0, the cosine of vectors')):
        said = []
        watch([(value, 0.)] * 9, said, head=head, interval=1, start=2)
        assert len(said) == 1 and words in said[0]
        watch([(value - 0.1, 0.)] * 9, said, head=head, interval=1, start=2)
        assert len(said) == 1


@pytest.mark.parametrize('values', [
    [(LN, LN), (LN, LN), (LN - 0.1, LN)] * 5,
    [(0.3, LN)] * 20,
    [(LN, 0.3)] * 20,
])
def test_what_is_not(values):
    """One of the two elsewhere, or both at times."""
    said = []
    watch(values, said, interval=1, start=0)
    assert not said


@pytest.mark.parametrize('iters, first', [(1000, 102), (10**6, 5002)])
def test_a_training_may_begin_there(iters, first):
    for length, expected in ((first, 0), (first + 1, 1)):
        said = []
        watch([(LN, LN)] * length, said, iters=iters, interval=1)
        assert len(said) == expected


@pytest.mark.parametrize('iters, said_at', [(10, 6), (100, 60), (250, 150), (300, 150)])
def test_short_trainings(iters, said_at):
    """Five looks are made in a short training, and the third in a row says so; from 250 iterations on every 50."""
    said = []
    watch([(LN, LN)] * iters, said, iters=iters)
    assert len(said) == 1 and f'up to iteration {said_at}:' in said[0]
    watch([(LN - 1, LN)] * iters, said, iters=iters)
    assert len(said) == 1


def train(folder, head, hooks=()):
    view = [dict(type='RandomResizedCrop', size=8, scale=(0.5, 1.))]
    cfg = Config(
        dict(
            model=dict(
                type='DINO',
                backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
                neck=dict(type='DINONeck', channels=[16, 8], out_channels=12, norm_cfg=dict(type='BN')),
                head=dict(type='DINOHead', **head),
                base_momentum=0.9),
            data=dict(
                samples_per_gpu=20,
                workers_per_gpu=0,
                drop_last=True,
                train=dict(
                    type='MultiViewDataset',
                    data_source=dict(type='Digits', color_type='grayscale', num_images=60),
                    num_views=[2],
                    pipelines=[view],
                    prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.35]),
            optimizer=dict(type='SGD', lr=0.5, momentum=0.9),
            runner=dict(type='EpochBasedRunner', max_epochs=60),
            custom_hooks=[dict(type='MomentumUpdateHook'), *hooks],
            checkpoint_config=None,
            work_dir=str(folder)))
    torch.manual_seed(1)
    model = build_algorithm(cfg.model)
    model.init_weights()
    return train_model(model, build_dataset(cfg.data.train), cfg, meta={})


@pytest.mark.long
def test_trainings(tmp_path, warnings_of_data):
    """Without sharpening the targets of all images become alike; sharpened and centred ones do not."""
    train(tmp_path / 'healthy', dict(teacher_temp=0.02))
    assert not [line for line in warnings_of_data if 'ln K' in line]
    runner = train(tmp_path / 'collapsed', dict(teacher_temp=1., student_temp=1.))
    said = [line for line in warnings_of_data if 'ln K' in line]
    assert len(said) == 1 and 'iteration 108:' in said[0] and 'head.teacher_temp (now 1)' in said[0]
    assert sum(isinstance(hook, UniformScoresHook) for hook in runner.hooks) == 1
    own = train(tmp_path / 'own', dict(teacher_temp=1., student_temp=1.), [dict(type='UniformScoresHook', start=10000)])
    assert sum(isinstance(hook, UniformScoresHook) for hook in own.hooks) == 1
    assert len([line for line in warnings_of_data if 'ln K' in line]) == 1

# Copyright (c) mmssl contributors. All rights reserved.
"""Numbers that change along the training, and gradients that are clipped one by one."""
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmssl.core.hooks import ScheduleHook
from mmssl.core.hooks.optimizer_hook import clip_gradients
from mmssl.utils.errors import ConfigError


def fake_runner(epochs=4, length=5, weight_decay=0.1):
    model = nn.Module()
    model.head = nn.Linear(2, 2)
    model.head.teacher_temp = 0.3
    groups = [
        dict(params=[model.head.weight]),
        dict(params=[model.head.bias], weight_decay=0.),
    ]
    optimizer = torch.optim.AdamW(groups, lr=1., weight_decay=weight_decay)
    return SimpleNamespace(
        model=model,
        optimizer=optimizer,
        data_loader=range(length),
        iter=0,
        max_epochs=epochs,
        max_iters=epochs * length,
        hooks=[])


def values(hook, runner, read):
    hook.before_run(runner)
    found = []
    for runner.iter in range(runner.max_iters):
        hook.before_train_iter(runner)
        found.append(read())
    return found


def test_by_iteration():
    runner = fake_runner()
    hook = ScheduleHook('head.teacher_temp', 0.2, 1.0, epochs=2)
    found = values(hook, runner, lambda: runner.model.head.teacher_temp)
    assert found == pytest.approx([min(1., 0.2 + 0.08 * i) for i in range(20)])


def test_by_epoch():
    """DINO's temperature: the values of linspace over the epochs, then the last one."""
    runner = fake_runner()
    hook = ScheduleHook('head.teacher_temp', 0.04, 0.07, epochs=3, by_epoch=True)
    found = values(hook, runner, lambda: runner.model.head.teacher_temp)
    assert found == pytest.approx([v for v in (0.04, 0.055, 0.07, 0.07) for _ in range(5)])


def test_weight_decay_leaves_groups_without_it_alone():
    runner = fake_runner()
    hook = ScheduleHook('optimizer.weight_decay', 0.04, 0.4, mode='cosine')
    decays = values(hook, runner, lambda: [group['weight_decay'] for group in runner.optimizer.param_groups])
    expected = [0.4 + (0.04 - 0.4) * (1 + math.cos(math.pi * i / 20)) / 2 for i in range(20)]
    assert [decay for decay, _ in decays] == pytest.approx(expected)
    assert all(none == 0 for _, none in decays)

    # a resumed optimizer has the value of that time, and goes on with the schedule
    resumed = fake_runner()
    resumed.optimizer.load_state_dict(runner.optimizer.state_dict())
    resumed.iter = 7
    hook.before_run(resumed)
    hook.before_train_iter(resumed)
    assert resumed.optimizer.param_groups[0]['weight_decay'] == pytest.approx(expected[7])


@pytest.mark.parametrize('arguments, message', [
    (dict(target='head.temperature'), "the model has no number 'head.temperature'"),
    (dict(target='neck.temperature'), "the model has no number 'neck.temperature'"),
    (dict(target='head.weight'), "the model has no number 'head.weight'"),
    (dict(target='optimizer.decay'), "the optimizer has no 'decay'"),
])
def test_no_such_number(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ScheduleHook(**arguments, start=0, end=1).before_run(fake_runner())
    with pytest.raises(ConfigError, match="the optimizer has no 'weight_decay' that is a number other than 0"):
        ScheduleHook('optimizer.weight_decay', 0.1, 1).before_run(fake_runner(weight_decay=0.))


@pytest.mark.parametrize('per', ['tensor', 'part', 'model'])
def test_clipping(per):
    """Pitfall: a norm of all gradients, where DINO has one for each."""
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(backbone=nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), head=nn.Linear(2, 2)))
    (100 * model['head'](model['backbone'](torch.randn(5, 3))).square().sum()).backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    norm = clip_gradients(model, 0.5, per=per)
    torch.testing.assert_close(norm, torch.cat([g.flatten() for g in grads.values()]).norm())
    for name, parameter in model.named_parameters():
        together = [
            g for other, g in grads.items()
            if per == 'model' or (other == name if per == 'tensor' else other.split('.')[0] == name.split('.')[0])
        ]
        length = torch.cat([g.flatten() for g in together]).norm()
        torch.testing.assert_close(parameter.grad, grads[name] * min(1., 0.5 / (length + 1e-6)))

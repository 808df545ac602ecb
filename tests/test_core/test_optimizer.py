"""LARS against the paper's formula, options by regular expression, schedules."""
import math
import warnings

import pytest
import torch
from torch import nn

from mmssl.core import LARS, build_optimizer
from mmssl.core.hooks import StepFixCosineAnnealingLrUpdaterHook
from mmssl.core.optimizer import lars
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import build_from_cfg


def naive_lars(params, grads_of_steps, excluded, lr, momentum, decay, dampening, eta, nesterov, eps):
    """The formula one parameter at a time in float64."""
    params = [p.double() for p in params]
    velocity = [None] * len(params)
    for grads in grads_of_steps:
        for i, (w, g) in enumerate(zip(params, grads)):
            if g is None:
                continue
            g = g.double()
            wn, gn = math.sqrt((w**2).sum()), math.sqrt((g**2).sum())
            local = 1. if excluded or wn == 0 or gn == 0 else eta * wn / (gn + decay * wn + eps)
            d = lr * local * (g + decay * w)
            if momentum:
                velocity[i] = d if velocity[i] is None else momentum * velocity[i] + (1 - dampening) * d
                d = d + momentum * velocity[i] if nesterov else velocity[i]
            params[i] = w - d
    return params


@pytest.mark.parametrize('options', [
    dict(momentum=0.9, weight_decay=1e-2),
    dict(momentum=0.9, weight_decay=1e-2, lars_exclude=True),
    dict(momentum=0.9, dampening=0.3),
    dict(momentum=0.9, weight_decay=1e-3, nesterov=True, eta=0.02),
    dict(weight_decay=1e-2, eps=1e-2),
])
@pytest.mark.parametrize('one_pass', [True, False])
@pytest.mark.parametrize('channels_last', [True, False])
def test_lars_is_the_formula(options, channels_last, one_pass, monkeypatch):
    """Also for parameters that are zero, whose gradient is zero or of another layout, or comes late."""
    monkeypatch.setattr(lars, 'ONE_PASS_ON_CPU', one_pass)
    options = dict(options)
    shapes = [(4, 3), (5, ), (2, 3, 3, 3), (1, ), (3, )]
    start = [torch.randn(s) for s in shapes]
    start[1].zero_()
    steps = [[torch.randn(s) for s in shapes] for _ in range(4)]
    for grads in steps:
        grads[3].zero_()
    steps[0][4] = None
    params = [nn.Parameter(p.clone()) for p in start]
    if channels_last:  # its gradient is not
        params[2].data = params[2].data.to(memory_format=torch.channels_last)
    excluded = options.pop('lars_exclude', False)
    optimizer = LARS([dict(params=params, lars_exclude=excluded)], lr=0.5, **options)
    for grads in steps:
        for p, g in zip(params, grads):
            p.grad = g if g is None else g.clone()
        optimizer.step()
    full = {**dict(momentum=0, dampening=0, eta=1e-3, nesterov=False, eps=1e-8), **options}
    expected = naive_lars(start, steps, excluded, 0.5, full['momentum'], full.get('weight_decay', 0), full['dampening'],
                          full['eta'], full['nesterov'], full['eps'])
    for p, e in zip(params, expected):
        torch.testing.assert_close(p.double(), e, atol=2e-7, rtol=1e-6)


def test_lars_makes_no_host_sync(monkeypatch):
    """PITFALLS: two host syncs a parameter. This is what runs on a GPU."""
    monkeypatch.setattr(lars, 'ONE_PASS_ON_CPU', False)
    params = [nn.Parameter(torch.randn(3, 3)) for _ in range(3)]
    for p in params:
        p.grad = torch.randn(3, 3)
    for name in ('item', 'tolist', '__bool__', '__float__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, lambda *a: pytest.fail('a value was moved to the host'))
    LARS(params, lr=0.1, momentum=0.9, weight_decay=1e-4).step()


class Net(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01)


def groups_of(paramwise_options, **changes):
    optimizer = build_optimizer(Net(), {**SGD, **changes, 'paramwise_options': paramwise_options})
    return {name: group for group in optimizer.param_groups for name in group['names']}, optimizer


def test_options_by_regex():
    """Rows OP-03 to OP-06; equal options share one group, so that multi-tensor operations see many tensors."""
    by_name, optimizer = groups_of({
        r'(bn|gn)(\d+)?.(weight|bias)': dict(weight_decay_mult=0.1, lars_exclude=True),
        'bias': dict(weight_decay=0.),
        r'\Ahead.': dict(lr_mult=10, momentum=0.)
    })
    assert 'frozen.weight' not in by_name and len(by_name) == 8
    assert len(optimizer.param_groups) == 6 - 0
    seen = {
        n: (round(g['lr'], 9), g['momentum'], round(g['weight_decay'], 9), g.get('lars_exclude', False))
        for n, g in by_name.items()
    }
    assert seen['conv.weight'] == (0.1, 0.9, 0.01, False)
    assert seen['bn1.weight'] == (0.1, 0.9, 0.001, True)
    assert seen['bn1.bias'] == (0.1, 0.9, 0., True)  # the later expression counts
    assert seen['conv.bias'] == (0.1, 0.9, 0., False)
    assert seen['head.0.weight'] == seen['head.1.weight'] == (1., 0., 0.01, False)
    assert by_name['head.0.weight'] is by_name['head.1.weight']


def test_exclusion_works_for_any_nesting():
    """PITFALLS: exclusion of bias and norm parameters must work for any nesting."""
    model = nn.Sequential(nn.Sequential(Net()), Net())
    options = {r'(bn|gn)(\d+)?.(weight|bias)': dict(lars_exclude=True), 'bias': dict(lars_exclude=True)}
    optimizer = build_optimizer(model, dict(type='LARS', lr=1., paramwise_options=options))
    excluded = [n for g in optimizer.param_groups if g['lars_exclude'] for n in g['names']]
    assert sorted(excluded) == sorted(f'{prefix}.{n}' for prefix in ('0.0', '1')
                                      for n in ('conv.bias', 'bn1.weight', 'bn1.bias', 'head.0.bias', 'head.1.bias'))
    assert len(optimizer.param_groups) == 2


def test_unused_expression_is_named():
    with pytest.warns(UserWarning, match="'gama' is found in the name of no trainable"):
        groups_of({'gama': dict(lr_mult=2)})


@pytest.mark.parametrize('options, message', [
    ({
        'bias': dict(weight_deca=0)
    }, "unknown option 'weight_deca'; did you mean 'weight_decay'"),
    ({
        'bias': dict(dampening_mult=0)
    }, "dampening_mult needs 'dampening'"),
    ({
        'bias': 0
    }, 'is a dict of options'),
])
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message):
        groups_of(options)


def test_options_by_kind_of_layer():
    optimizer = build_optimizer(Net(), dict(SGD, paramwise_cfg=dict(norm_decay_mult=0., bias_lr_mult=2.)))
    by_name = {name: group for group in optimizer.param_groups for name in group['names']}
    assert by_name['bn1.bias']['weight_decay'] == 0 and by_name['bn1.bias'] is by_name['bn1.weight']
    assert by_name['conv.bias']['lr'] == 0.2 and by_name['conv.bias'] is by_name['head.0.bias']


@pytest.mark.parametrize('cfg', [
    dict(type='SGD', lr=0.1, momentum=0.9),
    dict(type='Adam', lr=0.1),
    dict(type='AdamW', lr=0.1, weight_decay=0.1),
    dict(type='RMSprop', lr=0.1),
    dict(type='Adagrad', lr=0.1),
])
def test_torch_optimizers_in_their_fast_form(cfg):
    """Also when the first gradient of a parameter comes late, as after frozen_layers_cfg."""
    fast, plain = Net(), Net()
    plain.load_state_dict(fast.state_dict())
    arguments = {k: v for k, v in cfg.items() if k != 'type'}
    optimizers = [
        build_optimizer(fast, cfg),
        getattr(torch.optim, cfg['type'])([p for p in plain.parameters() if p.requires_grad],
                                          foreach=False,
                                          **arguments)
    ]
    for step in range(3):
        for model, optimizer in zip((fast, plain), optimizers):
            torch.manual_seed(step)
            for i, p in enumerate(model.parameters()):
                grad = torch.randn_like(p)
                p.grad = grad if p.requires_grad and (step or i) else None
            optimizer.step()
    for a, b in zip(fast.parameters(), plain.parameters()):
        torch.testing.assert_close(a, b)


def test_unknown_argument_of_an_optimizer():
    with pytest.raises(ConfigError, match="no argument 'momentun'.*did you mean 'momentum'"):
        build_optimizer(Net(), dict(type='SGD', lr=0.1, momentun=0.9))
    with pytest.raises(ConfigError, match="optimizer.lr is a number, got 'fast'"):
        build_optimizer(Net(), dict(type='AdamW', lr='fast'))


class Progress:
    """What a schedule sees of a runner."""

    def __init__(self, max_epochs, length, optimizer):
        self.max_epochs, self.max_iters, self.optimizer = max_epochs, max_epochs * length, optimizer
        self.data_loader = [None] * length
        self.iter = self.epoch = 0


def rates(hook, max_epochs=10, length=5):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 2.)
    runner, found = Progress(max_epochs, length, optimizer), []
    hook.before_run(runner)
    for runner.epoch in range(max_epochs):
        hook.before_train_epoch(runner)
        for _ in range(length):
            hook.before_train_iter(runner)
            found.append(optimizer.param_groups[0]['lr'])
            runner.iter += 1
    return found


def test_step_fix_cosine():
    """PITFALLS: warm-up off by one. The warm-up ends at the base rate and the cosine begins there."""
    hook = StepFixCosineAnnealingLrUpdaterHook(
        min_lr=0.2, by_epoch=False, warmup='linear', warmup_iters=2, warmup_ratio=0.1, warmup_by_epoch=True)
    found = rates(hook)
    for i in range(10):
        assert found[i] == pytest.approx(2. * (0.1 + 0.9 * i / 10))
    for i in range(10, 50):
        assert found[i] == pytest.approx(0.2 + 1.8 * (1 + math.cos(math.pi * (i - 10) / 40)) / 2)


def test_step_fix_cosine_by_epoch():
    hook = StepFixCosineAnnealingLrUpdaterHook(
        min_lr_ratio=0., warmup='linear', warmup_iters=2, warmup_ratio=0.1, warmup_by_epoch=True)
    found = rates(hook)
    assert found[3] == pytest.approx(2. * (0.1 + 0.9 * 0.3))
    for epoch in range(2, 10):
        expected = (1 + math.cos(math.pi * (epoch - 2) / 8))
        assert found[5 * epoch:5 * epoch + 5] == pytest.approx([expected] * 5)


def test_hooks_refuse_unknown_arguments():
    from mmssl.core import HOOKS
    with pytest.raises(ConfigError, match="'min_lrr'.*did you mean 'min_lr'"):
        build_from_cfg(dict(type='StepFixCosineAnnealingLrUpdaterHook', min_lrr=0.), HOOKS)


def test_no_warning_for_used_expressions():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        groups_of({'bias': dict(weight_decay=0.)})

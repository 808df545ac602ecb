"""LARC against its formula, in float64."""
import copy
import re

import pytest
import torch
from torch import nn

from mmssl.core.optimizer import build_optimizer
from mmssl.utils.errors import ConfigError

SETTINGS = dict(lr=0.05, weight_decay=0.1, trust_coefficient=0.02)
SGD = dict(type='SGD', momentum=0.9)


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3), nn.Linear(3, 2)).double()
    nn.init.zeros_(model[0].weight)  # |w| is zero, the gradient is not
    return model


def gradients(model, i):
    generator = torch.Generator().manual_seed(i)
    for number, weight in enumerate(model.parameters()):
        # sizes from small to large, so that some local rates are clipped and others are not; one gradient is zero
        scale = 0. if number == 4 else 10.**(number % 4 - 2)
        weight.grad = scale * torch.randn(weight.shape, generator=generator, dtype=torch.double)


def naive(weight, grad, clip, excluded):
    """The gradient that the base gets, one number at a time, and the decay that is left to it."""
    if excluded:
        return grad, SETTINGS['weight_decay']
    w, g = float((weight**2).sum())**0.5, float((grad**2).sum())**0.5
    factor = 1.
    if w > 0 and g > 0:
        factor = SETTINGS['trust_coefficient'] * w / (g + SETTINGS['weight_decay'] * w + 1e-8)
        factor = min(factor / SETTINGS['lr'], 1.) if clip else factor
    return (grad + SETTINGS['weight_decay'] * weight) * factor, 0.


@pytest.mark.parametrize('clip', [True, False])
@pytest.mark.parametrize('base', [SGD, dict(SGD, nesterov=True), dict(type='RMSprop', alpha=0.9)])
def test_larc(clip, base):
    model = network()
    cfg = dict(type='LARC', base=base, clip=clip, **SETTINGS)
    optimizer = build_optimizer(model, dict(cfg, paramwise_options={'1.|bias': dict(lars_exclude=True)}))
    reference = copy.deepcopy(model)
    excluded = {name: name.startswith('1.') or 'bias' in name for name, _ in model.named_parameters()}
    kind = getattr(torch.optim, base['type'])
    options = {key: value for key, value in base.items() if key != 'type'}
    plain = kind([dict(params=[p], weight_decay=0.) for p in reference.parameters()], lr=SETTINGS['lr'], **options)
    factors = []
    for i in range(4):
        gradients(model, i), gradients(reference, i)
        optimizer.step()
        for (name, weight), group in zip(reference.named_parameters(), plain.param_groups):
            given, group['weight_decay'] = naive(weight.detach(), weight.grad, clip, excluded[name])
            factors.append(given.norm() / (weight.grad + SETTINGS['weight_decay'] * weight).norm())
            weight.grad = given
        plain.step()
    for found, expected in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert [group['weight_decay'] for group in optimizer.param_groups] == [0.1] * len(optimizer.param_groups)
    if clip:
        assert min(factors) < 0.5 and sum(f == 1 for f in factors) > 4


def test_without_clip_it_is_lars():
    first, second = network(), network()
    larc = build_optimizer(first, dict(type='LARC', base=SGD, clip=False, **SETTINGS))
    lars = build_optimizer(second, dict(type='LARS', lr=.05, momentum=0.9, weight_decay=0.1, eta=0.02))
    for i in range(3):
        gradients(first, i), gradients(second, i)
        larc.step(), lars.step()
    torch.testing.assert_close(dict(first.named_parameters()), dict(second.named_parameters()), rtol=1e-11, atol=1e-13)


def test_decoupled_decay_stays_with_its_optimizer(warnings_of_data):
    """AdamW does not feel the size of a gradient, so that with LARC it makes nearly the steps that it makes alone."""
    first, second = network(), network()
    larc = build_optimizer(first, dict(type='LARC', base=dict(type='AdamW', eps=1e-30), **SETTINGS))
    alone = build_optimizer(second, dict(type='AdamW', lr=0.05, weight_decay=0.1, eps=1e-30))
    gradients(first, 0), gradients(second, 0)
    larc.step(), alone.step()
    torch.testing.assert_close(dict(first.named_parameters()), dict(second.named_parameters()))
    assert 'LARC around AdamW: it divides each gradient' in ''.join(warnings_of_data)


def test_state_and_schedules():
    """The state is that of the base; a resumed optimizer takes the same steps, at the rate that a schedule sets."""
    model = network()
    optimizer = build_optimizer(
        model, dict(type='LARC', base=SGD, paramwise_options={'3.': dict(momentum=0.5, lr_mult=2)}, **SETTINGS))
    assert [(g['momentum'], g['lr']) for g in optimizer.param_groups] == [(0.9, 0.05), (0.5, 0.1)]
    gradients(model, 0)
    optimizer.step()
    resumed = copy.deepcopy(model)
    other = build_optimizer(
        resumed, dict(type='LARC', base=SGD, paramwise_options={'3.': dict(momentum=0.5, lr_mult=2)}, **SETTINGS))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in (*optimizer.param_groups, *other.param_groups):
        group['lr'] = 0.01
    for i in (1, 2):
        for one, weights in ((optimizer, model), (other, resumed)):
            gradients(weights, i)
            one.step()
            one.zero_grad()
    assert all(a.equal(b) for a, b in zip(model.parameters(), resumed.parameters()))
    third = build_optimizer(network(), dict(type='LARC', base=dict(type='AdamW'), **SETTINGS))
    with pytest.raises(ConfigError, match='the state is that of LARC around SGD, and optimizer.base is AdamW'):
        third.load_state_dict(optimizer.state_dict())
    before = [p.clone() for p in model.parameters()]
    for group in optimizer.param_groups:  # as in the first iteration of a warm-up
        group['lr'] = 0.
    gradients(model, 3)
    optimizer.step()
    assert all(a.equal(b) for a, b in zip(model.parameters(), before))


@pytest.mark.parametrize('changes, message', [
    (dict(base=None), 'LARC: base must be dict, got None'),
    (dict(base=dict(type='LARS')), "LARC.base is the optimizer around which it stands, such as dict(type='SGD', "),
    (dict(base=dict(SGD, lr=1.)), 'LARC has lr itself: it stands beside base, not in it (at base in the config)'),
    (dict(base=dict(SGD, momentun=.9)), "SGD takes no argument 'momentun' (given 0.9); did you mean 'momentum'"),
    (dict(trust_coefficient=-1), 'LARC takes no negative trust_coefficient, got -1'),
    (dict(paramwise_options={'1.': dict(nesterof=1)}), "unknown option 'nesterof'; did you mean 'nesterov'"),
])
def test_refused(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_optimizer(network(), {**dict(type='LARC', base=SGD, **SETTINGS), **changes})


@pytest.mark.parametrize('cfg', [dict(type='LARS', lr=1.), dict(type='LARC', lr=1., base=dict(type='SGD'))])
def test_a_closure_computes_the_gradients_of_the_step(cfg):
    steps = []
    for by_closure in (True, False):
        layer = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(layer.weight, 2.)
        torch.nn.init.constant_(layer.bias, 1.)
        optimizer = build_optimizer(layer, cfg)

        def compute():
            optimizer.zero_grad()
            loss = layer(torch.ones(3, 2)).square().mean()
            loss.backward()
            return loss

        if by_closure:
            assert optimizer.step(compute).item() == 25
        else:
            compute()
            assert optimizer.step() is None
        steps.append(layer.weight.detach().clone())
    assert torch.equal(*steps) and not torch.equal(steps[0], torch.full((1, 2), 2.))

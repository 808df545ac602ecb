"""Weights in half precision beside float32 copies, which the optimizer steps."""
import re

import pytest
import torch
from mmcv import Config
from test_resume_algorithms import assert_same, config, train
from torch import nn

from mmssl.core.hooks.optimizer_hook import clip_gradients
from mmssl.core.optimizer import build_optimizer
from mmssl.core.optimizer.master_weights import hand_gradients_over, keep_master_weights
from mmssl.core.parallel import make_trainable
from mmssl.models import build_algorithm
from mmssl.models.utils import MomentumEncoder
from mmssl.utils.checkpoint import load_weights
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of, update_weights

BF16 = dict(dtype='bfloat16', master_weights=True)
SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))


def optimise(model, optimizer, steps, autocast):
    """Vectors of all weights after each step of a regression on fixed numbers."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 8, generator=generator), torch.randn(64, 4, generator=generator)
    x = x.to(model[0].weight.dtype) if not autocast else x
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            out = model(x)
        (out.float() - y).square().mean().backward()
        hand_gradients_over(model)
        optimizer.step()
        update_weights(model)
        path.append(torch.cat([master_of(p).detach().float().flatten() for p in model.parameters()]))
    return torch.stack(path)


@pytest.mark.parametrize('cfg', [dict(SGD, lr=0.003), dict(type='AdamW', lr=2e-4)])
def test_they_follow_float32(cfg):
    """Fifty small steps: most of them are less than a step of bfloat16, in which the weights then stay."""
    whole, half, pure = network(), network(), network().to(torch.bfloat16)
    start = torch.cat([p.detach().flatten() for p in whole.parameters()])
    expected = optimise(whole, build_optimizer(whole, cfg), 50, False)[-1]
    optimizer = build_optimizer(half, cfg)
    assert keep_master_weights(half, optimizer, torch.bfloat16) == 8 * 32 + 32 * 4
    assert [p.dtype for p in half.parameters()].count(torch.bfloat16) == 2  # norms and biases are not
    found = optimise(half, optimizer, 50, True)[-1]
    alone = optimise(pure, build_optimizer(pure, cfg), 50, False)[-1]
    way = (expected - start).norm()
    errors = (found - expected).norm() / way, (alone - expected).norm() / way
    assert errors[0] < 0.05 and errors[1] > 5 * errors[0], errors
    # what is computed with are the rounded copies, and half as many bytes are kept for gradients
    assert all(p.equal(master_of(p).to(p.dtype)) for p in half.parameters())


@pytest.mark.long
@pytest.mark.parametrize('name, switches', [
    ('BYOL', dict(amp=BF16, optimizer_config=dict(grad_clip=dict(max_norm=1.)))),
    ('SwAV', dict(amp=BF16, optimizer=dict(type='LARS', lr=0.3, momentum=0.9, weight_decay=1e-6))),
    ('MAE', dict(amp=dict(BF16, dtype='float16', loss_scale='dynamic'))),
    ('SimSiam', dict(amp=BF16, optimizer_config=dict(update_interval=2))),
])
def test_trainings(name, switches, tmp_path, warnings_of_data):
    """A training goes as that with autocast alone, bit for bit unless gradients accumulate, or prototypes are made to
    have the length 1; checkpoints hold float32; a resume is exact."""
    switches = {**switches, 'optimizer': {**switches.get('optimizer', {}), '_delete_': True}} \
        if 'optimizer' in switches else switches
    if name == 'SimSiam':
        hooks = [dict(type='EMAHook', momentum=0.1, priority='HIGH')]
        switches['custom_hooks'] = config(name, tmp_path).custom_hooks + hooks
    whole, _ = train(name, tmp_path / 'whole', 3, **switches)
    assert {value.dtype for value in whole['state_dict'].values() if value.is_floating_point()} == {torch.float32}
    places = tmp_path / 'whole' / ('iter_6.pth' if name == 'SimSiam' else 'iter_9.pth')
    again, _ = train(name, tmp_path / 'again', 4, str(places), **switches)
    for checkpoint in (again, whole):
        for hook in [hook for hook in checkpoint['hooks'] if hook.startswith('CheckpointHook')]:
            checkpoint['hooks'].pop(hook)  # which lists the files of its folder
    for part in ('state_dict', 'optimizer', 'hooks', 'rng_states'):
        assert_same(again[part], whole[part], part)
    told = len([line for line in warnings_of_data if line.startswith('amp.master_weights: ')])
    plain = {
        key: {
            k: v
            for k, v in value.items() if k != 'master_weights'
        } if key == 'amp' else value
        for key, value in switches.items()
    }
    autocast, _ = train(name, tmp_path / 'autocast', 3, **plain)
    keys = [key for key, value in whole['state_dict'].items() if value.is_floating_point() and 'queue' not in key]
    start = train_start(name, tmp_path)
    way, error = (
        torch.stack([(autocast['state_dict'][key] - other[key]).norm() for key in keys]).norm()
        for other in (start, whole['state_dict']))
    assert told == 2 and error <= dict(SwAV=0.1, SimSiam=0.2).get(name, 0.) * way, (error, way)


def train_start(name, folder):
    from mmssl.apis import set_random_seed
    cfg = config(name, folder)
    set_random_seed(3)
    from mmssl.datasets import build_dataset
    build_dataset(cfg.data.train)
    model = build_algorithm(cfg.model)
    model.init_weights()
    return model.state_dict()


def test_momentum_encoders_follow_in_float32():
    """A share of 1/1000 of a change is lost in bfloat16; here it is not, though the online weights are half."""
    online = network()
    encoder = MomentumEncoder(online)
    reference = [p.detach().double() for p in encoder.parameters()]
    optimizer = build_optimizer(online, SGD)
    keep_master_weights(online, optimizer, torch.bfloat16)
    assert all(p.dtype == torch.float32 for p in encoder.parameters())
    for _ in range(20):
        optimise(online, optimizer, 1, True)
        encoder.follow(online, momentum=0.999)
        for value, p in zip(reference, online.parameters()):
            value.lerp_(master_of(p).detach().double(), 0.001)
    for value, p in zip(reference, encoder.parameters()):
        torch.testing.assert_close(p.detach().double(), value, rtol=1e-6, atol=1e-8)
    encoder.copy_from(online)
    assert all(a.equal(master_of(b)) for a, b in zip(encoder.parameters(), online.parameters()))


class Renaming(nn.Linear):
    """A layer that knows its weight by an old name."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f'{prefix}w' in state_dict:
            state_dict[f'{prefix}weight'] = state_dict.pop(f'{prefix}w')
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_loading_and_clipping():
    model = nn.Sequential(network(), Renaming(4, 3))
    optimizer = build_optimizer(model, SGD)
    keep_master_weights(model, optimizer, torch.bfloat16)
    saved = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    load_weights(model, dict(saved))
    assert_same(dict(model.state_dict()), saved, '')
    assert model[1].weight.equal(saved['1.weight'].bfloat16())
    old = torch.randn(3, 4)
    load_weights(model, {'1.w': old})
    assert model.state_dict()['1.weight'].equal(old.bfloat16().float())  # the name that only the layer knows
    for p in model.parameters():
        p.grad = torch.full_like(p, 2.)
    hand_gradients_over(model)
    norm = clip_gradients(model, max_norm=1.)
    assert norm == pytest.approx(2 * sum(p.numel() for p in model.parameters())**0.5, rel=1e-5)
    clipped = torch.cat([master_of(p).grad.flatten() for p in model.parameters()])
    assert clipped.norm() == pytest.approx(1., rel=1e-4) and clipped.dtype == torch.float32


@pytest.mark.parametrize('switches, message', [
    (dict(amp=dict(dtype='float32', master_weights=True)), "amp.dtype is 'bfloat16' or 'float16', got 'float32'"),
    (dict(amp=BF16, model='norm'), 'has no weights of linear layers or convolutions that are trained in float32'),
])
def test_refused(switches, message):
    model = nn.LayerNorm(3) if switches.pop('model', None) else network()
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_trainable(model, Config(dict(switches, optimizer=SGD)), torch.device('cpu'), False)

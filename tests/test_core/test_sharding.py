"""Sharded trainings equal those of DistributedDataParallel."""
import copy
import logging
import sys
from pathlib import Path

import pytest
import torch
from mmcv import Config

from mmssl.core import DistributedDataParallel, build_optimizer
from mmssl.core.hooks.optimizer_hook import clip_gradients
from mmssl.core.parallel import make_trainable
from mmssl.core.sharding import find_blocks, shard_model, sharding_type
from mmssl.models import build_backbone
from mmssl.utils.errors import ConfigError
from mmssl.utils.sharded import convert_tensors, local, sharded_modules, whole

TESTS = Path(__file__).resolve().parents[1]
# local rates by the norms of whole tensors; biases without them, as gradients that are zero but for rounding would grow
LARS = dict(
    type='LARS',
    lr=1.,
    eta=0.01,
    momentum=0.9,
    weight_decay=1e-3,
    paramwise_options={'(bn|ln|norm|bias)': dict(lars_exclude=True, lr=0.1)})


def double(batch):
    return convert_tensors(batch, lambda t: t.double() if t.is_floating_point() else t)


def train(model, name, rank):
    """Two iterations, so that the second sees what the first has done to momentum encoders and queues."""
    import tiny
    inner = getattr(model, 'module', model)
    optimizer, losses = build_optimizer(model, LARS), []
    for i, per in enumerate(('part', 'tensor')):
        torch.manual_seed(i)
        batch = double(tiny.batch(name, 8, seed=i, start=4 * rank, stop=4 * rank + 4))
        loss = model.train_step(batch, optimizer)['loss']
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(inner, 1., per=per)
        optimizer.step()
        if hasattr(inner, 'momentum_update'):
            inner.momentum_update()
        losses.append(loss.item())
    return losses, inner.state_dict()


# each kind of momentum encoder, memory, head, mask and teacher once
SOME = ('MoCo', 'BYOL', 'DenseCL', 'DINO', 'IBOT', 'SEED', 'SwAVMomentum', 'DeepClusterV2', 'ODC', 'MoCoV3', 'IJEPA',
        'MSN', 'MAE', 'SimMIM', 'CAE', 'MultiTask')


def some_algorithms(rank, world_size, names):
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(TESTS / 'test_models'))
    import tiny
    found = {}
    for name in names or tiny.CONFIGS:
        model = tiny.build(name).double().train()
        reference = copy.deepcopy(model)
        sharded = shard_model(model, min_params=0)
        mine = sum(local(p).numel() for p in model.parameters())
        share = mine / sum(p.numel() for p in model.parameters())
        losses, weights = train(sharded, name, rank)
        expected_losses, expected = train(DistributedDataParallel(reference), name, rank)
        weights = whole(weights)
        off = max(((weights[key].double() - value.double()).abs().max() / (1e-3 + value.double().abs().max())).item()
                  for key, value in expected.items() if value.numel())
        found[name] = dict(
            weights=off,
            loss=max(abs(a - b) / abs(b) for a, b in zip(losses, expected_losses)),
            share=share,
            keys=list(weights) == list(expected),
            blocks=len(sharded_modules(model)) - 1)
    return found


@pytest.mark.parametrize('names', [
    pytest.param(SOME, marks=pytest.mark.long, id='some'),
    pytest.param((), marks=pytest.mark.slow, id='all'),
])
def test_each_algorithm_with_fsdp_equals_ddp(run_distributed, names):
    for found in run_distributed(some_algorithms, names):
        assert len(found) == len(names) or len(found) > 40
        assert {name: f for name, f in found.items() if not (f['weights'] < 1e-9 and f['loss'] < 1e-11)} == {}
        assert {name: f for name, f in found.items() if not (f['keys'] and f['blocks'] >= 2)} == {}
        assert all(0.45 < f['share'] < 0.55 for f in found.values())


def test_blocks_are_what_is_repeated():
    resnet = build_backbone(dict(type='ResNet', depth=18, base_channels=8, stem_channels=8))
    assert [type(block).__name__ for block in find_blocks(resnet)] == ['BasicBlock'] * 8
    assert len(find_blocks(resnet, min_params=10000)) == 4  # those with many channels
    assert find_blocks(resnet, names=['BasicBlock'], min_params=10**9) == find_blocks(resnet)
    with pytest.raises(ConfigError, match="'BasicBloc'.*did you mean 'BasicBlock'"):
        find_blocks(resnet, names=['BasicBloc'])
    # a list of layers without parts of their own is none
    assert find_blocks(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))) == []


@pytest.mark.parametrize('cfg, words', [
    (dict(sharding=dict(type='ddp')), "'fsdp' or 'zero', got 'ddp'"),
    (dict(sharding=dict(type='zero', min_params=1)), "'zero' has no option 'min_params'"),
    (dict(sharding=dict(type='fsdp'), find_unused_parameters=True), 'find_unused_parameters .* leave it out'),
])
def test_what_does_not_go_together_is_refused(cfg, words):
    with pytest.raises(ConfigError, match=words):
        sharding_type(cfg, True)


def test_optimizers_for_whole_weights_are_refused(tmp_path):
    """torch ends their first step with a message about placements."""
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        cfg = Config(dict(sharding=dict(type='fsdp'), optimizer=dict(type='LARC', lr=1., base=dict(type='Rprop'))))
        with pytest.raises(ConfigError, match='Rprop needs whole weights'):
            make_trainable(torch.nn.Linear(2, 2), cfg, torch.device('cpu'), True)
        cfg.sharding.min_params = -1
        with pytest.raises(ConfigError, match='sharding.min_params is an integer of at least 0'):
            make_trainable(torch.nn.Linear(2, 2), cfg, torch.device('cpu'), True)
    finally:
        torch.distributed.destroy_process_group()


def test_blocks_in_bfloat16_without_amp(tmp_path, monkeypatch):
    """What follows a block, here a neck, has weights in float32: broken once by blocks that gave bfloat16."""
    monkeypatch.syspath_prepend(TESTS / 'test_models')
    import tiny
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        losses = []
        for dtype in (None, 'bfloat16'):
            torch.manual_seed(0)
            model = shard_model(tiny.build('MoCoV3').train(), min_params=0, param_dtype=dtype)
            loss = model.train_step(tiny.batch('MoCoV3', 4, seed=1), None)['loss']
            loss.backward()
            assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)
            losses.append(loss.item())
        assert 0 < abs(losses[1] / losses[0] - 1) < 0.1  # batch norm of 4 images makes much of it
    finally:
        torch.distributed.destroy_process_group()


def test_one_process_is_told_that_sharding_does_nothing(warnings_of_data):
    assert sharding_type(dict(sharding=dict(type='fsdp')), False) is None
    assert 'it does nothing' in warnings_of_data[0]

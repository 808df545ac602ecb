"""One process with batch 2B against two gloo processes with batch B each: values, gradients and all state."""
import pytest
import tiny
import torch
from three_steps import TOLERANCES, assert_near, assert_same_training, train
from torch import nn

from mmssl.models import SplitBatchNorm, SyncBatchNorm

NORMS = {
    'maps': ((8, 5, 4, 3), {}),
    'vectors': ((8, 5), dict(momentum=None)),
    'plain': ((8, 5), dict(affine=False)),
    'far from zero': ((8, 5, 3, 3), {}),
}


def norm_case(name):
    shape, kwargs = NORMS[name]
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=generator) * 2 + (1000 if name == 'far from zero' else 0)
    return x, torch.randn(shape, generator=generator), kwargs


def run_norm(name, norm_class, rows):
    """Two training steps of a norm; outputs, gradients and statistics."""
    x, weights, kwargs = norm_case(name)
    norm = norm_class(x.shape[1], **kwargs)
    x = x[rows].requires_grad_()
    for _ in range(2):
        y = norm(x)
        (y * weights[rows]).sum().backward()
    return dict(
        y=y.detach(),
        x_grad=x.grad,
        grads={
            n: p.grad
            for n, p in norm.named_parameters()
        },
        state={
            n: b.clone()
            for n, b in norm.named_buffers()
        })


def one_rank(rank, world_size):
    norms = {}
    for name in NORMS:
        half = 3 if name == 'maps' else 4  # also processes of different batch sizes: 3 and 5
        norms[name] = run_norm(name, SyncBatchNorm, slice(0, half) if rank == 0 else slice(half, None))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = SyncBatchNorm(4)(torch.randn(2, 4, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    runs = {(name, dtype): train(name, dtype, rank, world_size) for name in tiny.CONFIGS for dtype in TOLERANCES}
    return dict(norms=norms, runs=runs)


@pytest.fixture(scope='module')
def ranks(run_distributed):
    return run_distributed(one_rank)


@pytest.mark.parametrize('name', NORMS)
def test_sync_batch_norm(ranks, name):
    """Values, gradients and running statistics (unbiased variance) are those of batch norm on the whole batch."""
    whole = run_norm(name, nn.BatchNorm2d if len(NORMS[name][0]) == 4 else nn.BatchNorm1d, slice(None))
    parts = [rank['norms'][name] for rank in ranks]
    for key in ('y', 'x_grad'):
        assert_near(torch.cat([part[key] for part in parts]), whole[key], key)
    for key, grad in whole['grads'].items():
        assert_near(sum(part['grads'][key] for part in parts), grad, key)
    for key, value in whole['state'].items():
        for part in parts:
            assert_near(part['state'][key], value, key, 1e-6)


@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('name', tiny.CONFIGS)
def test_two_processes_equal_one(ranks, name, dtype):
    """Pitfalls: gradients of 1/W after gathering or after a sum over processes without gradient (Barlow Twins),
    single-process training refused, key order of the queues (MoCo, DenseCL's two, SwAV's, which is in use).

    Losses and accuracies (their means over ranks), gradients of all parameters, and the whole state after three steps.
    """
    expected, runs = train(name, dtype), [rank['runs'][name, dtype] for rank in ranks]
    assert_same_training(runs, expected, dtype)
    if name == 'MoCo':
        assert runs[0]['state']['queue'].equal(runs[1]['state']['queue'])
        assert expected['state']['queue_ptr'].tolist() == [2]


def test_sync_batch_norm_in_one_process_is_batch_norm():
    sync, plain, x = SyncBatchNorm(5), nn.BatchNorm1d(5), torch.randn(6, 5)
    assert sync(x).equal(plain(x)) and sync.running_var.equal(plain.running_var)
    assert sync.eval()(x).equal(plain.eval()(x))


@pytest.mark.parametrize('size', [12, 10, 2])
def test_split_batch_norm(size):
    """Each part is normalised as if it were alone; pitfall: shuffling does nothing on one device."""
    norm, x = SplitBatchNorm(4, num_splits=4), torch.randn(size, 4, 3, 3)
    parts = [part for part in x.tensor_split(4) if len(part)]
    alone = [nn.BatchNorm2d(4) for _ in parts]
    torch.testing.assert_close(norm(x), torch.cat([bn(part) for bn, part in zip(alone, parts)]))
    torch.testing.assert_close(norm.running_mean, sum(bn.running_mean for bn in alone) / len(parts))
    torch.testing.assert_close(norm.running_var, sum(bn.running_var for bn in alone) / len(parts))
    plain = nn.BatchNorm2d(4)
    plain.load_state_dict(norm.state_dict())
    assert norm.eval()(x).equal(plain.eval()(x))


def test_split_batch_norm_in_moco_shuffles():
    """Keys stay in the order of their queries although the key encoder sees them shuffled."""
    model = tiny.build('MoCo', backbone=dict(tiny.BACKBONE, norm_cfg=dict(type='SplitBN', num_splits=4)))
    seen, data = [], tiny.batch('MoCo')
    model.encoder_k.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.eval()  # without batch statistics a key depends on its own image only
    keys = model.compute_keys(data['img'][1])
    assert not seen[0].equal(data['img'][1])
    torch.testing.assert_close(keys, nn.functional.normalize(model.encoder_k(data['img'][1])[0], dim=1))

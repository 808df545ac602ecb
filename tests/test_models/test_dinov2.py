"""DINOv2 against loops in float64."""
import math

import pytest
import torch

from mmssl.models.losses import gram_anchoring, koleo


def random_features(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def naive_koleo(z):
    """The logarithm of the smallest distance, one vector after the other."""
    z = [row / row.square().sum().sqrt() for row in z]
    total = 0
    for i, row in enumerate(z):
        distances = [(row - other).square().sum().sqrt() for j, other in enumerate(z) if j != i]
        total = total - (min(distances) + 1e-8).log()
    return total / len(z)


def test_koleo():
    z = (random_features(6, 4) + 0.3).requires_grad_()
    got, want = koleo(z), naive_koleo(z)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (got, want)))


def test_koleo_of_duplicates_and_of_one_image():
    """Pitfalls: infinite for near duplicates; NaN with one image in a process."""
    z = random_features(4, 8).float()
    z[1] = z[0]
    z[3] = z[2] + 1e-7
    z.requires_grad_()
    loss = koleo(z)
    assert 10 < loss < -math.log(1e-8) + 1e-3
    bounds = {eps: torch.autograd.grad(koleo(z, eps), z)[0].norm(dim=1).max() for eps in (1e-8, 1e-4)}
    assert bounds[1e-8].isfinite() and bounds[1e-4] < 1e4
    message = 'the batch of {} has 1: set data.samples_per_gpu'
    for per_process, whose in ((True, 'one process'), (False, 'all processes')):
        with pytest.raises(ValueError, match=message.format(whose)):
            koleo(z[:1], per_process=per_process)


def naive_gram(patches, anchors):
    total, count = 0, 0
    for x, y in zip(patches, anchors):
        for i in range(len(x)):
            for j in range(len(x)):
                s, t = x[i] @ x[j] / (x[i].norm() * x[j].norm()), y[i] @ y[j] / (y[i].norm() * y[j].norm())
                total, count = total + (s - t)**2, count + 1
    return total / count


def test_gram_anchoring():
    """The anchors get no gradient, and may have other dimensions."""
    patches, anchors = random_features(2, 5, 3).requires_grad_(), random_features(2, 5, 4).requires_grad_()
    got, want = gram_anchoring(patches, anchors), naive_gram(patches, anchors.detach())
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, patches, retain_graph=True)[0] for value in (got, want)))
    assert torch.autograd.grad(got, anchors, allow_unused=True)[0] is None
    assert gram_anchoring(patches, 3 * patches) < 1e-12


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z, anchors = random_features(2, 6, 4).to(dtype), random_features(2, 6, 3).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = koleo(z[0]), gram_anchoring(z, anchors)
    assert got[0].equal(koleo(z[0].float())) and got[1].equal(gram_anchoring(z.float(), anchors.float()))


def one_rank(rank, world_size):
    results = {}
    for size in (3, 1):
        z = random_features(2 * size, 4)[rank * size:(rank + 1) * size].requires_grad_()
        loss = koleo(z)
        results[size] = loss.detach(), torch.autograd.grad(loss, z)[0]
    return results


def test_two_processes_equal_one(run_distributed):
    ranks = run_distributed(one_rank)
    for size in (3, 1):
        z = random_features(2 * size, 4).requires_grad_()
        loss = koleo(z)
        torch.testing.assert_close(sum(rank[size][0] for rank in ranks) / 2, loss.detach())
        # each process has the gradient of the sum of both losses, of which DDP takes the mean
        got = torch.cat([rank[size][1] for rank in ranks]) / 2
        torch.testing.assert_close(got, torch.autograd.grad(loss, z)[0])

"""Codes of SwAV against double loops in float64, and over processes."""
import math

import pytest
import torch
from torch.nn import functional as F

from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn


def some_scores(rows=7, prototypes=5, spread=1.):
    """Cosines of features that prefer the first prototypes."""
    generator = torch.Generator().manual_seed(4)
    feats = F.normalize(torch.randn(rows, 6, generator=generator) + spread, dim=1)
    return feats @ F.normalize(torch.randn(prototypes, 6, generator=generator) + 0.3, dim=1).T


def naive(scores, iterations, epsilon):
    """Algorithm of SwAV's appendix: by turns every prototype gets 1/K of the mass and every sample 1/B."""
    size, number = scores.shape
    mass = [[math.exp(scores[b, k].item() / epsilon) for k in range(number)] for b in range(size)]
    for _ in range(iterations):
        for k in range(number):
            total = sum(mass[b][k] for b in range(size))
            for b in range(size):
                mass[b][k] /= total * number
        for b in range(size):
            total = sum(mass[b])
            for k in range(number):
                mass[b][k] /= total * size
    return torch.tensor(mass, dtype=torch.float64) * size


@pytest.mark.parametrize('iterations', [1, 3, 20])
@pytest.mark.parametrize('epsilon', [0.05, 0.5])
def test_against_double_loops(iterations, epsilon):
    scores = some_scores().double()
    codes = distributed_sinkhorn(scores, iterations, 1, epsilon)
    torch.testing.assert_close(codes, naive(scores, iterations, epsilon))
    torch.testing.assert_close(codes.sum(1), torch.ones(7).double())
    single = distributed_sinkhorn(scores.float(), iterations, 1, epsilon)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, codes.float(), rtol=2e-4, atol=1e-6)


def test_prototypes_get_equal_shares():
    codes = distributed_sinkhorn(some_scores(40, 5).double(), 300, 1, 0.05)
    torch.testing.assert_close(codes.sum(0), torch.full((5, ), 8.).double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('rows, prototypes', [(2000, 5), (4, 1600)])
def test_many_iterations(rows, prototypes):
    """Pitfall: factors of columns that grow by K / N in each iteration were infinite after 15."""
    scores = some_scores(rows, prototypes)
    codes = distributed_sinkhorn(scores, 40, 1, 0.05)
    torch.testing.assert_close(codes.double(), distributed_sinkhorn(scores.double(), 40, 1, 0.05), rtol=1e-3, atol=1e-6)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(rows))


def test_scores_are_left_alone_and_get_no_gradient():
    scores = some_scores().requires_grad_()
    before = scores.detach().clone()
    assert not distributed_sinkhorn(scores, 3, 1, 0.05).requires_grad
    assert scores.equal(before)


@pytest.mark.parametrize('shift', [0., 300., -300.])
def test_large_scores_do_not_overflow(shift):
    """Pitfall: float32 without the global maximum subtracted before `exp` overflows at scores of 4.4 (epsilon 0.05)."""
    scores = some_scores()
    codes = distributed_sinkhorn(scores + shift, 3, 1, 0.05)
    torch.testing.assert_close(codes, distributed_sinkhorn(scores, 3, 1, 0.05), rtol=2e-3, atol=1e-4)


def test_rows_far_below_the_maximum_still_sum_to_one():
    scores = some_scores().double()
    scores[2] -= 20  # exp(-20 / 0.05) is 0 in float32, and the row's sum with it
    codes = distributed_sinkhorn(scores.float(), 3, 1, 0.05)
    torch.testing.assert_close(codes.sum(1), torch.ones(7))
    torch.testing.assert_close(codes.double(), naive(scores, 3, 0.05), rtol=1e-3, atol=1e-5)


def test_a_prototype_without_mass_gets_none():
    scores = some_scores()
    scores[:, 1] = -1000.
    codes = distributed_sinkhorn(scores, 3, 1, 0.05)
    assert codes.isfinite().all() and not codes[:, 1].any()
    torch.testing.assert_close(codes.sum(1), torch.ones(7))


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_scores_that_are_no_numbers_stay_visible(bad):
    scores = some_scores()
    scores[3, 2] = bad
    assert distributed_sinkhorn(scores, 3, 1, 0.05).isnan().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    """Pitfall: the exponentials and their sums belong in float32, whatever autocast says."""
    scores = some_scores().to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        codes = distributed_sinkhorn(scores, 3, 1, 0.05)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes, naive(scores.double(), 3, 0.05).float(), rtol=2e-4, atol=1e-6)


def test_errors_show_values():
    with pytest.raises(ValueError, match='sinkhorn_iterations=0'):
        distributed_sinkhorn(some_scores(), 0, 1, 0.05)
    with pytest.raises(ValueError, match='epsilon=0'):
        distributed_sinkhorn(some_scores(), 3, 1, 0)
    with pytest.raises(ValueError, match='world_size is 8, there are 1 processes'):
        distributed_sinkhorn(some_scores(), 3, 8, 0.05)


def scores_of_case(case):
    """Scores of both processes together, and how many rows the first one has."""
    scores = some_scores(12, 5).double()
    if case == 'a prototype without mass on one rank':
        scores[:6, 1] = -1000.
    elif case == 'a prototype without mass on any rank':
        scores[:, 1] = -1000.
    elif case == 'ranks of different scale':
        scores[:6] -= 3.
    elif case == 'NaN on one rank':
        scores[2, 2] = math.nan
    return scores, {'unequal rows': 9, 'no rows on one rank': 12}.get(case, 6)


CASES = ('equal rows', 'unequal rows', 'no rows on one rank', 'a prototype without mass on one rank',
         'a prototype without mass on any rank', 'ranks of different scale', 'NaN on one rank')


def one_rank(rank, world_size):
    results = {}
    for case in CASES:
        scores, first = scores_of_case(case)
        mine = scores[:first] if rank == 0 else scores[first:]
        results[case] = distributed_sinkhorn(mine, 3, world_size, 0.05)
    return results


def test_two_processes_equal_one(run_distributed):
    """Pitfall: sums over rows all-reduced only if one is zero: rows normalised per rank, ranks that disagree hang."""
    ranks = run_distributed(one_rank)
    for case in CASES:
        codes = torch.cat([rank[case] for rank in ranks])
        expected = distributed_sinkhorn(scores_of_case(case)[0], 3, 1, 0.05)
        torch.testing.assert_close(codes, expected, rtol=1e-9, atol=1e-12, equal_nan=True, msg=case)
        assert codes.isnan().all() == case.startswith('NaN')

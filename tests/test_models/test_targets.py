"""What a teacher's scores become, against formulas in float64 and over processes."""
import pytest
import torch

from mmssl.models.utils.targets import Centering, SinkhornKnopp, build_targets
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn

KINDS = ('centering', 'sinkhorn')


def some_scores(rows=7, prototypes=5):
    return torch.randn(rows, prototypes, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.5


def test_centering():
    """The centre is used first, and moves after; without rows and in evaluation it stays."""
    targets, scores = Centering(5, momentum=0.8).double(), some_scores()
    targets.center.copy_(torch.arange(5.))
    before = targets.center.clone()
    mass = ((scores - before) / 0.3).exp()
    torch.testing.assert_close(targets(scores, 0.3), mass / mass.sum(1, keepdim=True))
    after = 0.8 * before + 0.2 * scores.mean(0)
    torch.testing.assert_close(targets.center, after)
    assert targets(scores[:0], 0.3).shape == (0, 5)
    targets.eval()(scores, 0.3)
    torch.testing.assert_close(targets.center, after)
    with pytest.raises(ValueError, match='within 0 to 1, got center_momentum=1.2'):
        Centering(5, momentum=1.2)


def test_sinkhorn():
    scores = some_scores()
    assert SinkhornKnopp(4)(scores, 0.2).equal(distributed_sinkhorn(scores, 4, 1, 0.2))
    assert SinkhornKnopp()(scores[:0], 0.2).shape == (0, 5)
    with pytest.raises(ValueError, match='iterations=0'):
        SinkhornKnopp(0)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_float32_without_gradient(kind, dtype):
    """Pitfall: a softmax at temperature 0.04 in half precision."""
    scores = some_scores().to(dtype)
    module, wide = build_targets(kind, 5), build_targets(kind, 5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        targets = module(scores.requires_grad_(), 0.04)
    assert targets.dtype == torch.float32 and not targets.requires_grad
    assert targets.equal(wide(scores.detach().float(), 0.04))
    for name, value in module.state_dict().items():
        assert value.equal(wide.state_dict()[name])


def one_rank(rank, world_size):
    results = {}
    for first in (4, 7):  # of 7 rows: the second process has 3, or none
        mine = some_scores()[:first] if rank == 0 else some_scores()[first:]
        for kind in KINDS:
            module = build_targets(kind, 5).double()
            results[first, kind] = [module(mine, 0.3), module(mine, 0.3)]
    return results


def test_two_processes_equal_one(run_distributed):
    """Pitfall: rows of masked patches differ in number from process to process."""
    ranks = run_distributed(one_rank)
    for case in ranks[0]:
        module = build_targets(case[1], 5).double()
        for time in range(2):
            torch.testing.assert_close(torch.cat([rank[case][time] for rank in ranks]), module(some_scores(), 0.3))

# Copyright (c) mmssl contributors. All rights reserved.
"""What a teacher's scores of prototypes become: probabilities that use all prototypes."""
import torch
from torch import nn

from mmssl.utils.dist import all_reduce_sum, get_world_size
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn
from ..losses.precision import in_float32


class Centering(nn.Module):
    """Softmax of scores less their moving average (DINO, https://arxiv.org/abs/2104.14294, section 3.1).

    The centre keeps one prototype from winning everywhere, the low temperature keeps all of them from being alike.
    It is used first and moves after that, in training only.

    Args:
        num (int): Number of prototypes, K.
        momentum (float): Share of the centre that stays in an iteration.

    Attributes:
        center (Tensor): Moving average of the mean scores over the rows of all processes, 1 x K.

    Raises:
        ValueError: A momentum outside 0 to 1.
    """

    def __init__(self, num, momentum=0.9):
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f'the momentum of a centre must be within 0 to 1, got center_momentum={momentum!r}')
        self.momentum = momentum
        self.register_buffer('center', torch.zeros(1, num))

    @torch.no_grad()
    def forward(self, scores, temperature, seen=None):
        """Scores (N x K; each process has its own N, which may be 0) to probabilities, float32, without gradient.

        The centre moves towards the mean of the scores, or of others, `seen` (M x K).
        """
        targets = self.probabilities(scores, self.center, temperature)
        if self.training:
            self.update(scores if seen is None else seen)
        return targets

    @staticmethod
    @torch.no_grad()
    @in_float32
    def probabilities(scores, center, temperature):
        """Scores, ... x K, to probabilities."""
        return ((scores - center) / temperature).softmax(-1)

    @torch.no_grad()
    def update(self, scores):
        """Move the centre towards the mean of the scores, N x K, of all processes; without any it stays."""
        scores = scores.detach()
        total = scores.sum(0, dtype=torch.promote_types(scores.dtype, torch.float32))
        total = all_reduce_sum(torch.cat([total, total.new_full((1, ), len(scores))]))
        number = total[-1]
        mean = total[:-1] / number.clamp(min=1)
        share = (1 - self.momentum) * (number > 0)
        self.center.lerp_(mean[None].to(self.center.dtype), share.to(self.center.dtype))


class SinkhornKnopp(nn.Module):
    """Probabilities that give each prototype the same share of all rows (DINOv2, https://arxiv.org/abs/2304.07193).

    Args:
        iterations (int): How often prototypes and rows are scaled by turns.

    Raises:
        ValueError: No iteration.
    """

    def __init__(self, iterations=3):
        super().__init__()
        if iterations < 1:
            raise ValueError(f'Sinkhorn needs at least 1 iteration, got iterations={iterations!r}')
        self.iterations = iterations

    def forward(self, scores, temperature, seen=None):
        """Scores (N x K; each process has its own N, which may be 0) to probabilities, float32, without gradient.

        Other scores, `seen`, which move the centre of Centering, do not count here.
        """
        return distributed_sinkhorn(scores, self.iterations, get_world_size(), temperature)


def build_targets(kind, num, center_momentum=0.9):
    """The module by its name.

    Args:
        kind (str): 'centering' or 'sinkhorn'.
        num (int): Number of prototypes.
        center_momentum (float): Of centering; Sinkhorn has no centre.

    Returns:
        Centering | SinkhornKnopp: Called with scores and a temperature.

    Raises:
        ValueError: Another name, or another momentum than the default where there is no centre.
    """
    if kind not in ('centering', 'sinkhorn'):
        raise ValueError(f"targets is 'centering' or 'sinkhorn', got {kind!r}")
    if kind == 'sinkhorn' and center_momentum != 0.9:
        raise ValueError(f"targets='sinkhorn' has no centre: leave center_momentum out, got {center_momentum!r}")
    return Centering(num, center_momentum) if kind == 'centering' else SinkhornKnopp()

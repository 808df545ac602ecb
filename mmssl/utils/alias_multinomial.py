# Copyright (c) mmssl contributors. All rights reserved.
"""Random numbers from any discrete distribution in constant time each."""
import torch


class AliasMethod:
    """Draw from a discrete distribution: two uniform numbers a draw, however many outcomes there are.

    Each outcome gets a column of equal height, filled up by one other outcome, its alias (Walker, 1977). The columns
    are filled all at once, by prefix sums: outcomes that are rarer than the mean take what they lack from the more
    frequent ones in turn, and where one of those runs out, the next one fills it up.

    Args:
        probs (Tensor): Weight of each outcome, n numbers; they need not sum to 1. Draws are made on its device.

    Raises:
        ValueError: Weights that are negative, not finite, or all zero.
    """

    def __init__(self, probs):
        if probs.dim() != 1 or not len(probs):
            raise ValueError(f'probs is a tensor of n weights, got the shape {tuple(probs.shape)}')
        heights = probs.double()
        total = heights.sum()
        if not (torch.isfinite(total) and (heights >= 0).all() and total > 0):
            raise ValueError(f'probs must be finite, not negative and not all zero; got values from {probs.min()} to '
                             f'{probs.max()}')
        heights = heights * (len(probs) / total)
        self.prob = heights.clamp(max=1)  # where to cut a column
        self.alias = torch.arange(len(probs), device=probs.device)
        high = heights >= 1
        high[heights.argmax()] = True  # also where rounding leaves all of them below 1
        low, high = (~high).nonzero()[:, 0], high.nonzero()[:, 0]
        lack = torch.cat([heights.new_zeros(1), (1 - heights[low]).cumsum(0)])  # of the first 0, 1, ... rare ones
        spare = (heights[high] - 1).cumsum(0)  # of the first 1, 2, ... frequent ones
        # a rare outcome is filled up by the first frequent one that has something left when its turn comes
        filler = torch.searchsorted(spare, lack[:-1], right=True).clamp(max=len(high) - 1)
        self.alias[low] = high[filler]
        # a frequent one ends when the rare ones so far lack as much as there is up to it, and the next fills it up
        end = torch.searchsorted(lack, spare[:-1]).clamp(max=len(low))
        self.prob[high[:-1]] = (1 + spare[:-1] - lack[end]).clamp(0, 1)
        self.alias[high[:-1]] = high[1:]
        self.prob[high[-1]] = 1

    def cuda(self):
        """Draw on the current GPU from now on."""
        self.prob, self.alias = self.prob.cuda(), self.alias.cuda()

    def draw(self, N):
        """N outcomes, independent of each other, as integers on the device of the tables."""
        column = torch.randint(len(self.alias), (N, ), device=self.alias.device)
        below = torch.rand(N, dtype=torch.float64, device=self.prob.device) < self.prob[column]
        return torch.where(below, column, self.alias[column])

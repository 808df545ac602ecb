# Copyright (c) mmssl contributors. All rights reserved.
"""Exponential moving averages of tensors and of networks."""
import copy

import torch
from torch import nn

from mmssl.utils.sharded import changeable_pairs, wait_for_changes
from .rope import RotaryPositions


@torch.no_grad()
def ema_update(targets, sources, momentum):
    """Move tensors towards others: target = momentum * target + (1 - momentum) * source.

    Floating tensors go through one multi-tensor call without temporaries and without a host sync; others, such as
    counters, are copied.

    Args:
        targets (Iterable[Tensor]): Changed in place.
        sources (Iterable[Tensor]): As many tensors of the same shapes and kinds.
        momentum (float): From 0 (take the sources) to 1 (keep the targets).

    Raises:
        ValueError: The momentum is not within 0 to 1: the targets would run away from the sources.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f'the momentum of a moving average is the share of the old value, 0 to 1, got {momentum!r}')
    pairs = list(zip(targets, sources, strict=True))
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    if floating:
        torch._foreach_lerp_(*map(list, zip(*floating)), 1 - momentum)
    if len(floating) < len(pairs):
        torch._foreach_copy_(*map(list, zip(*(pair for pair in pairs if not pair[0].is_floating_point()))))


class MomentumEncoder(nn.Sequential):
    """Copies of modules, run one after the other without gradient, that follow the originals slowly.

    An algorithm calls `copy_from` once its weights are initialised and `follow` after each change of them.

    Args:
        modules (nn.Module): The online modules, such as backbone and neck. They are copied, not kept.
        drop_path (bool): Whether the copies drop paths, and rescale rotary positions at random, as the originals do.
    """

    def __init__(self, *modules, drop_path=True):
        super().__init__(*copy.deepcopy(modules))
        self.requires_grad_(False)
        if not drop_path:
            for module in self.modules():  # of mmcv and timm; of torchvision
                if type(module).__name__ == 'DropPath':
                    module.drop_prob = 0.
                elif type(module).__name__ == 'StochasticDepth':
                    module.p = 0.
                elif isinstance(module, RotaryPositions):
                    module.rescale = None

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)

    @torch.no_grad()
    def copy_from(self, *modules):
        """Take over all parameters and buffers of the online modules."""
        torch._foreach_copy_(*changeable_pairs(self, modules, buffers=True))
        wait_for_changes(self)

    @torch.no_grad()
    def follow(self, *modules, momentum, buffers='average'):
        """One step of the moving average of parameters; see ema_update.

        Args:
            modules (nn.Module): The online modules.
            momentum (float): Share of the old values that stays.
            buffers (str): What becomes of buffers, such as the statistics of batch norms: 'average' as parameters,
                'copy' takes over those of the online modules, 'keep' leaves those that the copies gather themselves.

        Raises:
            ValueError: Another word.
        """
        if buffers not in ('average', 'copy', 'keep'):
            raise ValueError(f"buffers is 'average', 'copy' or 'keep', got {buffers!r}")
        averaged = buffers == 'average'
        ema_update(*changeable_pairs(self, modules, averaged), momentum)
        wait_for_changes(self)
        own = list(self.buffers())
        if own and buffers == 'copy':
            torch._foreach_copy_(own, [b for module in modules for b in module.buffers()])

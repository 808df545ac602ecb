# Copyright (c) mmssl contributors. All rights reserved.
"""Rotary positions of patches <https://arxiv.org/abs/2104.09864>, by rows and columns as in DINOv3."""
import math

import torch
from torch import nn

from mmssl.utils.errors import ConfigError


class RotaryPositions(nn.Module):
    """Angles by which queries and keys are turned, so that their products tell how far apart two patches are (DINOv3,
    https://arxiv.org/abs/2508.10104, section 3.1).

    The centre of a patch has two coordinates from -1 (top, left) to 1 (bottom, right), whatever the size of the image.
    A half of the pairs of channels turns by the row, the other by the column: 2 pi times the coordinate, over periods
    from 1 to almost `base`. Tokens in front of the patches do not turn.

    Args:
        head_dim (int): Dimension of a head, a multiple of 4.
        base (float): Longest period, over the shortest.
        rescale (float, optional): In training all coordinates are multiplied by one number between 1 / rescale and
            rescale, log-uniform, so that features hold for other sizes. It is drawn for a pass; where processes are
            seeded alike, it is the same one in each.

    Raises:
        ConfigError: A dimension or a number that makes no sense.
    """

    def __init__(self, head_dim, base=100., rescale=None):
        super().__init__()
        if head_dim % 4:
            raise ConfigError(f'rotary positions turn pairs of channels by rows and by columns: embed_dims / num_heads '
                              f'must be a multiple of 4, got {head_dim}')
        if not 0 < base < math.inf or rescale is not None and not 1 <= rescale < math.inf:
            raise ConfigError(f'base is positive and rescale at least 1 or None, got base={base}, rescale={rescale}')
        self.head_dim, self.base, self.rescale = head_dim, base, rescale

    def forward(self, grid, device, extra=0, visible=None):
        """Waves for the tokens of images.

        Args:
            grid (tuple[int]): Rows and columns of patches.
            device (torch.device): Where.
            extra (int): Tokens in front of the patches, E.
            visible (Tensor, optional): Indices of the patches that are there, B x K; by default all L are.

        Returns:
            tuple[Tensor]: Cosines and sines, 1 x 1 x (E + L) x head_dim / 2 or B x 1 x (E + K) x head_dim / 2, float32.
        """
        # no buffer, which a model in half precision would round
        frequencies = 2 * math.pi / self.base**(torch.arange(0, 1, 4 / self.head_dim, device=device))
        rows, columns = ((2 * torch.arange(n, device=device) + 1) / n - 1 for n in grid)
        angles = torch.cat((
            (rows[:, None, None] * frequencies).expand(-1, grid[1], -1),
            (columns[:, None] * frequencies).expand(grid[0], -1, -1),
        ), 2).flatten(0, 1)[None]  # 1 x L x head_dim / 2
        if visible is not None:
            angles = angles[0][visible]  # B x K x head_dim / 2
        if self.training and self.rescale is not None:
            angles = angles * self.rescale**(2 * torch.rand((), device=device) - 1)
        angles = nn.functional.pad(angles, (0, 0, extra, 0))[:, None]
        return angles.cos(), angles.sin()


def turn(x, waves):
    """Turn the first half of the channels and the second one into each other.

    Args:
        x (Tensor): B x heads x N x d.
        waves (tuple[Tensor]): Cosines and sines, B x 1 x N x d/2 or 1 x 1 x N x d/2.

    Returns:
        Tensor: As `x`, of its kind; computed in float32 under autocast.
    """
    cos, sin = waves
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)

# Copyright (c) mmssl contributors. All rights reserved.
"""Histograms of oriented gradients, which MaskFeat predicts."""
import math

import torch
from torch import nn
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError
from ..losses.precision import in_float32


def sobel_gradients(x):
    """Horizontal and vertical Sobel gradients of every channel, images reflected at their borders.

    Sums of shifted images instead of a convolution, which GPUs round to TF32: where neighbours are equal, the gradient
    is 0.

    Args:
        x (Tensor): B x C x H x W.

    Returns:
        tuple[Tensor, Tensor]: Left less right and above less below, both B x C x H x W.
    """
    x = F.pad(x, (1, 1, 1, 1), mode='reflect')
    columns = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]  # ... x H x (W + 2)
    rows = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]  # ... x (H + 2) x W
    return columns[..., :-2] - columns[..., 2:], rows[..., :-2, :] - rows[..., 2:, :]


def orientation_histograms(gx, gy, nbins, pool, window=None):
    """How much gradient each cell has in each direction; opposite directions are one.

    Args:
        gx, gy (Tensor): Gradients, B x C x H x W.
        nbins (int): Number of bins for the angle atan2(gx, gy) modulo pi.
        pool (int): Length of a cell's side, in pixels.
        window (Tensor, optional): Weights of the gradients, h x w, repeated over the image.

    Returns:
        Tensor: Sums of the gradients' lengths, B x C x nbins x H/pool x W/pool.
    """
    batch, channels, height, width = gx.shape
    rows, columns = height // pool, width // pool
    lengths = torch.hypot(gx, gy)
    if window is not None:
        lengths = lengths * window.to(lengths.dtype).tile(height // window.shape[0], width // window.shape[1])
    # Edges along the pixels have exactly 0, a quarter or half a turn: rounding shall not take them to the bin before.
    rounding = 8 * nbins * torch.finfo(lengths.dtype).eps
    # Bins -nbins to nbins of the full turn; folding them in the end saves a modulo a pixel. Of each bin the cells lie
    # side by side.
    bins = (torch.atan2(gx, gy) * (nbins / math.pi) + rounding).floor().long()
    down = torch.arange(height, device=gx.device) // pool * columns
    cells = down[:, None] + torch.arange(width, device=gx.device) // pool  # H x W
    index = (bins + nbins) * (rows * columns) + cells
    counts = lengths.new_zeros(batch, channels, (2 * nbins + 1) * rows * columns)
    counts.scatter_add_(2, index.flatten(2), lengths.flatten(2))
    lower, upper, half_turn = counts.view(batch, channels, -1, rows, columns).split([nbins, nbins, 1], 2)
    return torch.cat([lower[:, :, :1] + upper[:, :, :1] + half_turn, lower[:, :, 1:] + upper[:, :, 1:]], 2)


@in_float32
def _hog(x, nbins, pool, window):
    return F.normalize(orientation_histograms(*sobel_gradients(x), nbins, pool, window), dim=2)


class HOGLayerC(nn.Module):
    """Histogram of oriented gradients of each channel and cell, as MaskFeat <https://arxiv.org/abs/2112.09133> has it.

    Args:
        nbins (int): Number of directions in half a turn.
        pool (int): Length of a cell's side, in pixels.
        gaussian_window (int): Gradients are weighted by a Gaussian over windows of that side, in pixels; 0 for none.
    """

    def __init__(self, nbins=9, pool=8, gaussian_window=16):
        super().__init__()
        self.nbins = nbins
        self.pool = pool
        self.gaussian_window = gaussian_window
        gkern = self.get_gkern(gaussian_window, gaussian_window // 2) if gaussian_window else None
        self.register_buffer('gkern', gkern, persistent=False)

    @staticmethod
    def get_gkern(kernlen, std):
        """A Gaussian kernel of kernlen x kernlen pixels and of the deviation `std`, with sum 1."""
        line = torch.exp(-0.5 * ((torch.arange(kernlen) - (kernlen - 1) / 2) / std)**2)
        return torch.outer(line, line) / line.sum()**2

    @torch.no_grad()
    def forward(self, x):
        """Images to features.

        Args:
            x (Tensor): B x C x H x W.

        Returns:
            Tensor: Histograms of length 1, or 0 where a cell is flat; B x C x nbins x H/pool x W/pool, float32.

        Raises:
            ConfigError: The image has no whole number of cells or windows.
        """
        for side in filter(None, (self.pool, self.gaussian_window)):
            if x.shape[2] % side or x.shape[3] % side:
                raise ConfigError(f'HOG of images of {x.shape[2]} x {x.shape[3]} pixels: both must be multiples of '
                                  f'pool, {self.pool}, and gaussian_window, {self.gaussian_window}')
        return _hog(x, self.nbins, self.pool, self.gkern)


def hog_of_patches(hog, grid):
    """The features of the cells of each patch side by side.

    Args:
        hog (Tensor): What HOGLayerC returns, B x C x nbins x rows x columns of cells.
        grid (tuple[int]): Rows and columns of patches.

    Returns:
        Tensor: B x L x C*nbins*k*k, where a patch has k x k cells; patches in row order; in a patch by channel, bin,
        row and column, as in the published code.

    Raises:
        ConfigError: Patches are not squares of whole cells.
    """
    cells = hog.shape[-1] // grid[1]
    if cells == 0 or hog.shape[-2:] != (cells * grid[0], cells * grid[1]):
        raise ConfigError(
            f'HOG has {hog.shape[-2]} x {hog.shape[-1]} cells (pool), which {grid[0]} x {grid[1]} patches '
            'cannot share: the side of a patch must be a multiple of pool')
    return F.pixel_unshuffle(hog.flatten(1, 2), cells).flatten(2).transpose(1, 2)

# Copyright (c) mmssl contributors. All rights reserved.
"""Which patches of a batch a student does not see: blocks, as in iBOT and DINOv2."""
import math

import numpy as np
import torch

from mmssl.utils.dist import get_dist_info
from mmssl.utils.errors import ConfigError
from .keyed_draws import KeyedDraws

_TRIES = 10  # rectangles in a row that do not count, after which a mask stays short, as published
_BLOCKS = 64  # rectangles that are tried for a mask; of 37 x 37 patches it takes more once in a thousand


class BlockMasks(KeyedDraws):
    """Draws masks for the crops of a batch: some stay whole, of others a random share of the patches is hidden.

    A mask depends on the seed, on the number of the training iteration and on the number of the crop in the batch of
    all processes. So it is the same in one process as in several, and in a resumed training. Masks are drawn on the
    host, for all crops at once, so that nobody waits for the device to learn how many patches they hide.

    Args:
        ratio (list[float]): Least and largest share of patches that are hidden in a masked crop.
        probability (float): Share of the crops that are masked.
        stratified (bool): Mask exactly this share of the crops of all processes, and spread their ratios evenly over
            the range (DINOv2). Else each crop draws for itself (iBOT).
        shape (str): 'block' hides rectangles (BEiT, https://arxiv.org/abs/2106.08254, algorithm 1), which may hide
            somewhat less than the ratio where further ones do not fit; 'random' hides single patches.
        min_patches (int, optional): Least area of a block, in patches; by default the square of a third of the shorter
            side of the grid, as in iBOT. DINOv2 has 4.
        aspect (float): Least height / width of a block; the largest is 1 / aspect.
        seed (int): Another one draws other masks.

    Raises:
        ConfigError: Shares outside 0 to 1, another shape, an empty block, or an aspect outside 0 to 1.
    """

    def __init__(self,
                 ratio=[0.1, 0.5],
                 probability=0.5,
                 stratified=False,
                 shape='block',
                 min_patches=None,
                 aspect=0.3,
                 seed=0):
        super().__init__(seed)
        if len(ratio) != 2 or not 0 <= ratio[0] <= ratio[1] <= 1 or not 0 <= probability <= 1:
            raise ConfigError('masks: ratio is the least and the largest share of hidden patches, such as [0.1, 0.5], '
                              f'and probability a share; got ratio={ratio}, probability={probability}')
        if shape not in ('block', 'random'):
            raise ConfigError(f"masks: shape is 'block' or 'random', got {shape!r}")
        if not 0 < aspect <= 1 or min_patches is not None and min_patches < 1:
            raise ConfigError('masks: aspect is above 0 and at most 1, min_patches at least 1; got '
                              f'aspect={aspect}, min_patches={min_patches}')
        self.ratio = ratio
        self.probability = probability
        self.stratified = stratified
        self.shape = shape
        self.min_patches = min_patches
        self.aspect = aspect

    def forward(self, images, views, grid):
        """Draw the masks of an iteration.

        Args:
            images (int): Images of this process, B; the same number in each.
            views (int): Crops of each, V.
            grid (tuple[int]): Rows and columns of patches.

        Returns:
            Tensor: V*B x rows x columns, bool, True where hidden, on the CPU: the first crops of all images, then the
            second ones, and so on.

        Raises:
            ConfigError: `min_patches` is not less than the patches of a crop.
        """
        rank, processes = get_dist_info()
        everybody = images * processes
        crops = torch.arange(views * everybody, device='cpu')
        own = crops.view(views, everybody)[:, rank * images:(rank + 1) * images].flatten()
        which, rate = self._uniform(crops if self.stratified else own, 2).T
        if self.stratified:
            place, masked = which.argsort().argsort(), int(self.probability * len(which))
            share = (self.ratio[0] + (self.ratio[1] - self.ratio[0]) * (place + rate) / max(1, masked))[own]
            share[place[own] >= masked] = 0
        else:
            share = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * rate
            share[which >= self.probability] = 0
        counts = (share * grid[0] * grid[1]).long()
        masks = (self._blocks if self.shape == 'block' else self._patches)(own, counts, grid)
        if self.training:
            self.iterations.step()
        return masks

    def _uniform(self, crops, num, part=0):
        """Numbers from 0 to 1 for each crop, len(crops) x num, float64."""
        return torch.from_numpy(self.uniform(crops, num, part))

    def _patches(self, crops, counts, grid):
        order = self._uniform(crops, grid[0] * grid[1], part=1).argsort(1).argsort(1)
        return (order < counts[:, None]).unflatten(1, grid)

    def _blocks(self, crops, counts, grid):
        counts = counts.numpy()
        masks, some = np.zeros((len(crops), *grid), bool), np.flatnonzero(counts)
        numbers = self._uniform(crops[torch.from_numpy(some)], 4 * _BLOCKS, part=1).view(-1, _BLOCKS, 4)
        least = self.min_patches or max(1, min(grid) // 3)**2
        if least >= grid[0] * grid[1]:
            raise ConfigError(f'masks: no block of min_patches={least} patches fits in {grid[0]} x {grid[1]} of them')
        masks[some] = draw_blocks(counts[some], grid, numbers.numpy(), least, self.aspect)
        return torch.from_numpy(masks)


def draw_blocks(counts, grid, numbers, least, aspect):
    """Masks of rectangles, all of them at once.

    A rectangle counts if it hides at least one patch more and not more than are still missing.

    Args:
        counts (ndarray): How many patches to hide in each of M masks.
        grid (tuple[int]): Rows and columns of patches.
        numbers (ndarray): M x T x 4, from 0 to 1: area, aspect, top and left of T rectangles, which are tried in turn.
        least (int): Least area of a rectangle. Towards the end, when fewer patches are missing, it is the largest.
        aspect (float): Least height / width of a rectangle; the largest is 1 / aspect.

    Returns:
        ndarray: M x rows x columns, bool.
    """
    rows, columns = (np.arange(length)[:, None] for length in grid)
    masks = np.zeros((len(counts), *grid), bool)
    todo, missing, failed = np.arange(len(counts)), counts.copy(), np.zeros(len(counts), int)
    for area, slope, top, left in numbers.transpose(1, 2, 0):
        area = least + area[todo] * (missing - least)
        slope = np.exp((2 * slope[todo] - 1) * -math.log(aspect))
        h, w = np.sqrt(area * slope).round().astype(int), np.sqrt(area / slope).round().astype(int)
        fits = (h < grid[0]) & (w < grid[1])
        top, left = ((u[todo] * (side - length + 1)).astype(int) for u, side, length in zip((top, left), grid, (h, w)))
        inside = ((rows >= top) & (rows < top + h)).T[:, :, None] & ((columns >= left) &
                                                                     (columns < left + w)).T[:, None]
        new = (inside & ~masks[todo]).sum((1, 2))
        counts_in = fits & (new > 0) & (new <= missing)
        masks[todo[counts_in]] |= inside[counts_in]
        missing = missing - new * counts_in
        failed = np.where(counts_in, 0, failed + 1)
        going = (missing > 0) & (failed < _TRIES)
        todo, missing, failed = todo[going], missing[going], failed[going]
        if not len(todo):
            break
    return masks


def masked_patches(masks):
    """Where the hidden patches are.

    Args:
        masks (Tensor): N x rows x columns, bool, on the CPU.

    Returns:
        tuple[Tensor, Tensor]: Their numbers among all N * rows * columns patches (M, int64), and for each of them one
        by the number of hidden patches of its image (M).
    """
    masks = masks.flatten(1).numpy()
    images, index = masks.nonzero()[0], np.flatnonzero(masks)
    weight = 1 / masks.sum(1)[images].astype(np.float32)
    return torch.from_numpy(index), torch.from_numpy(weight)

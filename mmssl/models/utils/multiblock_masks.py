# Copyright (c) mmssl contributors. All rights reserved.
"""What I-JEPA's encoder sees of an image, and which blocks it is to predict."""
import numpy as np
import torch

from mmssl.utils.dist import get_dist_info
from mmssl.utils.errors import ConfigError
from .keyed_draws import KeyedDraws

_TRIES = 20  # draws for an image before one more of its targets may stay in the context


class MultiBlockMasks(KeyedDraws):
    """Draws a context and several target blocks for each image (I-JEPA, https://arxiv.org/abs/2301.08243, figure 4).

    The sizes of blocks are drawn for the batch, their positions for each image. The context is its block without the
    targets. Contexts of all images, also of other processes, are cut to the length of the shortest. Three things
    differ from the published code: area and aspect of targets are independent; blocks reach the last row and column;
    what a cut takes away are random patches, and not those in the bottom rows.

    Args:
        num_targets (int): Target blocks of an image, M.
        target_share (list[float]): Least and largest area of a target, as a share of the grid.
        target_aspect (list[float]): Least and largest height / width of a target.
        context_share (list[float]): Least and largest area of the context block, a square.
        min_keep (int): Patches that a context has at least. Where an image has fewer, its blocks are drawn again; after
            20 such draws one of its targets may overlap the context, after 20 more a second one, and so on.
        seed (int): See KeyedDraws.

    Raises:
        ConfigError: No target, shares outside 0 to 1, or aspects that are not positive.
    """

    def __init__(self,
                 num_targets=4,
                 target_share=[0.15, 0.2],
                 target_aspect=[0.75, 1.5],
                 context_share=[0.85, 1.],
                 min_keep=10,
                 seed=0):
        super().__init__(seed)
        for name, pair in dict(target_share=target_share, context_share=context_share).items():
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= 1:
                raise ConfigError(
                    f'masks.{name} is a least and a largest share of the grid, above 0 and at most 1; got '
                    f'{pair}')
        if len(target_aspect) != 2 or not 0 < target_aspect[0] <= target_aspect[1]:
            raise ConfigError(f'masks.target_aspect is a least and a largest height / width, got {target_aspect}')
        if num_targets < 1 or min_keep < 1:
            raise ConfigError(f'masks: num_targets and min_keep are at least 1, got {num_targets} and {min_keep}')
        self.num_targets = num_targets
        self.target_share = target_share
        self.target_aspect = target_aspect
        self.context_share = context_share
        self.min_keep = min_keep

    def forward(self, images, grid):
        """Draw the blocks of an iteration.

        Args:
            images (int): Images of this process, B; the same number in each.
            grid (tuple[int]): Rows and columns of patches.

        Returns:
            tuple[Tensor, Tensor]: Numbers of patches, int64, on the CPU: those of the context, B x K in rising order,
            and those of the targets, B x M x T in row order.

        Raises:
            ConfigError: The context block has fewer patches than min_keep.
        """
        rank, processes = get_dist_info()
        own = slice(rank * images, (rank + 1) * images)
        everybody = np.arange(processes * images)
        share, aspect, size = self.uniform(np.array([-1]), 3)[0]
        target = block_sides(_between(self.target_share, share), _between(self.target_aspect, aspect), grid)
        block = block_sides(_between(self.context_share, size), 1., grid)
        if block[0] * block[1] < self.min_keep:
            raise ConfigError(
                f'a grid of {grid[0]} x {grid[1]} patches has a context of {block[0]} x {block[1]}, fewer than '
                f'masks.min_keep={self.min_keep}: take a smaller patch_size of the backbone, larger images, or lower '
                'min_keep')

        context = np.zeros((len(everybody), grid[0] * grid[1]), bool)
        targets = np.zeros((len(everybody), self.num_targets, target[0] * target[1]), int)
        todo, draw = everybody, 0
        while len(todo):
            places = self.uniform(todo, 2 * self.num_targets + 2, part=1 + draw).reshape(len(todo), -1, 2)
            targets[todo] = blocks(places[:, 1:], target, grid)
            seen = np.zeros((len(todo), context.shape[1]), bool)
            rows = np.arange(len(todo))[:, None]
            seen[rows, blocks(places[:, :1], block, grid)[:, 0]] = True
            avoided = targets[todo, :max(0, self.num_targets - draw // _TRIES)]
            seen[rows, avoided.reshape(len(todo), -1)] = False
            context[todo] = seen
            todo, draw = todo[seen.sum(1) < self.min_keep], draw + 1

        length = context.sum(1).min()
        order = np.where(context[own], self.uniform(everybody[own], context.shape[1]), 1.).argsort(1)
        if self.training:
            self.iterations.step()
        return torch.from_numpy(np.sort(order[:, :length], 1)), torch.from_numpy(targets[own])


def _between(pair, share):
    return pair[0] + (pair[1] - pair[0]) * share


def block_sides(share, aspect, grid):
    """Rows and columns of a block, each at least 1 and fewer than those of the grid (where that has several).

    Args:
        share (float): Its area over that of the grid.
        aspect (float): Its height over its width.
        grid (tuple[int]): Rows and columns of patches.

    Returns:
        tuple[int, int]: Rows and columns.
    """
    area = share * grid[0] * grid[1]
    sides = round((area * aspect)**0.5), round((area / aspect)**0.5)
    return tuple(max(1, min(side, length - 1)) for side, length in zip(sides, grid))


def blocks(places, sides, grid):
    """Patches of blocks.

    Args:
        places (ndarray): N x M x 2, from 0 to 1: where between top and bottom, left and right, M blocks stand.
        sides (tuple[int]): Rows and columns of each.
        grid (tuple[int]): Rows and columns of patches.

    Returns:
        ndarray: Numbers of patches in row order, N x M x rows * columns.
    """
    top, left = np.moveaxis((places * (np.array(grid) - sides + 1)).astype(int), -1, 0)[..., None, None]
    rows, columns = top + np.arange(sides[0])[:, None], left + np.arange(sides[1])
    return (rows * grid[1] + columns).reshape(*places.shape[:2], -1)

# Copyright (c) mmssl contributors. All rights reserved.
"""Positions of patches: fixed sines and cosines, and embeddings brought to another grid."""
import math

import torch
from torch.nn import functional as F


def build_2d_sincos_position_embedding(patches_resolution, embed_dims, temperature=10000., cls_token=False):
    """Sines and cosines of rows and columns, as in MoCo v3 <https://arxiv.org/abs/2104.02057> and MAE.

    A quarter of the dimensions each holds sin(row * w), cos(row * w), sin(column * w) and cos(column * w), with
    frequencies w = temperature ** (-i / quarter). The published code of MAE has columns before rows; on a square grid
    that is the transposed grid.

    Args:
        patches_resolution (int | tuple[int]): Rows and columns of the grid; one number for a square.
        embed_dims (int): Dimension, a multiple of 4.
        temperature (float): Wavelength of the slowest wave, over 2 pi.
        cls_token (bool): Put zeros for a class token in front.

    Returns:
        Tensor: 1 x L x embed_dims, patches in row order; L is rows * columns, and one more with `cls_token`.

    Raises:
        ValueError: `embed_dims` is no multiple of 4.
    """
    rows, columns = (patches_resolution, ) * 2 if isinstance(patches_resolution, int) else patches_resolution
    if embed_dims % 4:
        raise ValueError(f'a 2-D sine-cosine embedding needs a dimension that is a multiple of 4, got {embed_dims}')
    omega = temperature**(-torch.arange(embed_dims // 4, dtype=torch.float32) / (embed_dims // 4))
    by_row, by_column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    waves = [position.reshape(-1, 1) * omega for position in (by_row, by_column)]  # L x D/4
    embedding = torch.cat([f(wave) for wave in waves for f in (torch.sin, torch.cos)], 1)[None]
    return F.pad(embedding, (0, 0, 1, 0)) if cls_token else embedding


def resize_pos_embed(pos_embed, src_shape, dst_shape, mode='bicubic', num_extra_tokens=1):
    """Interpolate position embeddings for another grid of patches.

    Args:
        pos_embed (Tensor): 1 x L x D, patches in row order behind the extra tokens, which stay as they are.
        src_shape (tuple[int]): Rows and columns of its grid.
        dst_shape (tuple[int]): Rows and columns that are wanted.
        mode (str): 'nearest', 'bilinear' or 'bicubic'.
        num_extra_tokens (int): Tokens in front that belong to no patch, such as a class token.

    Returns:
        Tensor: 1 x L' x D; the same tensor where the grids are equal.

    Raises:
        ValueError: The grid does not fit the embedding.
    """
    if tuple(src_shape) == tuple(dst_shape):
        return pos_embed
    if pos_embed.shape[1] != math.prod(src_shape) + num_extra_tokens:
        raise ValueError(f'a position embedding of {pos_embed.shape[1]} tokens is none of {src_shape[0]} x '
                         f'{src_shape[1]} patches and {num_extra_tokens} more')
    extra, grid = pos_embed[:, :num_extra_tokens], pos_embed[:, num_extra_tokens:]
    grid = grid.transpose(1, 2).unflatten(2, tuple(src_shape))  # 1 x D x rows x columns
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    grid = F.interpolate(grid, tuple(dst_shape), mode=mode, align_corners=None if mode == 'nearest' else False)
    return torch.cat((extra, grid.flatten(2).transpose(1, 2).to(extra.dtype)), 1)


def resize_bias_table(table, side):
    """Interpolate a table of relative positions for windows of another size, bicubically.

    Args:
        table (Tensor): (2w - 1)**2 x heads, for windows of w x w.
        side (int): 2w' - 1 of the windows that are wanted.

    Returns:
        Tensor: side**2 x heads.
    """
    grid = table.T.unflatten(1, (math.isqrt(len(table)), -1))[None]  # 1 x heads x 2w-1 x 2w-1
    return F.interpolate(grid, (side, side), mode='bicubic', align_corners=True)[0].flatten(1).T

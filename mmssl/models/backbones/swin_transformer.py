# Copyright (c) mmssl contributors. All rights reserved.
"""Swin Transformer <https://arxiv.org/abs/2103.14030>, with the names of mmcls's parameters."""
import functools
import math

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmcv.runner import BaseModule
from torch import nn
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.registry import check_arguments
from ..builder import BACKBONES
from ..utils.patch_embed import PatchEmbed
from ..utils.position_embedding import resize_bias_table, resize_pos_embed
from ..utils.stages import check_frozen_stages, check_stages
from ..utils.transformer_blocks import (FFN, head_dim, init_linears, one_each, relative_position_index, rising_rates,
                                        run_layers)


def partition(x, size):
    """Maps, B x H x W x C, to windows, B x windows x size*size x C."""
    return x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def unpartition(windows, size, height, width):
    """Windows, as partition makes them, to maps, B x H x W x C."""
    x = windows.unflatten(1, (height // size, width // size)).unflatten(3, (size, size))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_mask(height, width, size, shift, device):
    """What keeps apart pixels of one window that the cyclic shift brought together from opposite borders.

    Returns:
        Tensor: windows x 1 x size*size x size*size, 0 for pairs that may see each other, else -infinity.
    """

    def strip(length):
        place = torch.arange(length, device=device)
        return (place >= length - size).int() + (place >= length - shift).int()

    region = 3 * strip(height)[:, None] + strip(width)
    region = partition(region[None, ..., None], size)[0, ..., 0]  # windows x size*size
    apart = region[:, None, :] != region[:, :, None]
    return torch.zeros(apart.shape, device=device).masked_fill(apart, float('-inf'))[:, None]


class WindowMSA(nn.Module):
    """Attention within windows, with a learned bias for each offset between two positions.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Number of heads.
        window_size (int): Positions along a side of a window.
    """

    def __init__(self, embed_dims, num_heads, window_size):
        super().__init__()
        head_dim(embed_dims, num_heads)
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1)**2, num_heads))
        self.register_buffer('relative_position_index', relative_position_index(window_size, window_size))
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, x, mask=None):
        """Windows, B x windows x N x C, and what is added before the softmax, windows x 1 x N x N, to windows."""
        windows = x.shape[1]
        qkv = self.qkv(x).unflatten(3, (3, self.num_heads, -1))
        # windows and heads in one dimension, over which the bias is given once for all images
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind()  # B x windows*heads x N x C/heads
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # heads x N x N
        bias = bias.expand(windows, -1, -1, -1) if mask is None else bias + mask
        x = F.scaled_dot_product_attention(q, k, v, bias.flatten(0, 1)[None].to(q.dtype))
        return self.proj(x.unflatten(1, (windows, -1)).transpose(2, 3).flatten(3))


class ShiftWindowMSA(nn.Module):
    """Attention within windows that are shifted against those of the layer before.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Number of heads.
        window_size (int): Positions along a side of a window.
        shift (bool): Shift by half a window, where the map has more than one.
    """

    def __init__(self, embed_dims, num_heads, window_size, shift):
        super().__init__()
        self.w_msa = WindowMSA(embed_dims, num_heads, window_size)
        self.window_size = window_size
        self.shift = window_size // 2 if shift else 0

    def forward(self, x):
        """Maps, B x H x W x C, to maps of the same shape; borders are padded to whole windows."""
        height, width = x.shape[1:3]
        size = self.window_size
        shift = self.shift if min(height, width) > size else 0
        x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        padded = x.shape[1:3]
        mask = None
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
            mask = shift_mask(*padded, size, shift, x.device)
        x = unpartition(self.w_msa(partition(x, size), mask), size, *padded)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]


class SwinBlock(nn.Module):
    """Attention in windows and MLP, each behind a norm and beside a shortcut.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Number of heads.
        window_size (int): Positions along a side of a window.
        shift (bool): See ShiftWindowMSA.
        ffn_ratio (float): Hidden channels of the MLP, over embed_dims.
        drop_path (float): Probability that a sample takes the shortcut alone.
        norm_cfg (dict): Norm.
    """

    def __init__(self,
                 embed_dims,
                 num_heads,
                 window_size=7,
                 shift=False,
                 ffn_ratio=4.,
                 drop_path=0.,
                 norm_cfg=dict(type='LN')):
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = ShiftWindowMSA(embed_dims, num_heads, window_size, shift)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = FFN(embed_dims, int(embed_dims * ffn_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x):
        """Maps, B x H x W x C, to maps of the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class PatchMerging(nn.Module):
    """Four neighbouring positions become one.

    Args:
        in_channels (int): Channels C; twice as many leave.
        norm_cfg (dict): Norm.
    """

    def __init__(self, in_channels, norm_cfg=dict(type='LN')):
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, 4 * in_channels)[1]
        self.reduction = nn.Linear(4 * in_channels, 2 * in_channels, bias=False)

    def forward(self, x):
        """Maps, B x H x W x C, to B x H/2 x W/2 x 2C; odd ones get a border of zeros."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # B x H/2 x 2 x W/2 x 2 x C
        return self.reduction(self.norm(x.permute(0, 1, 3, 5, 2, 4).flatten(3)))  # the order of mmcls


class SwinStage(nn.Module):
    """Blocks with and without shift by turns.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Number of heads.
        drop_paths (Sequence[float]): drop_path of each block.
        downsample (bool): Have a PatchMerging, for the way to the next stage.
        block_cfgs (dict): More arguments of SwinBlock.
    """

    def __init__(self, embed_dims, num_heads, drop_paths, downsample, block_cfgs=dict()):
        super().__init__()
        check_arguments(SwinBlock, dict(block_cfgs, embed_dims=embed_dims, num_heads=num_heads))
        self.blocks = nn.ModuleList(
            SwinBlock(embed_dims, num_heads, shift=i % 2 == 1, drop_path=drop_path, **block_cfgs)
            for i, drop_path in enumerate(drop_paths))
        self.downsample = PatchMerging(embed_dims) if downsample else None

    def forward(self, x, with_cp=False):
        """Maps, B x H x W x C, to maps of the same shape."""
        return run_layers(self.blocks, x, with_cp)


@BACKBONES.register_module()
class SwinTransformer(BaseModule):
    """Swin Transformer.

    Args:
        arch (str | dict): 'tiny', 'small', 'base' or 'large', or a dict with embed_dims, depths and num_heads.
        img_size (int | tuple[int]): Height and width of the images in pixels; others work as well.
        patch_size (int): Length of a patch's side in pixels.
        in_channels (int): Channels of the images.
        drop_rate (float): Probability that a value of the embedding is dropped.
        drop_path_rate (float): Probability that a sample skips the last block; it rises linearly from 0.
        out_indices (Sequence[int]): Stages, from 0, whose map is returned.
        use_abs_pos_embed (bool): Learned position embedding of the patches, interpolated for images of other sizes.
        with_cp (bool): Compute the insides of blocks again in the backward pass instead of keeping them.
        frozen_stages (int): Last stage without gradient; -1 for none.
        norm_eval (bool): Accepted for old configs: there is no batch norm.
        norm_cfg (dict): Norm of the maps that are returned.
        stage_cfgs (dict | Sequence[dict]): `block_cfgs` of all stages or of each: window_size (7), ffn_ratio (4).
        patch_cfg (dict): More arguments of PatchEmbed.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: An unknown architecture, or stages that are not there.
    """
    arch_zoo = {
        **dict.fromkeys(['t', 'tiny'], dict(embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24])),
        **dict.fromkeys(['s', 'small'], dict(embed_dims=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24])),
        **dict.fromkeys(['b', 'base'], dict(embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32])),
        **dict.fromkeys(['l', 'large'], dict(embed_dims=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48])),
    }

    def __init__(self,
                 arch='T',
                 img_size=224,
                 in_channels=3,
                 drop_rate=0.,
                 drop_path_rate=0.1,
                 out_indices=(3, ),
                 use_abs_pos_embed=False,
                 with_cp=False,
                 frozen_stages=-1,
                 norm_eval=False,
                 norm_cfg=dict(type='LN'),
                 stage_cfgs=dict(),
                 patch_cfg=dict(),
                 init_cfg=None,
                 patch_size=4):
        super().__init__(init_cfg)
        if isinstance(arch, str):
            if arch.lower() not in self.arch_zoo:
                raise ConfigError(f'{type(self).__name__} has no architecture {arch!r}; {nearest(arch, self.arch_zoo)}')
            arch = self.arch_zoo[arch.lower()]
        elif set(arch) != set(self.arch_zoo['t']) or len(arch['depths']) != len(arch['num_heads']):
            raise ConfigError(
                'an architecture is a name or a dict with embed_dims, depths and num_heads (one of each for '
                f'every stage), got {arch}')
        self.embed_dims, self.depths = arch['embed_dims'], list(arch['depths'])
        self.patch_embed = PatchEmbed(
            **{
                **dict(
                    in_channels=in_channels,
                    embed_dims=self.embed_dims,
                    input_size=img_size,
                    patch_size=patch_size,
                    norm_cfg=dict(type='LN')),
                **patch_cfg
            })
        self.patch_resolution = self.patch_embed.init_out_size
        self.absolute_pos_embed = None
        if use_abs_pos_embed:
            self.absolute_pos_embed = nn.Parameter(
                torch.zeros(1, self.patch_resolution[0] * self.patch_resolution[1], self.embed_dims))
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.out_indices = check_stages(out_indices, 0, len(self.depths) - 1)
        check_frozen_stages(frozen_stages, len(self.depths) - 1)
        self.with_cp = with_cp
        self.frozen_stages = frozen_stages

        rates = rising_rates(drop_path_rate, sum(self.depths))
        self.num_features = [self.embed_dims * 2**i for i in range(len(self.depths))]
        self.stages = nn.ModuleList()
        stage_cfgs = one_each(stage_cfgs, len(self.depths), 'stage_cfgs')
        for channels, depth, heads, cfg in zip(self.num_features, self.depths, arch['num_heads'], stage_cfgs):
            last = channels == self.num_features[-1]
            self.stages.append(SwinStage(channels, heads, rates[:depth], downsample=not last, **cfg))
            rates = rates[depth:]
        for i in sorted(set(self.out_indices)):
            self.add_module(f'norm{i}', build_norm_layer(norm_cfg, self.num_features[i])[1])
        self._freeze_stages()

    @property
    def out_channels(self):
        """list[int]: Channels of the maps that are returned."""
        return [self.num_features[i] for i in self.out_indices]

    def init_weights(self):
        super().init_weights()
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            self.init_own_weights()

    def init_own_weights(self):
        """Normal weights of standard deviation 0.02, cut at two of it, as in the published code."""
        init = functools.partial(nn.init.trunc_normal_, std=.02)
        init_linears(self, init)
        for stage in self.stages:
            for block in stage.blocks:
                init(block.attn.w_msa.relative_position_bias_table)
        if self.absolute_pos_embed is not None:
            init(self.absolute_pos_embed)

    def extract_feat(self, img):
        """Images, B x C x H x W, to a tuple of maps B x D x h x w by out_indices."""
        return self.encode(*self.patch_embed(img))

    def forward(self, x):
        """See extract_feat."""
        return self.extract_feat(x)

    def encode(self, tokens, grid):
        """Tokens of patches, B x L x D, on a grid (rows, columns) to maps by out_indices."""
        if self.absolute_pos_embed is not None:
            tokens = tokens + resize_pos_embed(self.absolute_pos_embed, self.patch_resolution, grid, num_extra_tokens=0)
        x = self.drop_after_pos(tokens).unflatten(1, grid)
        outs = {}
        for i, stage in enumerate(self.stages[:max(self.out_indices) + 1]):
            if i:
                x = self.stages[i - 1].downsample(x)
            x = stage(x, self.with_cp)
            if i in self.out_indices:
                # a stage that only evaluation asks for has no norm of its own
                norm = getattr(self, f'norm{i}', nn.Identity())
                outs[i] = norm(x).permute(0, 3, 1, 2)
        return tuple(outs[i] for i in self.out_indices)

    def _freeze_stages(self):
        if self.frozen_stages < 0:
            return
        norms = [getattr(self, f'norm{i}') for i in self.out_indices if i <= self.frozen_stages]
        for part in (self.patch_embed, self.drop_after_pos, *self.stages[:self.frozen_stages + 1], *norms):
            part.eval().requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Bring tables of relative positions of other windows to the size of ours, by bicubic interpolation."""
        for name, module in self.named_modules():
            key = f'{prefix}{name}.relative_position_bias_table'
            if isinstance(module, WindowMSA) and key in state_dict:
                own, found = module.relative_position_bias_table, state_dict[key]
                if found.shape[1:] == own.shape[1:] and found.shape != own.shape:
                    state_dict[key] = resize_bias_table(found, math.isqrt(len(own)))
                    state_dict[key.replace('bias_table', 'index')] = module.relative_position_index
        super()._load_from_state_dict(state_dict, prefix, *args)

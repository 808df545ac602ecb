# Copyright (c) mmssl contributors. All rights reserved.
"""Predictor of I-JEPA."""
import functools

import torch
from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError, check_integer
from ..builder import NECKS
from ..utils.channels import check_channels
from ..utils.position_embedding import build_2d_sincos_position_embedding
from ..utils.transformer_blocks import TransformerEncoderLayer, init_by_depth, init_linears


@NECKS.register_module()
class IJEPAPredictor(BaseModule):
    """A narrow transformer that tells from the context of an image what stands in other places of it (I-JEPA,
    https://arxiv.org/abs/2301.08243).

    Args:
        in_channels (int, optional): Dimension of the encoder's tokens, D; None where the backbone tells it.
        embed_dims (int): Dimension inside, a multiple of 4 and of num_heads.
        num_layers (int): Number of layers.
        num_heads (int): Number of heads.
        mlp_ratio (float): Hidden dimension of the MLPs, over embed_dims.
        norm_cfg (dict): Norm.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: A number that makes no network.
    """
    rebuilds = True  # what it gives are no features of the image

    def __init__(self,
                 in_channels=None,
                 embed_dims=384,
                 num_layers=6,
                 num_heads=12,
                 mlp_ratio=4.,
                 norm_cfg=dict(type='LN', eps=1e-6),
                 init_cfg=None):
        super().__init__(init_cfg)
        if in_channels is None:
            raise ConfigError('IJEPAPredictor: nothing before it tells the dimension of its tokens; set in_channels')
        for name, value in dict(in_channels=in_channels, num_layers=num_layers, num_heads=num_heads).items():
            check_integer(value, f'IJEPAPredictor.{name}', 1)
        if embed_dims < 4 or embed_dims % 4 or mlp_ratio * embed_dims < 1:
            raise ConfigError('IJEPAPredictor: embed_dims is a multiple of 4 and mlp_ratio above 0, got '
                              f'embed_dims={embed_dims}, mlp_ratio={mlp_ratio}')
        self.in_channels = self.out_channels = in_channels
        self.embed = nn.Linear(in_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(embed_dims, num_heads, int(mlp_ratio * embed_dims), norm_cfg=norm_cfg)
            for _ in range(num_layers))
        self.ln1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.proj = nn.Linear(embed_dims, in_channels)
        self.grid = None
        self.register_buffer('pos_embed', torch.zeros(0, embed_dims), persistent=False)

    def init_weights(self):
        super().init_weights()
        init = functools.partial(nn.init.trunc_normal_, std=.02)
        init(self.mask_token)
        init_linears(nn.ModuleList((self.embed, self.proj)), init)
        init_by_depth(self.layers, init)

    def positions(self, grid):
        """Sines and cosines of a grid, L x embed_dims, made when the first images of that size come."""
        if grid != self.grid:
            self.grid = grid
            made = build_2d_sincos_position_embedding(grid, self.pos_embed.shape[1])[0]
            self.pos_embed = made.to(self.pos_embed, non_blocking=True)
        return self.pos_embed

    def forward(self, context, visible, targets, grid):
        """Predict the tokens of target blocks.

        Args:
            context (Tensor): The encoder's tokens of the context, B x K x D.
            visible (Tensor): Which patches these are, B x K integers.
            targets (Tensor): The patches of M blocks, B x M x T integers. Blocks do not see each other.
            grid (tuple[int]): Rows and columns of patches.

        Returns:
            Tensor: B x MT x D.
        """
        check_channels(context.flatten(0, 1), self.in_channels, self)
        positions = self.positions(grid)
        context = self.embed(context)
        context = context + positions[visible].to(context.dtype)  # B x K x d
        queries = (self.mask_token + positions[targets]).to(context.dtype)  # B x M x T x d
        context = context[:, None].expand(-1, targets.shape[1], -1, -1)
        x = torch.cat((context, queries), 2).flatten(0, 1)  # BM x (K + T) x d
        for layer in self.layers:
            x = layer(x)
        x = self.proj(self.ln1(x[:, context.shape[2]:]))
        return x.unflatten(0, targets.shape[:2]).flatten(1, 2)

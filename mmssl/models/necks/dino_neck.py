# Copyright (c) mmssl contributors. All rights reserved.
"""Projector of DINO."""
from torch import nn

from ..builder import NECKS
from ..losses import unit_vectors
from ..utils.weight_norm import WeightNormLinear
from .mlp import MLPNeck


@NECKS.register_module()
class DINONeck(MLPNeck):
    """MLP, unit vectors, and dot products with many prototypes (DINO, https://arxiv.org/abs/2104.14294, appendix C).

    Args:
        in_channels (int, optional): Channels of the features; None where what stands before the neck tells them.
        out_channels (int): Number of prototypes.
        channels (list[int]): Width of each layer of the MLP; the last is the bottleneck.
        norm_last_layer (bool): Keep the prototypes at the length 1, which is more stable; published for ViT-B and
            larger. Without it their lengths are trained.
        norm_cfg (dict, optional): Kind of norm behind the hidden layers; None for none, as published.
        with_avg_pool (bool): Average over positions first.
        vit_backbone (bool): The backbone returns (map, class token) pairs, of which the token is taken.
        init_cfg (dict | list[dict] | None): Initialisation.
    """

    def __init__(self,
                 in_channels=None,
                 out_channels=65536,
                 channels=[2048, 2048, 256],
                 norm_last_layer=True,
                 norm_cfg=None,
                 with_avg_pool=True,
                 vit_backbone=False,
                 init_cfg=dict(type='TruncNormal', layer='Linear', std=.02, bias=0.)):
        super().__init__(
            in_channels,
            channels,
            norm_cfg,
            act='GELU',
            with_avg_pool=with_avg_pool,
            vit_backbone=vit_backbone,
            init_cfg=init_cfg)
        self.out_channels = out_channels
        self.last_layer = WeightNormLinear(channels[-1], out_channels, train_length=not norm_last_layer)

    def init_weights(self):
        super().init_weights()
        nn.init.trunc_normal_(self.last_layer.weight_v, std=.02)

    def project(self, x):
        return self.last_layer(unit_vectors(super().project(x)))

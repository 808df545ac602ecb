# Copyright (c) mmssl contributors. All rights reserved.
"""Projector of iBOT."""
import torch
from torch import nn

from ..builder import NECKS
from ..losses import similarities, unit_vectors
from ..utils.weight_norm import WeightNormLinear
from .dino_neck import DINONeck
from .mlp import MLPNeck


@NECKS.register_module()
class IBOTNeck(DINONeck):
    """The projector of DINO, for class tokens and for patches (iBOT, https://arxiv.org/abs/2111.07832, section 3.2).

    Both go through one MLP. Without patches it gives the scores of class tokens alone, as DINONeck.

    Args:
        in_channels (int, optional): Channels of the features; None where what stands before the neck tells them.
        out_channels (int): Number of prototypes of class tokens.
        patch_channels (int, optional): Number of prototypes of patches, which are others then. By default they are
            those of the class tokens, as published.
        with_avg_pool (bool): See DINONeck.
        vit_backbone (bool): See DINONeck.
        kwargs: Of DINONeck.
    """

    def __init__(self,
                 in_channels=None,
                 out_channels=8192,
                 patch_channels=None,
                 with_avg_pool=False,
                 vit_backbone=True,
                 **kwargs):
        super().__init__(in_channels, out_channels, with_avg_pool=with_avg_pool, vit_backbone=vit_backbone, **kwargs)
        self.patch_last_layer = None
        if patch_channels is not None:
            bottleneck = self.last_layer.weight_v.shape[1]
            self.patch_last_layer = WeightNormLinear(
                bottleneck, patch_channels, train_length=self.last_layer.weight_g.requires_grad)

    def init_weights(self):
        super().init_weights()
        if self.patch_last_layer is not None:
            nn.init.trunc_normal_(self.patch_last_layer.weight_v, std=.02)

    def forward(self, x, patches=None, index=None):
        """Scores of the prototypes.

        Args:
            x (tuple | list): Features, see ProjectionNeck.
            patches (Tensor, optional): Tokens of patches, M x D.
            index (Tensor, optional): Numbers of the patches whose scores are wanted; all by default.

        Returns:
            list[Tensor]: Scores of the class tokens, N x out_channels; with patches their scores too, M x
            patch_channels; and with `index` the mean scores of all patches, 1 x patch_channels.
        """
        if patches is None:
            return super().forward(x)
        tokens = torch.cat([self._vectors(part) for part in self._parts(x)])
        # batch norms, where there are some, see class tokens and patches together
        hidden = unit_vectors(MLPNeck.project(self, torch.cat([tokens, patches])))
        tokens, patches = hidden.split([len(tokens), len(patches)])
        last_layer = self.last_layer if self.patch_last_layer is None else self.patch_last_layer
        if index is None:
            return [self.last_layer(tokens), last_layer(patches)]
        # the last layer is linear: the mean over the patches needs no scores of all of them
        mean = similarities(patches.mean(0, keepdim=True), last_layer.weight)
        return [self.last_layer(tokens), last_layer(patches[index]), mean]

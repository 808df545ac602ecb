# Copyright (c) mmssl contributors. All rights reserved.
"""The encoder of SimMIM."""
import torch
from torch import nn

from ..builder import BACKBONES
from ..utils.patches import replace_masked
from .swin_transformer import SwinTransformer


@BACKBONES.register_module()
class SimMIMSwinTransformer(SwinTransformer):
    """Swin Transformer for SimMIM <https://arxiv.org/abs/2111.09886>: a learned token stands in for masked patches.

    Args:
        arch, img_size, ...: See SwinTransformer.
        kwargs: Of SwinTransformer.
    """

    def __init__(self, arch='T', **kwargs):
        super().__init__(arch=arch, **kwargs)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def init_own_weights(self):
        super().init_own_weights()
        nn.init.trunc_normal_(self.mask_token, std=.02)

    def forward(self, x, mask):
        """Images, B x C x H x W, and masks on the grid of patches, B x h x w, 1 where masked, to a tuple of maps."""
        tokens, grid = self.patch_embed(x)
        return self.encode(replace_masked(tokens, mask, self.mask_token, grid), grid)

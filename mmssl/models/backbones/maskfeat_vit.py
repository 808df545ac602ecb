# Copyright (c) mmssl contributors. All rights reserved.
"""The encoder of MaskFeat."""
from torch import nn

from ..builder import BACKBONES
from .vision_transformer import VisionTransformer, init_truncated


@BACKBONES.register_module()
class MaskFeatViT(VisionTransformer):
    """The encoder of MaskFeat <https://arxiv.org/abs/2112.09133>: a learned token stands in for masked patches.

    Args:
        arch, img_size, ...: See VisionTransformer.
        kwargs: Of VisionTransformer.
    """
    fixed_positions = False
    needs_cls_token = True

    def __init__(self, arch='b', **kwargs):
        super().__init__(arch=arch, with_mask_token=True, **kwargs)
        self.num_patches = self.patch_resolution[0] * self.patch_resolution[1]

    def init_own_weights(self):
        init_truncated(self)
        nn.init.trunc_normal_(self.mask_token, std=.02)

    def forward(self, x, mask):
        """Images, B x C x H x W, and masks on the grid of patches, B x h x w, 1 where masked, to B x (L + 1) x D."""
        return self.tokens(x, mask)

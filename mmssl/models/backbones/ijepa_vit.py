# Copyright (c) mmssl contributors. All rights reserved.
"""The vision transformer of I-JEPA."""
import functools

from torch import nn

from ..builder import BACKBONES
from ..utils.transformer_blocks import init_by_depth
from .vision_transformer import VisionTransformer


@BACKBONES.register_module()
class IJEPAViT(VisionTransformer):
    """Vision transformer without a class token, on fixed positions, initialised as I-JEPA's
    <https://arxiv.org/abs/2301.08243>.

    Args:
        arch, img_size, ...: See VisionTransformer.
        kwargs: Of VisionTransformer.
    """

    def __init__(self, arch='huge', with_cls_token=False, **kwargs):
        super().__init__(arch=arch, with_cls_token=with_cls_token, **kwargs)

    def init_own_weights(self):
        init = functools.partial(nn.init.trunc_normal_, std=.02)
        init(self.patch_embed.projection.weight)
        if self.patch_embed.projection.bias is not None:
            nn.init.zeros_(self.patch_embed.projection.bias)
        if self.cls_token is not None:
            init(self.cls_token)
        init_by_depth(self.layers, init)

# Copyright (c) mmssl contributors. All rights reserved.
"""The vision transformer of DINO."""
from torch import nn

from ..builder import BACKBONES
from ..utils.transformer_blocks import init_linears
from .vision_transformer import VisionTransformer


@BACKBONES.register_module()
class DINOViT(VisionTransformer):
    """Vision transformer with learned positions, initialised as DINO's <https://arxiv.org/abs/2104.14294>.

    Args:
        arch, img_size, ...: See VisionTransformer.
        kwargs: Of VisionTransformer.
    """
    fixed_positions = False
    needs_cls_token = True

    def __init__(self, arch='deit-small', **kwargs):
        super().__init__(arch=arch, **kwargs)

    def init_own_weights(self):
        """As published; the patch embedding keeps PyTorch's initialisation."""
        for weight in (self.cls_token, self.pos_embed):
            if weight is not None:
                nn.init.trunc_normal_(weight, std=.02)
        init_linears(self.layers, lambda weight: nn.init.trunc_normal_(weight, std=.02))

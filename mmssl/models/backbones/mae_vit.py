# Copyright (c) mmssl contributors. All rights reserved.
"""The encoder of MAE."""
import math

import torch
from torch import nn

from mmssl.utils.dist import rand_rows
from mmssl.utils.errors import ConfigError
from ..builder import BACKBONES
from ..utils.patches import patch_grid
from ..utils.transformer_blocks import init_linears
from .vision_transformer import VisionTransformer


@BACKBONES.register_module()
class MAEViT(VisionTransformer):
    """The encoder of Masked Autoencoders <https://arxiv.org/abs/2111.06377>, which sees visible patches only.

    Masked patches are not even embedded, so that the time of a step falls with the mask ratio.

    Args:
        arch, img_size, ...: See VisionTransformer.
        mask_ratio (float): Share of the patches that are masked.
        kwargs: Of VisionTransformer.

    Raises:
        ConfigError: The mask ratio leaves no patch visible, or is negative.
    """
    needs_cls_token = True

    def __init__(self, arch='b', mask_ratio=0.75, **kwargs):
        super().__init__(arch=arch, **kwargs)
        self.num_patches = self.patch_resolution[0] * self.patch_resolution[1]
        self.mask_ratio = mask_ratio
        if not (0 <= mask_ratio and self.num_visible(self.num_patches) > 0):
            raise ConfigError(f'mask_ratio={mask_ratio} of {self.num_patches} patches: it must be at least 0 and leave '
                              'a patch visible')

    def num_visible(self, count, mask_ratio=None):
        """How many of `count` patches stay visible; the class token is none of them."""
        return int(count * (1 - (self.mask_ratio if mask_ratio is None else mask_ratio)))

    def init_own_weights(self):
        nn.init.normal_(self.cls_token, std=.02)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))
        init_linears(self.layers, nn.init.xavier_uniform_)

    def random_masking(self, x, mask_ratio=0.75):
        """Choose the visible patches of each image at random (section 3, "Simple implementation").

        Args:
            x (Tensor): Patches or tokens, B x L x D.
            mask_ratio (float): Share of them that is masked.

        Returns:
            tuple[Tensor]: The visible ones in random order, B x K x D; the mask, B x L, 1 where masked, 0 where
            visible; and for each patch its place in the random order, of which the first K are visible, B x L.
        """
        count, length, _ = x.shape
        visible = self.num_visible(length, mask_ratio)
        order = rand_rows(count, length, x.device).argsort(1)
        places = order.argsort(1)
        x = x.gather(1, order[:, :visible, None].expand(-1, -1, x.shape[2]))
        return x, (places >= visible).float(), places

    def forward(self, x):
        """Images, B x C x H x W, of which most patches are left out.

        Returns:
            tuple[Tensor]: Tokens of the visible patches behind the class token, B x (K + 1) x D; mask and order as of
            random_masking.
        """
        length = math.prod(patch_grid(*x.shape[-2:], self.patch_embed.patch_size))
        numbers = torch.arange(length, device=x.device).expand(x.shape[0], -1)[..., None]
        visible, mask, places = self.random_masking(numbers, self.mask_ratio)
        return self.tokens(x, visible=visible[..., 0]), mask, places

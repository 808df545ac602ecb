# Copyright (c) mmssl contributors. All rights reserved.
"""The encoder of CAE."""
from torch import nn

from mmssl.utils.errors import ConfigError
from ..builder import BACKBONES
from ..utils.patches import check_mask, patch_grid
from ..utils.transformer_blocks import init_linears
from .vision_transformer import VisionTransformer


def split_patches(mask, num_visible):
    """Indices of the visible and of the masked patches, without a look at the number of each on the host.

    Args:
        mask (Tensor): B x L, true where masked; all rows with `num_visible` that are not.
        num_visible (int): K.

    Returns:
        tuple[Tensor]: B x K and B x (L - K), each in row order.
    """
    order = mask.to(int).argsort(dim=1, stable=True)
    return order[:, :num_visible], order[:, num_visible:]


@BACKBONES.register_module()
class CAEViT(VisionTransformer):
    """The encoder of the Context Autoencoder <https://arxiv.org/abs/2202.03026>, which sees visible patches only.

    Args:
        arch, img_size, ...: See VisionTransformer.
        kwargs: Of VisionTransformer.
    """
    needs_cls_token = True

    def __init__(self, arch='b', **kwargs):
        super().__init__(arch=arch, **kwargs)
        if self.rope is not None:
            raise ConfigError('the regressor of CAE asks by position embeddings, so CAEViT has positions of its own: '
                              'leave rope out')
        self.num_patches = self.patch_resolution[0] * self.patch_resolution[1]

    def init_own_weights(self):
        nn.init.trunc_normal_(self.cls_token, std=.02)
        nn.init.trunc_normal_(self.patch_embed.projection.weight, std=.02)
        nn.init.zeros_(self.patch_embed.projection.bias)
        init_linears(self.layers, nn.init.xavier_uniform_)

    def forward(self, img, mask, num_visible=None):
        """Images without their masked patches.

        Args:
            img (Tensor): B x C x H x W.
            mask (Tensor): Bool, B x L, true where masked; the same number in each image.
            num_visible (int, optional): Number K of patches that are not; without it the host waits for the mask.

        Returns:
            Tensor: Tokens of the visible patches, in row order behind the class token, B x (K + 1) x D.
        """
        check_mask(mask, patch_grid(*img.shape[-2:], self.patch_embed.patch_size))
        if num_visible is None:
            num_visible = int((~mask[0]).sum())
        return self.tokens(img, visible=split_patches(mask, num_visible)[0])

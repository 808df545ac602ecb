# Copyright (c) mmssl contributors. All rights reserved.
"""Head of SimMIM."""
from mmcv.runner import BaseModule

from mmssl.utils.errors import ConfigError
from ..builder import HEADS
from ..losses import masked_l1
from ..utils.patches import patch_grid


@HEADS.register_module()
class SimMIMHead(BaseModule):
    """Mean absolute error of masked pixels (SimMIM, https://arxiv.org/abs/2111.09886).

    Args:
        patch_size (int): Length of the side, in pixels, of the patches that the mask is made of.
        encoder_in_channels (int): Channels of the images.
    """

    def __init__(self, patch_size, encoder_in_channels):
        super().__init__()
        self.patch_size = patch_size
        self.encoder_in_channels = encoder_in_channels

    def forward(self, x, x_rec, mask):
        """The loss.

        Args:
            x (Tensor): Images, B x C x H x W.
            x_rec (Tensor): Predicted images, B x C x H x W.
            mask (Tensor): B x H/patch_size x W/patch_size, also flattened to B x L, 1 for a masked patch.

        Returns:
            dict[str, Tensor]: `loss`.

        Raises:
            ConfigError: Images, predictions and mask do not fit each other.
        """
        if mask.dim() == 2:
            mask = mask.unflatten(1, patch_grid(*x.shape[2:], self.patch_size))
        size = tuple(side * self.patch_size for side in mask.shape[1:])
        expected = (len(x), self.encoder_in_channels, *size)
        if x.shape != expected or x_rec.shape != expected:
            raise ConfigError(f'a mask of {tuple(mask.shape)} with patches of {self.patch_size} pixels and '
                              f'{self.encoder_in_channels} channels (patch_size and encoder_in_channels of the head) '
                              f'is for images of {expected}; the images are {tuple(x.shape)}, the predictions '
                              f'{tuple(x_rec.shape)}')
        return dict(loss=masked_l1(x_rec, x, mask))

    def mask_to_pixels(self, mask, x):
        """A mask of patches, B x H/patch_size x W/patch_size, as one of the pixels of `x`, B x C x H x W."""
        return mask.repeat_interleave(self.patch_size, 1).repeat_interleave(self.patch_size, 2)[:, None].expand_as(x)

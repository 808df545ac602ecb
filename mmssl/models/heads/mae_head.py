# Copyright (c) mmssl contributors. All rights reserved.
"""Head of MAE."""
from mmcv.runner import BaseModule

from mmssl import old_places
from mmssl.utils.errors import ConfigError
from ..builder import HEADS
from ..losses import masked_mse, patch_statistics
from ..utils.patches import patch_grid, patchify, unpatchify


@HEADS.register_module()
class MAEPretrainHead(BaseModule):
    """Mean squared error of the pixels of masked patches (MAE, https://arxiv.org/abs/2111.06377).

    Args:
        norm_pix (bool): The target is each patch normalised by its own mean and standard deviation.
        patch_size (int): Length p of a patch's side, in pixels.
    """

    def __init__(self, norm_pix=False, patch_size=16):
        super().__init__()
        self.norm_pix = norm_pix
        self.patch_size = patch_size

    def patchify(self, imgs):
        """Images, B x C x H x W, to patches, B x L x p*p*C; see mmssl.models.patchify."""
        return patchify(imgs, self.patch_size)

    def unpatchify(self, x, grid=None):
        """Patches, B x L x p*p*C, to images, B x C x H x W; `grid` is (rows, columns), by default a square."""
        return unpatchify(x, self.patch_size, grid)

    def forward(self, x, pred, mask):
        """The loss.

        Args:
            x (Tensor): Images, B x C x H x W.
            pred (Tensor): Predicted patches, B x L x p*p*C.
            mask (Tensor): B x L, 1 for a masked patch.

        Returns:
            dict[str, Tensor]: `loss`.

        Raises:
            ConfigError: The predictions are no patches of these images.
        """
        target = self.patchify(x)  # B x L x p*p*C
        if pred.shape != target.shape:
            raise ConfigError(f'the patches of these images are {tuple(target.shape)} (images, patches, values), the '
                              f'predictions {tuple(pred.shape)}: patch_size and in_chans of the neck must be those of '
                              f'the images, and patch_size of the head, {self.patch_size}, that of the neck')
        if self.norm_pix:
            mean, std = patch_statistics(target)
            target = (target - mean) / std
        return dict(loss=masked_mse(pred, target, mask))

    def to_pixels(self, pred, x):
        """Predictions as images, for a look at them.

        Args:
            pred (Tensor): Predicted patches, B x L x p*p*C.
            x (Tensor): The images, B x C x H x W; with `norm_pix` the means and deviations of their patches are used.

        Returns:
            Tensor: B x C x H x W, on the scale of `x`.
        """
        if self.norm_pix:
            mean, std = patch_statistics(self.patchify(x))
            pred = pred * std + mean
        return self.unpatchify(pred, patch_grid(*x.shape[-2:], self.patch_size))

    def mask_to_pixels(self, mask, x):
        """A mask of patches, B x L, as one of the pixels of `x`, B x C x H x W."""
        patches = mask[:, :, None].expand(-1, -1, x.shape[1] * self.patch_size**2)
        return self.unpatchify(patches, patch_grid(*x.shape[-2:], self.patch_size))


def __getattr__(name):
    return old_places.lookup(__name__, name)

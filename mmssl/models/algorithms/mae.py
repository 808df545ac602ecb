# Copyright (c) mmssl contributors. All rights reserved.
"""MAE."""
from ..builder import ALGORITHMS
from ..utils.patches import patch_grid
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class MAE(BackboneNeckHead):
    """Masked Autoencoders <https://arxiv.org/abs/2111.06377>: rebuild the pixels of masked patches.

    Args:
        backbone (dict): Config of the encoder, which masks.
        neck (dict): Config of the decoder.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """
    has_fixed_targets = True
    heads = ('MAEPretrainHead', )

    def extract_feat(self, img):
        """Images, B x C x H x W, without masks to the encoder's (map, class token) pairs."""
        return self.backbone.extract_feat(img)

    def reconstruct(self, img):
        """Images to predicted patches, B x L x p*p*C, and the mask, B x L, 1 where masked."""
        latent, mask, ids_restore = self.backbone(img)  # B x (K + 1) x D
        grid = patch_grid(*img.shape[-2:], self.backbone.patch_embed.patch_size)
        return self.neck(latent, ids_restore, grid), mask

    def forward_train(self, img, **kwargs):
        """Images, B x C x H x W, to the loss."""
        return self.head(one_view(img), *self.reconstruct(img))

    def forward_test(self, img, **kwargs):
        """Images to reconstructions, B x C x H x W in the scale of the images, and masks of the same size."""
        img = one_view(img)
        pred, mask = self.reconstruct(img)
        return dict(reconstruction=self.head.to_pixels(pred, img), mask=self.head.mask_to_pixels(mask, img))

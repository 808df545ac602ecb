# Copyright (c) mmssl contributors. All rights reserved.
"""SimMIM."""
from ..builder import ALGORITHMS
from .base import BackboneNeckHead, masked_view


@ALGORITHMS.register_module()
class SimMIM(BackboneNeckHead):
    """SimMIM <https://arxiv.org/abs/2111.09886>: regress the colours of masked patches from an encoder of all patches.

    Args:
        backbone (dict): Config of the encoder, whose mask token stands in for masked patches.
        neck (dict): Config of the linear decoder.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """
    has_fixed_targets = True
    heads = ('SimMIMHead', )

    def extract_feat(self, img):
        """Images, B x C x H x W, without masks to the encoder's maps."""
        return self.backbone.extract_feat(img)

    def reconstruct(self, img, mask):
        """Images, B x C x H x W, to predicted ones, of which `mask` (B x h x w, 1 where masked) hides patches."""
        return self.neck(self.backbone(img, mask)[-1])

    def forward_train(self, img, **kwargs):
        """Images (B x C x H x W) and masks of the patches (B x h x w or B x L, 1 where masked) to the loss."""
        img, mask = masked_view(img, ('an image', 'a mask'), self.backbone)
        return self.head(img, self.reconstruct(img, mask), mask)

    def forward_test(self, img, **kwargs):
        """Images and masks, as in training, to reconstructions, B x C x H x W, and masks of the same size."""
        img, mask = masked_view(img, ('an image', 'a mask'), self.backbone)
        return dict(reconstruction=self.reconstruct(img, mask), mask=self.head.mask_to_pixels(mask, img))

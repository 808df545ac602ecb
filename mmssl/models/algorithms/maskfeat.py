# Copyright (c) mmssl contributors. All rights reserved.
"""MaskFeat."""
from ..builder import ALGORITHMS
from ..utils.hog_layer import HOGLayerC, hog_of_patches
from .base import BackboneNeckHead, masked_view


@ALGORITHMS.register_module()
class MaskFeat(BackboneNeckHead):
    """MaskFeat <https://arxiv.org/abs/2112.09133>: predict histograms of oriented gradients of masked patches.

    Args:
        backbone (dict): Config of the encoder, whose mask token stands in for masked patches.
        head (dict): Config of the linear prediction and the loss.
        hog_para (dict): Arguments of HOGLayerC.
        init_cfg (dict, optional): Initialisation.
    """
    has_fixed_targets = True
    heads = ('MaskFeatPretrainHead', )
    optional_parts = ('neck', )

    def __init__(self, backbone, head, hog_para, init_cfg=None):
        super().__init__(backbone, None, head, init_cfg)
        self.hog_layer = HOGLayerC(**hog_para)

    def extract_feat(self, img):
        """Images, B x C x H x W, without masks to the encoder's (map, class token) pairs."""
        return self.backbone.extract_feat(img)

    def forward_train(self, img, **kwargs):
        """Images (B x C x H x W) and masks of the patches (B x h x w or B x L, 1 where masked) to the loss."""
        img, mask = masked_view(img, ('an image', 'a mask'), self.backbone)
        latent = self.backbone(img, mask)  # B x (L + 1) x D
        hog = hog_of_patches(self.hog_layer(img), mask.shape[1:])  # B x L x C*nbins*cells
        return self.head(latent, hog, mask)

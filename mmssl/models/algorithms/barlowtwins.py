# Copyright (c) mmssl contributors. All rights reserved.
"""Barlow Twins."""
from ..builder import ALGORITHMS
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class BarlowTwins(BackboneNeckHead):
    """Self-Supervised Learning via Redundancy Reduction <https://arxiv.org/abs/2103.03230>.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('LatentCrossCorrelationHead', )
    compares_images = True

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss and its two terms."""
        # one pass a view, as published: batch norm sees one view at a time
        z_1, z_2 = (self.neck(self.backbone(view))[0] for view in two_views(img))  # B x D
        return self.head(z_1, z_2)

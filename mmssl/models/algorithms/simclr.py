# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR."""
import torch

from mmssl.utils.dist import gather_with_grad, get_rank
from ..builder import ALGORITHMS
from ..losses import pairs_of_views, unit_vectors
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class SimCLR(BackboneNeckHead):
    """A Simple Framework for Contrastive Learning of Visual Representations <https://arxiv.org/abs/2002.05709>.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """

    compares_images = True

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        # both views in one pass, as published: batch norm sees 2B images
        z = self.neck(self.backbone(torch.cat(two_views(img))))[0]  # 2B x D
        z = unit_vectors(z)
        keys = gather_with_grad(z)  # 2BW x D, the anchors of all W processes
        return self.head(*pairs_of_views(z, keys, first=get_rank() * len(z)))

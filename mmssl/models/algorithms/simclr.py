# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR."""
from mmssl.utils.dist import gather_with_grad, get_rank
from ..builder import ALGORITHMS
from ..losses import pairs_of_views, unit_vectors
from .base import BackboneNeckHead, by_size, several_views


@ALGORITHMS.register_module()
class SimCLR(BackboneNeckHead):
    """A Simple Framework for Contrastive Learning of Visual Representations <https://arxiv.org/abs/2002.05709>.

    With more than two views, which may be of several sizes, each other view of an image is a positive key with a
    denominator of its own, as in the multi-crop training of SwAV <https://arxiv.org/abs/2006.09882>.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('ContrastiveHead', 'DCLHead')
    compares_images = True

    def project(self, img):
        """V views (list of B x C x H x W, those of one size in a row) to unit vectors, VB x D, view by view."""
        # all views of a size in one pass, as published: batch norm sees all of them
        maps = [self.backbone(views) for views in by_size(several_views(img))]
        return unit_vectors(self.neck(maps if len(maps) > 1 else maps[0])[0])

    def forward_train(self, img, **kwargs):
        """V views (list of B x C x H x W, those of one size in a row) to the loss."""
        z = self.project(img)
        keys = gather_with_grad(z)  # VBW x D, the anchors of all W processes
        return self.head(*pairs_of_views(z, keys, first=get_rank() * len(z), views=len(img)))

# Copyright (c) mmssl contributors. All rights reserved.
"""LeJEPA."""
from ..builder import ALGORITHMS
from .base import BackboneNeckHead, by_size, large_first


@ALGORITHMS.register_module()
class LeJEPA(BackboneNeckHead):
    """LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics <https://arxiv.org/abs/2511.08544>.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('LeJEPAHead', )
    compares_images = True

    def forward_train(self, img, **kwargs):
        """Views (list of B x C x H x W, large ones first, those of one size in a row) to the loss and its terms."""
        sizes = by_size(large_first(img))
        # one pass for all views of a size; the projector's batch norm sees all of them
        z = self.neck([self.backbone(views) for views in sizes])[0]  # VB x D
        return self.head(z.unflatten(0, (len(img), -1)), num_global=len(sizes[0]) // len(img[0]))

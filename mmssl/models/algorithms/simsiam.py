# Copyright (c) mmssl contributors. All rights reserved.
"""SimSiam."""
from ..builder import ALGORITHMS
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class SimSiam(BackboneNeckHead):
    """Exploring Simple Siamese Representation Learning <https://arxiv.org/abs/2011.10566>.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, which holds the predictor and stops the gradient of its target.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('LatentPredictHead', 'LatentClsHead')
    online_name = 'encoder'

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        img_1, img_2 = two_views(img)
        # one pass a view, as published: batch norm sees one view at a time
        z_1 = self.neck(self.backbone(img_1))[0]  # B x D
        z_2 = self.neck(self.backbone(img_2))[0]
        return dict(loss=0.5 * (self.head(z_1, z_2)['loss'] + self.head(z_2, z_1)['loss']))

# Copyright (c) mmssl contributors. All rights reserved.
"""NNCLR."""
from mmssl.utils.dist import concat_all_gather
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from ..losses import unit_vectors
from ..memories import enqueue, nearest_keys, new_queue
from ..utils.channels import feature_channels
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class NNCLR(BackboneNeckHead):
    """With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning <https://arxiv.org/abs/2104.14548>.

    SimCLR whose positives are of other images: the nearest neighbour of one view in a queue of earlier projections is
    to be told from those of the other images by the prediction of the other view.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, a NNCLRHead, which holds the predictor.
        queue_len (int): Length of the queue. It holds projections of first views of all processes.
        feat_dim (int): Dimension of the projections.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: Projector, predictor and queue differ in width.
    """
    heads = ('NNCLRHead', )
    compares_images = True

    def __init__(self, backbone, neck=None, head=None, queue_len=65536, feat_dim=256, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        for name, part in (('neck', self.neck), ('head.predictor', getattr(self.head, 'predictor', None))):
            width = feature_channels(part)
            if width not in (None, feat_dim):
                raise ConfigError(f'model.feat_dim is {feat_dim}, model.{name} gives {width} dimensions: set both to '
                                  'the same')
        self.queue_len = queue_len
        queue, queue_ptr = new_queue(feat_dim, queue_len)
        self.register_buffer('queue', queue)  # feat_dim x queue_len
        self.register_buffer('queue_ptr', queue_ptr)

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        # one pass a view: batch norm sees one view at a time
        z_1, z_2 = (self.neck(self.backbone(view))[0] for view in two_views(img))  # B x D
        unit_1, unit_2 = unit_vectors(z_1.detach()), unit_vectors(z_2.detach())
        loss = self.head(z_2, nearest_keys(unit_1, self.queue)) + self.head(z_1, nearest_keys(unit_2, self.queue))
        if self.training:
            enqueue(self.queue, self.queue_ptr, concat_all_gather(unit_1))
        return dict(loss=loss / 2)

# Copyright (c) mmssl contributors. All rights reserved.
"""BYOL."""
from ..builder import ALGORITHMS
from ..utils.momentum_encoder import MomentumEncoder
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class BYOL(BackboneNeckHead):
    """Bootstrap Your Own Latent <https://arxiv.org/abs/2006.07733>.

    `MomentumUpdateHook` raises `momentum` from `base_momentum` to 1 and calls `momentum_update` after each step.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, which holds the predictor.
        base_momentum (float): Share of the target network that stays at an update, at the start.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('LatentPredictHead', 'LatentClsHead')
    online_name = 'online_net'
    momentum_parts = ('target_net', )

    def __init__(self, backbone, neck=None, head=None, base_momentum=0.996, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        self.target_net = MomentumEncoder(self.backbone, self.neck)
        self.base_momentum = base_momentum
        self.momentum = base_momentum

    def copy_momentum_parts(self):
        self.target_net.copy_from(self.backbone, self.neck)

    def momentum_update(self):
        """Move the target network towards the online one."""
        self.target_net.follow(self.backbone, self.neck, momentum=self.momentum)

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        img_1, img_2 = two_views(img)
        # one pass a view, as published: batch norm sees one view at a time
        online_1 = self.neck(self.backbone(img_1))[0]  # B x D
        online_2 = self.neck(self.backbone(img_2))[0]
        target_1 = self.target_net(img_1)[0]
        target_2 = self.target_net(img_2)[0]
        loss = self.head(online_1, target_2)['loss'] + self.head(online_2, target_1)['loss']
        # the squared distance of unit vectors is 2 - 2 cos; the constant is left out
        return dict(loss=2 * loss)

    def compile_parts(self):
        return [*super().compile_parts(), *self.target_net]

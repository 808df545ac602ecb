# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v3."""
from ..builder import ALGORITHMS
from ..utils.momentum_encoder import MomentumEncoder
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class MoCoV3(BackboneNeckHead):
    """MoCo v3 <https://arxiv.org/abs/2104.02057>: contrast with the keys of the batch, for vision transformers.

    `MomentumUpdateHook` raises `momentum` from `base_momentum` to 1 and calls `momentum_update` after each step.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, which holds the predictor.
        base_momentum (float): Share of the key encoder that stays at an update, at the start.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('MoCoV3Head', )
    compares_images = True
    online_name = 'base_encoder'
    momentum_parts = ('momentum_encoder', )

    def __init__(self, backbone, neck, head, base_momentum=0.99, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        self.momentum_encoder = MomentumEncoder(self.backbone, self.neck)
        self.base_momentum = base_momentum
        self.momentum = base_momentum

    def copy_momentum_parts(self):
        self.momentum_encoder.copy_from(self.backbone, self.neck)

    def momentum_update(self):
        """Move the key encoder towards the other."""
        self.momentum_encoder.follow(self.backbone, self.neck, momentum=self.momentum)

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        img_1, img_2 = two_views(img)
        q_1, q_2 = (self.neck(self.backbone(view))[0] for view in (img_1, img_2))  # B x D
        k_1, k_2 = (self.momentum_encoder(view)[0] for view in (img_1, img_2))
        return dict(loss=self.head(q_1, k_2)['loss'] + self.head(q_2, k_1)['loss'])

    def compile_parts(self):
        return [*super().compile_parts(), *self.momentum_encoder]

# Copyright (c) mmssl contributors. All rights reserved.
"""DINO."""
from mmssl.utils.logger import get_root_logger
from ..builder import ALGORITHMS
from ..utils.momentum_encoder import MomentumEncoder
from .base import BackboneNeckHead, by_size, large_first


@ALGORITHMS.register_module()
class DINO(BackboneNeckHead):
    """Emerging Properties in Self-Supervised Vision Transformers <https://arxiv.org/abs/2104.14294>.

    The teacher is a moving average of the student's parameters; its batch norms, where it has some, use the statistics
    of its own batches, and it drops no paths. `MomentumUpdateHook` raises `momentum` from `base_momentum` to 1 and
    calls `momentum_update` after each step.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector, a DINONeck.
        head (dict): Config of the loss, a DINOHead.
        base_momentum (float): Share of the teacher that stays at an update, at the start.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('DINOHead', )
    momentum_parts = ('teacher', )

    def __init__(self, backbone, neck=None, head=None, base_momentum=0.996, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        self.teacher = MomentumEncoder(*self.followed, drop_path=False)
        self.base_momentum = base_momentum
        self.momentum = base_momentum

    def init_weights(self):
        """See BaseModel. A projector that is not loaded with the backbone is new to it, which the log says."""
        super().init_weights()
        cfg = self.backbone.init_cfg if isinstance(getattr(self.backbone, 'init_cfg', None), dict) else {}
        if cfg.get('type') == 'Pretrained':
            get_root_logger().info(
                f'{type(self).__name__} begins with the backbone of {cfg["checkpoint"]}, in student and teacher; '
                'projectors and prototypes begin at random, as published files of backbones do not hold them')

    @property
    def followed(self):
        """tuple[nn.Module]: What the teacher is a moving average of."""
        return self.backbone, self.neck

    def copy_momentum_parts(self):
        self.teacher.copy_from(*self.followed)

    def momentum_update(self):
        """Move the teacher towards the student: parameters alone, as published."""
        self.teacher.follow(*self.followed, momentum=self.momentum, buffers='keep')

    def forward_train(self, img, **kwargs):
        """Views (list of B x C x H x W, large ones first, those of one size in a row) to the loss."""
        sizes = by_size(large_first(img))
        # one pass for all views of a size, and one of the projector for all
        student = self.neck([self.backbone(views) for views in sizes])[0].unflatten(0, (len(img), -1))  # V x B x K
        large = len(sizes[0]) // len(img[0])
        teacher = self.teacher(sizes[0])[0].unflatten(0, (large, -1))  # G x B x K
        return self.head(student, teacher)

    def compile_parts(self):
        return [*super().compile_parts(), *self.teacher]

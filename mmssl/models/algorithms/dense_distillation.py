# Copyright (c) mmssl contributors. All rights reserved.
"""Distillation of maps."""
from ..builder import ALGORITHMS
from ..utils.maps import resize_map
from .base import one_view
from .distillation import Distillation


@ALGORITHMS.register_module()
class DenseDistillation(Distillation):
    """A student whose map is to be that of its teacher, place by place.

    The teacher's map is that of all its outputs, one behind the other (`teacher.backbone.out_indices`). The student's
    projections are enlarged or reduced to its height and width.

    Args:
        backbone, teacher, init_cfg: See Distillation.
        neck (dict): Config of the projector, a MapNeck.
        head (dict): Config of the loss, a DenseDistillationHead.
    """
    heads = ('DenseDistillationHead', )

    @property
    def taught_channels(self):
        self.need_network()
        return self.teacher.map_channels

    def forward_train(self, img, **kwargs):
        """Images (B x C x H x W), which student and teacher both see, to the loss."""
        teacher = self.teacher.join_maps(self.teacher.outputs(one_view(img)))  # B x D x h x w
        student = resize_map(self.neck(self.backbone(img))[0], teacher.shape[-2:])
        return self.head(student, teacher)

# Copyright (c) mmssl contributors. All rights reserved.
"""SimReg."""
from ..builder import ALGORITHMS
from .base import one_view
from .distillation import Distillation


@ALGORITHMS.register_module()
class SimReg(Distillation):
    """SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge Distillation (BMVC 2021).

    The neck is a deep MLP that is thrown away after the training; there are no other images to compare with.

    Args:
        backbone, neck, head, teacher, init_cfg: See Distillation; the head is a SimRegHead.
    """
    heads = ('SimRegHead', )

    def forward_train(self, img, idx=None, **kwargs):
        """Images (B x C x H x W) and their numbers in the data set (B) to the loss."""
        teacher = self.teacher(one_view(img), idx)  # B x D
        return self.head(self.neck(self.backbone(img))[0], teacher)

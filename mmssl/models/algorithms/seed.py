# Copyright (c) mmssl contributors. All rights reserved.
"""SEED."""
from mmssl.utils.dist import concat_all_gather
from ..builder import ALGORITHMS
from ..losses import unit_vectors
from ..memories import enqueue, new_queue
from .base import one_view
from .distillation import Distillation


@ALGORITHMS.register_module()
class SEED(Distillation):
    """Self-supervised Distillation for Visual Representation <https://arxiv.org/abs/2101.04731>.

    Args:
        backbone, neck, head, teacher, init_cfg: See Distillation; the head is a SEEDHead.
        queue_len (int): Number of teacher features in the queue, less than there are images.

    Attributes:
        queue (Tensor): Teacher features of unit length of all processes, D x queue_len.
    """
    heads = ('SEEDHead', )

    def __init__(self, backbone, neck=None, head=None, teacher=None, queue_len=65536, init_cfg=None):
        super().__init__(backbone, neck, head, teacher, init_cfg)
        self.queue_len = queue_len
        queue, queue_ptr = new_queue(self.neck.out_channels, queue_len)
        self.register_buffer('queue', queue)
        self.register_buffer('queue_ptr', queue_ptr)

    def forward_train(self, img, idx=None, **kwargs):
        """Images (B x C x H x W) and their numbers in the data set (B) to the loss."""
        return self.relate(self.backbone(one_view(img)), self.teacher(img, idx))

    def relate(self, maps, teacher):
        """Maps of the student and features of the teacher (B x D) to the loss; the queue takes the features."""
        teacher = unit_vectors(teacher)
        student = unit_vectors(self.neck(maps)[0])  # B x D
        # a copy, because the queue changes before the backward pass reads it
        losses = self.head(student, teacher, self.queue.clone())
        if self.training:
            enqueue(self.queue, self.queue_ptr, concat_all_gather(teacher))
        return losses

# Copyright (c) mmssl contributors. All rights reserved.
"""ReSSL."""
import torch

from mmssl.utils.dist import concat_all_gather
from ..builder import ALGORITHMS
from ..losses import unit_vectors
from ..memories import enqueue
from .base import by_size, several_views
from .moco import MoCo


@ALGORITHMS.register_module()
class ReSSL(MoCo):
    """Relational Self-Supervised Learning with Weak Augmentation <https://arxiv.org/abs/2107.09282>.

    A momentum encoder sees a weakly augmented view and tells how similar the image is to those of a queue. From
    strongly augmented views the student is to tell the same. No image is a negative of another.

    Args:
        backbone, neck, queue_len, feat_dim, momentum, init_cfg: See MoCo.
        head (dict): Config of the loss, a ReSSLHead.
    """
    heads = ('ReSSLHead', )

    def forward_train(self, img, **kwargs):
        """V views (list of B x C x H x W: the weak one, then strong ones, those of one size in a row) to the loss."""
        weak, *strong = several_views(img)
        student = torch.cat([self.neck(self.backbone(views))[0] for views in by_size(strong)])  # (V - 1)B x D
        teacher = self.compute_keys(weak)  # B x D
        # a copy, because the queue changes before the backward pass reads it
        losses = self.head(unit_vectors(student), teacher.repeat(len(strong), 1), self.queue.clone())
        if self.training:
            enqueue(self.queue, self.queue_ptr, concat_all_gather(teacher))
        return losses

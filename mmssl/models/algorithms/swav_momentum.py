# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV with a momentum encoder."""
import torch

from ..builder import ALGORITHMS
from ..utils.iteration_counter import IterationCounter
from ..utils.momentum_encoder import MomentumEncoder
from .base import by_size
from .swav import SwAV


@ALGORITHMS.register_module()
class SwAVMomentum(SwAV):
    """SwAV whose codes come from a moving average of the network and its prototypes, as VISSL's swav_momentum_loss.

    The average sees the crops of `head.crops_for_assign` alone, and the online network predicts their codes from all
    crops. A queue of the head holds features of the average.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head; see SwAV.
        momentum (float): Share of the average that stays at an update.
        eval_mode_iters (int): Iterations after which the batch norms of the average use the running statistics of the
            online network, instead of those of the batch; 0 is from the start.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ValueError: A negative number of iterations.
    """
    heads = ('SwAVHead', )
    momentum_parts = ('target_net', )

    def __init__(self, backbone, neck=None, head=None, momentum=0.99, eval_mode_iters=0, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        if eval_mode_iters < 0:
            raise ValueError(f'eval_mode_iters cannot be negative, got {eval_mode_iters!r}')
        self.target_net = MomentumEncoder(self.backbone, self.neck, self.head.prototypes)
        self.momentum = momentum
        self.eval_mode_iters = eval_mode_iters
        self.counter = IterationCounter()

    def copy_momentum_parts(self):
        self.head.normalize_prototypes()
        self.target_net.copy_from(self.backbone, self.neck, self.head.prototypes)

    def forward_train(self, img, **kwargs):
        """Crops (list of B x C x H x W, those of one size in a row) to the loss."""
        self.check_crops(img)
        targets = self.compute_targets([img[crop] for crop in self.head.crops_for_assign])  # AB x D
        losses = self.head(self.project(img), targets, self.target_net[2])
        if self.training:
            self.counter.step()
        return losses

    @torch.no_grad()
    def compute_targets(self, img):
        """Projections of crops by the average, which takes its step first."""
        backbone, neck, prototypes = self.target_net
        if self.training and self.is_update_iter:
            self.head.normalize_prototypes()
            self.target_net.follow(
                self.backbone, self.neck, self.head.prototypes, momentum=self.momentum, buffers='copy')
            self.head.normalize_prototypes(prototypes)
        self.target_net.train(self.training and self.counter.done < self.eval_mode_iters)
        return neck([backbone(crops) for crops in by_size(img)])[0]

    def compile_parts(self):
        return [*super().compile_parts(), *list(self.target_net)[:2]]

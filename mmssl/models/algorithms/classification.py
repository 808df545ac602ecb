# Copyright (c) mmssl contributors. All rights reserved.
"""Supervised classification, also of frozen features."""
from ..builder import ALGORITHMS
from ..utils.augment import build_augments
from .base import BackboneNeckHead, scores_by_stage


@ALGORITHMS.register_module()
class Classification(BackboneNeckHead):
    """A backbone and a classifier.

    Args:
        backbone (dict): Config of the backbone; its `frozen_stages`, where it has them, freeze a part of it.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.
        head (dict, optional): Config of the head (ClsHead, MultiClsHead); without it only features can be extracted.
        train_cfg (dict, optional): `augments`: config of mmcls's batch augmentations (Mixup, CutMix).
        init_cfg (dict, optional): Initialisation.
        freeze_backbone (bool): Linear probe of any backbone: it gets no gradient, and its norms keep their statistics.
    """

    optional_parts = ('neck', 'head')

    def __init__(self, backbone, with_sobel=False, head=None, train_cfg=None, init_cfg=None, freeze_backbone=False):
        super().__init__(backbone, None, head, init_cfg, with_sobel)
        if hasattr(self.head, 'loss_names'):
            self.loss_names = self.head.loss_names
        self.augments = build_augments(train_cfg, self.head)
        if self.augments is not None:
            self.head.soft_labels = True
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False)

    @property
    def needs_labels(self):
        return self.augments is not None

    def train(self, mode=True):
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward_train(self, img, label, **kwargs):
        """Images (N x C x H x W) and labels (N, -1 = unlabelled) to losses and accuracies."""
        if self.augments is not None:
            img, label = self.augments(img, label)
        return self.head.loss(self.head(self.extract_feat(img)), label)

    def forward_test(self, img, **kwargs):
        """Images to scores (N x num_classes, on the CPU) by stage, such as head4; see scores_by_stage."""
        return scores_by_stage(self.backbone, self.head(self.extract_feat(img)))

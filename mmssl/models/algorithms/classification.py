# Copyright (c) mmssl contributors. All rights reserved.
"""Supervised classification, also of frozen features."""
from ..builder import ALGORITHMS, build_backbone, build_head
from ..utils.augment import build_augments
from .base import BaseModel


@ALGORITHMS.register_module()
class Classification(BaseModel):
    """A backbone and a classifier.

    Args:
        backbone (dict): Config of the backbone; its `frozen_stages`, where it has them, freeze a part of it.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.
        head (dict, optional): Config of the head (ClsHead, MultiClsHead); without it only features can be extracted.
        train_cfg (dict, optional): `augments`: config of mmcls's batch augmentations (Mixup, CutMix).
        init_cfg (dict, optional): Initialisation.
        freeze_backbone (bool): Linear probe of any backbone: it gets no gradient, and its norms keep their statistics.
    """

    def __init__(self, backbone, with_sobel=False, head=None, train_cfg=None, init_cfg=None, freeze_backbone=False):
        super().__init__(init_cfg, with_sobel)
        self.backbone = build_backbone(backbone)
        self.head = None if head is None else build_head(head)
        if self.with_head:
            self.loss_names = getattr(self.head, 'loss_names', self.loss_names)
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
        """Images to scores (N x num_classes, on the CPU) by head.

        They are named by the stages in the backbone's `out_indices`, such as head4, or head0 where it has none. The
        scores of MultiClsHead's unpooled map are the last ones, head4_unpool.
        """
        scores = [score.cpu() for score in self.head(self.extract_feat(img))]
        stages = list(getattr(self.backbone, 'out_indices', None) or range(len(scores)))
        if len(scores) == 1:  # a head on the last map only
            stages = stages[-1:]
        names = [*(f'head{stage}' for stage in stages), f'head{stages[-1]}_unpool']
        return dict(zip(names, scores))

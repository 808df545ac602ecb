# Copyright (c) mmssl contributors. All rights reserved.
"""Classifiers on a pre-trained transformer: for fine-tuning, and for a linear probe."""
from torch import nn

from ..builder import HEADS
from ..utils.channels import check_channels
from .criterion import ScoreHead


@HEADS.register_module()
class MAEFinetuneHead(ScoreHead):
    """Linear classifier for the fine-tuning of MAE (https://arxiv.org/abs/2111.06377, appendix A.1).

    Args:
        embed_dim (int): Dimension of the features.
        num_classes (int): Number of classes.
        label_smooth_val (float): Share of each label that is spread over all classes, of mixed labels too.
        soft_labels (bool): Take shares of classes, N x num_classes floats, as labels; see cross_entropy.
    """
    loss_names = ('loss', )
    weight_std = 2e-5  # begins near zero, so that its first gradients do not upset the backbone

    def __init__(self, embed_dim, num_classes=1000, label_smooth_val=0.1, soft_labels=False):
        super().__init__(None, soft_labels, dict(type='TruncNormal', layer='Linear', std=self.weight_std))
        if not 0 <= label_smooth_val < 1:
            raise ValueError(f'label_smooth_val must be at least 0 and below 1, got {label_smooth_val}')
        self.num_classes = num_classes
        self.label_smooth_val = label_smooth_val
        self.head = nn.Linear(embed_dim, num_classes)

    def forward(self, x):
        """Features (the last of a tuple, N x embed_dim) to [scores, N x num_classes]."""
        check_channels(x[-1], self.head.in_features, self, 'embed_dim')
        return [self.head(x[-1])]

    def loss(self, outputs, labels):
        """Loss and accuracy.

        Args:
            outputs (list[Tensor]): What `forward` returned.
            labels (Tensor): N integers (-1 = unlabelled), or with `soft_labels` also N x num_classes floats.

        Returns:
            dict[str, Tensor]: `loss`, and `acc` in percent.
        """
        loss, acc = self.compare(outputs[0], labels, label_smoothing=self.label_smooth_val)
        return dict(loss=loss, acc=acc)


@HEADS.register_module()
class MaskFeatFinetuneHead(MAEFinetuneHead):
    """The classifier for the fine-tuning of MaskFeat (https://arxiv.org/abs/2112.09133), which is that of MAE."""


@HEADS.register_module()
class MAELinprobeHead(MAEFinetuneHead):
    """Linear classifier on frozen features, which a batch norm scales (MAE, appendix A.1).

    Args:
        embed_dim (int): Dimension of the features.
        num_classes (int): Number of classes.
    """
    weight_std = 0.01

    def __init__(self, embed_dim, num_classes=1000):
        super().__init__(embed_dim, num_classes, label_smooth_val=0.)
        self.bn = nn.BatchNorm1d(embed_dim, affine=False, eps=1e-6)

    def forward(self, x):
        check_channels(x[-1], self.head.in_features, self, 'embed_dim')
        return super().forward([self.bn(x[-1])])

# Copyright (c) mmssl contributors. All rights reserved.
"""Linear classifier on one stage."""
import math

from mmcv.cnn import initialize
from torch import nn
from torch.nn import functional as F

from ..builder import HEADS
from ..necks.mlp import build_vector_norm
from ..utils.channels import check_channels
from .criterion import ScoreHead


@HEADS.register_module()
class ClsHead(ScoreHead):
    """A linear classifier, with cross-entropy or another loss.

    Args:
        with_avg_pool (bool): Average over positions first; without it maps are flattened.
        in_channels (int): Dimension of the features after that.
        num_classes (int): Number of classes.
        vit_backbone (bool): The backbone returns (map, class token) pairs, of which the token is taken.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
        with_l2_norm (bool): Scale each feature to length one first.
        soft_labels (bool): Take shares of classes, N x num_classes floats, as labels; see cross_entropy.
        loss (dict, optional): Config of another loss than cross-entropy, or of one with other settings, such as
            dict(type='MultiLabelLoss') for several labels an image, or dict(type='CrossEntropyLoss',
            label_smoothing=0.1).
        norm_cfg (dict, optional): Batch norm of the features before the classifier (BN or SyncBN), so that features of
            any scale suit one learning rate; dict(type='SyncBN', affine=False) has no parameters.

    Attributes:
        uniform_values, sharpness, uniform_kind: See DINOHead; none where the loss is another than cross-entropy.
    """
    sharpness = ()
    uniform_kind = 'classes'
    loss_names = ('loss', )

    def __init__(self,
                 with_avg_pool=False,
                 in_channels=2048,
                 num_classes=1000,
                 vit_backbone=False,
                 init_cfg=[
                     dict(type='Normal', std=0.01, layer='Linear'),
                     dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
                 ],
                 with_l2_norm=False,
                 soft_labels=False,
                 loss=None,
                 norm_cfg=None):
        super().__init__(loss, soft_labels, init_cfg)
        self.with_avg_pool = with_avg_pool
        self.vit_backbone = vit_backbone
        self.with_l2_norm = with_l2_norm
        self.num_classes = num_classes
        self.uniform_values = dict(loss=math.log(num_classes)) if loss is None and num_classes > 1 else {}
        self.norm = None if norm_cfg is None else build_vector_norm(norm_cfg, in_channels)
        self.fc_cls = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        """Features (the last of a tuple or list; N x C x H x W or N x C) to [scores, N x num_classes]."""
        x = x[-1]
        if self.vit_backbone:
            x = x[-1]
        if self.with_avg_pool and x.dim() == 4:
            x = x.mean((2, 3))
        x = x.flatten(1)
        check_channels(x, self.fc_cls.in_features, self)
        if self.with_l2_norm:
            x = F.normalize(x, dim=1)
        return [self.fc_cls(x if self.norm is None else self.norm(x))]

    def reset(self):
        """Draw the weights anew, for labels that mean something else than those before."""
        self.fc_cls.reset_parameters()
        if self.init_cfg:
            initialize(self, self.init_cfg)  # init_weights() would refuse a second time

    def loss(self, cls_score, labels, weight=None):
        """Loss and accuracy.

        Args:
            cls_score (list[Tensor]): What `forward` returned.
            labels (Tensor): N integers (-1 = unlabelled), or with `soft_labels` also N x num_classes floats, or what
                another loss takes, such as N x num_classes integers (1, 0, -1 = left open) of several labels an image.
            weight (Tensor, optional): Weight of each class in the loss, num_classes; see cross_entropy.

        Returns:
            dict[str, Tensor]: `loss`, and `acc` in percent where the labels are classes; see accuracy.
        """
        loss, acc = self.compare(cls_score[0], labels, weight)
        return dict(loss=loss) if acc is None else dict(loss=loss, acc=acc)

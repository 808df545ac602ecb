# Copyright (c) mmssl contributors. All rights reserved.
"""Linear classifiers on several stages at once."""
from mmcv.cnn import build_norm_layer
from torch import nn
from torch.nn.modules.utils import _pair

from ..builder import HEADS
from ..utils.multi_pooling import MultiPooling
from .criterion import ScoreHead


@HEADS.register_module()
class MultiClsHead(ScoreHead):
    """A linear classifier for each of several stages, each with pooling and batch norm before it.

    Args:
        pool_type (str | list[str]): See MultiPooling.
        in_indices (Sequence[int]): The stages that the input comes from, 0 (stem) to 4.
        with_last_layer_unpool (bool): One more classifier on the last stage's map as it is, 7 x 7 where map_sizes does
            not say otherwise.
        backbone (str): Name of the ResNet, such as 'resnet50', where nothing else tells the channels.
        norm_cfg (dict): Kind of norm; dict(type='null') for none.
        num_classes (int): Number of classes.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
        soft_labels (bool): Take shares of classes, N x num_classes floats, as labels; see cross_entropy.
        loss (dict, optional): Config of another loss than cross-entropy, for each classifier; see ClsHead.
        map_channels (list[int], optional): Channels of each map; left out, those of the backbone's `out_channels`, and
            where that does not say them, those of `backbone`.
        map_sizes (list, optional): Side of each map, for windows in `pool_type`; see MultiPooling.
    """

    def __init__(self,
                 pool_type='adaptive',
                 in_indices=(0, ),
                 with_last_layer_unpool=False,
                 backbone='resnet50',
                 norm_cfg=dict(type='BN'),
                 num_classes=1000,
                 init_cfg=[
                     dict(type='Normal', std=0.01, layer='Linear'),
                     dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
                 ],
                 soft_labels=False,
                 loss=None,
                 map_channels=None,
                 map_sizes=None):
        super().__init__(loss, soft_labels, init_cfg)
        self.num_classes = num_classes
        self.with_last_layer_unpool = with_last_layer_unpool
        self.multi_pooling = MultiPooling(pool_type, in_indices, backbone, map_channels, map_sizes)
        channels = self.multi_pooling.channels
        self.norms = nn.ModuleList([
            nn.Identity() if norm_cfg['type'] == 'null' else build_norm_layer(norm_cfg, width)[1] for width in channels
        ])
        dims = list(self.multi_pooling.dims)
        if with_last_layer_unpool:
            height, width = _pair(map_sizes[-1] if map_sizes else 7)
            dims.append(channels[-1] * height * width)
        self.fcs = nn.ModuleList([nn.Linear(dim, num_classes) for dim in dims])
        self.loss_names = tuple(f'loss.{i}' for i in range(1, len(dims) + 1))

    def forward(self, x):
        """Maps of the stages (tuple or list of N x C x H x W) to a list of scores (N x num_classes each)."""
        feats = [norm(pooled) for norm, pooled in zip(self.norms, self.multi_pooling(x))]
        if self.with_last_layer_unpool:
            feats.append(x[-1])
        return [fc(feat.flatten(1)) for fc, feat in zip(self.fcs, feats)]

    def loss(self, cls_score, labels):
        """Loss and accuracy of each classifier.

        Args:
            cls_score (list[Tensor]): What `forward` returned.
            labels (Tensor): N integers (-1 = unlabelled), or with `soft_labels` also N x num_classes floats, or what
                another loss takes.

        Returns:
            dict[str, Tensor]: `loss.i`, and `acc.i` in percent, i from 1.
        """
        losses = {}
        for i, score in enumerate(cls_score, 1):
            losses[f'loss.{i}'], acc = self.compare(score, labels)
            if acc is not None:
                losses[f'acc.{i}'] = acc
        return losses

# Copyright (c) mmssl contributors. All rights reserved.
"""Heads that predict one view's projection from another's."""
import torch
from mmcv.runner import BaseModule
from torch import nn

from mmssl import old_places
from ..builder import HEADS, build_neck
from ..losses import cross_entropy, negative_cosine
from ..utils.channels import check_channels


@HEADS.register_module()
class LatentPredictHead(BaseModule):
    """Minus the cosine between predicted and target projection, as in BYOL and SimSiam.

    Args:
        predictor (dict): Config of a neck without pooling.

    Attributes:
        uniform_values, sharpness, uniform_kind: See DINOHead: 0, where predictions have nothing to do with targets.
    """

    sharpness = ()
    uniform_kind = 'cosine'

    def __init__(self, predictor):
        super().__init__()
        self.uniform_values = dict(loss=0.)
        self.predictor = build_neck(predictor)

    def forward(self, input, target):
        """Projections to predict from and to predict (each N x D; the target gets no gradient) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(loss=negative_cosine(self.predictor([input])[0], target))


@HEADS.register_module()
class LatentClsHead(BaseModule):
    """A linear classifier predicts the class that it gives to the other view.

    Args:
        in_channels (int): Dimension of the projections.
        num_classes (int): Number of classes.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
    """

    def __init__(self, in_channels, num_classes, init_cfg=dict(type='Normal', std=0.01, layer='Linear')):
        super().__init__(init_cfg)
        self.predictor = nn.Linear(in_channels, num_classes)

    def forward(self, input, target):
        """Projections to predict from and to be classified (each N x D; the target gets no gradient) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        check_channels(input, self.predictor.in_features, self)
        with torch.no_grad():
            classes = self.predictor(target).argmax(1)
        return dict(loss=cross_entropy(self.predictor(input), classes))


def __getattr__(name):
    return old_places.lookup(__name__, name)

# Copyright (c) mmssl contributors. All rights reserved.
"""What heads share that compare scores with labels."""
import torch
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError
from ..builder import build_loss
from ..losses import cross_entropy, in_float32
from ..utils.accuracy import accuracy

# of torch: they compare tensors of one shape, and would broadcast others
_BY_ELEMENT = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.HuberLoss, nn.KLDivLoss, nn.L1Loss, nn.MSELoss,
               nn.MultiLabelSoftMarginLoss, nn.PoissonNLLLoss, nn.SmoothL1Loss, nn.SoftMarginLoss)


class ScoreHead(BaseModule):
    """A head whose scores are compared with labels.

    Args:
        loss (dict, optional): Config of the loss, see build_loss; None is cross-entropy.
        soft_labels (bool): Take shares of classes, N x num_classes floats, as labels.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
    """

    def __init__(self, loss=None, soft_labels=False, init_cfg=None):
        super().__init__(init_cfg)
        self.criterion = None if loss is None else build_loss(loss)
        self.soft_labels = soft_labels or getattr(self.criterion, 'soft_labels', False)

    @property
    def soft_labels(self):
        return self._soft_labels

    @soft_labels.setter
    def soft_labels(self, value):
        self._soft_labels = value
        if hasattr(self.criterion, 'soft_labels'):
            self.criterion.soft_labels = value

    def compare(self, scores, labels, weight=None, **options):
        """The loss, in float32 whatever autocast says, and where it says something the accuracy in percent.

        Args:
            scores (Tensor): N x num_classes.
            labels (Tensor): N integers (-1 = unlabelled), or what the loss takes besides: N x num_classes integers of
                several labels an image (1, 0, -1 = left open), or floats.
            weight (Tensor, optional): Weight of each class, num_classes; for the cross-entropy of `loss=None`.
            options: Arguments of that cross-entropy.

        Returns:
            tuple[Tensor, Tensor | None]: The two.

        Raises:
            ConfigError: The algorithm weighs the classes, and the head has a loss of its own.
            ValueError: Labels that the loss does not take.
        """
        if self.criterion is None:
            loss = cross_entropy(scores, labels, weight, soft_labels=self.soft_labels, **options)
        elif weight is not None:
            raise ConfigError('this algorithm weighs the classes itself, in the cross-entropy of the head: leave '
                              f'head.loss out, got {type(self.criterion).__name__}')
        else:
            loss = in_float32(self.criterion)(scores, self._fit(scores, labels))
        if labels.is_floating_point() and not self.soft_labels:
            return loss, None
        return loss, accuracy(scores, labels, over_processes=True)

    def _fit(self, scores, labels):
        """Labels as a loss of torch that compares element by element takes them; others as they are."""
        if not isinstance(self.criterion, _BY_ELEMENT):
            return labels
        name = type(self.criterion).__name__
        if labels.shape != scores.shape:
            raise ValueError(f'{name} compares scores with as many targets: scores have the shape '
                             f'{tuple(scores.shape)}, the labels {tuple(labels.shape)}')
        if not labels.is_floating_point():
            torch._assert_async((labels >= 0).all(), f'{name} takes no label of -1; MultiLabelLoss leaves them out')
        return labels.to(scores.dtype)

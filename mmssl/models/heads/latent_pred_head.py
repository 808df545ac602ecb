# Copyright (c) mmssl contributors. All rights reserved.
"""Heads that predict one view's projection from another's."""
from mmcv.runner import BaseModule

from ..builder import HEADS, build_neck
from ..losses import negative_cosine


@HEADS.register_module()
class LatentPredictHead(BaseModule):
    """Minus the cosine between predicted and target projection, as in BYOL and SimSiam.

    Args:
        predictor (dict): Config of a neck without pooling.
    """

    def __init__(self, predictor):
        super().__init__()
        self.predictor = build_neck(predictor)

    def forward(self, input, target):
        """Projections to predict from and to predict (each N x D; the target gets no gradient) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(loss=negative_cosine(self.predictor([input])[0], target))

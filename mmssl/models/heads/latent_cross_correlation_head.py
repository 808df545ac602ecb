# Copyright (c) mmssl contributors. All rights reserved.
"""Head of Barlow Twins."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import cross_correlation
from ..utils.channels import check_channels
from ..utils.norm import SyncBatchNorm


@HEADS.register_module()
class LatentCrossCorrelationHead(BaseModule):
    """The cross-correlation of two views shall be the identity (Barlow Twins, https://arxiv.org/abs/2103.03230).

    Args:
        in_channels (int): Dimension of the projections.
        lambd (float): Weight of the redundancy term.
    """

    def __init__(self, in_channels, lambd=0.0051):
        super().__init__()
        self.lambd = lambd
        self.bn = SyncBatchNorm(in_channels, affine=False)

    def forward(self, input, target):
        """Projections of two views (each N x D; both get a gradient) to a loss.

        Returns:
            dict[str, Tensor]: `loss`, and its parts `invariance` (sum of (C_ii - 1)^2) and `redundancy` (weighted sum
            of C_ij^2).
        """
        check_channels(input, self.bn.num_features, self)
        invariance, redundancy = cross_correlation(input, target, self.bn)
        redundancy = self.lambd * redundancy
        return dict(loss=invariance + redundancy, invariance=invariance, redundancy=redundancy)

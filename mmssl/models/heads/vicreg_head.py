# Copyright (c) mmssl contributors. All rights reserved.
"""Head of VICReg."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import variance_invariance_covariance


@HEADS.register_module()
class VICRegHead(BaseModule):
    """Views agree, each dimension keeps its variance, and dimensions are not correlated (VICReg,
    https://arxiv.org/abs/2105.04906).

    Args:
        sim_weight (float): Weight of the invariance term.
        var_weight (float): Weight of the variance term.
        cov_weight (float): Weight of the covariance term.

    Raises:
        ValueError: A weight is negative.
    """

    def __init__(self, sim_weight=25., var_weight=25., cov_weight=1.):
        super().__init__()
        if not (sim_weight >= 0 and var_weight >= 0 and cov_weight >= 0):
            raise ValueError(f'weights must be 0 or more, got sim_weight={sim_weight!r}, var_weight={var_weight!r} and '
                             f'cov_weight={cov_weight!r}')
        self.sim_weight = sim_weight
        self.var_weight = var_weight
        self.cov_weight = cov_weight

    def forward(self, input, target):
        """Projections of two views (each N x D; both get a gradient) to a loss.

        Returns:
            dict[str, Tensor]: `loss`, and its three terms without their weights.
        """
        invariance, variance, covariance = variance_invariance_covariance(input, target)
        loss = self.sim_weight * invariance + self.var_weight * variance + self.cov_weight * covariance
        return dict(loss=loss, invariance=invariance, variance=variance, covariance=covariance)

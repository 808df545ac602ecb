# Copyright (c) mmssl contributors. All rights reserved.
"""Head of I-JEPA."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import latent_smooth_l1


@HEADS.register_module()
class IJEPAHead(BaseModule):
    """Distance of predicted tokens to those of the teacher (I-JEPA, https://arxiv.org/abs/2301.08243).

    Args:
        beta (float): Where the loss goes over from squares to absolute values. The paper has squares alone, the
            published code 1.

    Raises:
        ValueError: It is not positive.
    """

    def __init__(self, beta=1.):
        super().__init__()
        if not beta > 0:
            raise ValueError(f'beta must be positive, got {beta!r}')
        self.beta = beta

    def forward(self, pred, target):
        """Tokens to the loss.

        Args:
            pred (Tensor): Predicted ones, B x N x D.
            target (Tensor): Those of the teacher, of the same shape; each is normalised.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(loss=latent_smooth_l1(pred, target, self.beta))

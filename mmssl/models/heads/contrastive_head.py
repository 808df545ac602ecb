# Copyright (c) mmssl contributors. All rights reserved.
"""Head of SimCLR, MoCo and their kin."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import info_nce


@HEADS.register_module()
class ContrastiveHead(BaseModule):
    """InfoNCE over one positive and many negative similarities.

    Args:
        temperature (float): Divides the similarities.

    Raises:
        ValueError: The temperature is not positive.
    """

    def __init__(self, temperature=0.1):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        self.temperature = temperature

    def forward(self, pos, neg):
        """Similarities to the positive key (N x 1) and to the negative ones (N x K, -inf leaves one out) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(loss=info_nce(pos, neg, temperature=self.temperature))

# Copyright (c) mmssl contributors. All rights reserved.
"""Average pooling alone."""
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS


@NECKS.register_module()
class AvgPool2dNeck(BaseModule):
    """Average pooling of the last map.

    Args:
        output_size (int): Height and width after pooling.
    """

    def __init__(self, output_size=1):
        super().__init__()
        self.keeps_channels = output_size == 1
        self.avg_pool = nn.AdaptiveAvgPool2d(output_size)

    def forward(self, x):
        """Maps (the last of a tuple or list, N x C x H x W) to [N x (C * output_size^2)]."""
        return [self.avg_pool(x[-1]).flatten(1)]

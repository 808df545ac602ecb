# Copyright (c) mmssl contributors. All rights reserved.
"""Edges instead of colours as input of a network."""
import torch
from mmcv.runner import BaseModule
from torch.nn import functional as F

from ..losses.precision import in_float32


@in_float32
def _gradients(x, filters):
    # in float32 also under autocast: weak edges are small differences of large numbers
    return F.conv2d(x.mean(1, keepdim=True), filters.to(x.dtype), padding=1)


class Sobel(BaseModule):
    """Horizontal and vertical Sobel gradients of the mean over channels, as DeepCluster feeds its network."""

    def __init__(self):
        super().__init__()
        horizontal = torch.tensor([[1., 0., -1.], [2., 0., -2.], [1., 0., -1.]])
        self.register_buffer('filters', torch.stack([horizontal, horizontal.T])[:, None], persistent=False)

    def forward(self, x):
        """N x C x H x W to N x 2 x H x W."""
        return _gradients(x, self.filters).to(x.dtype)

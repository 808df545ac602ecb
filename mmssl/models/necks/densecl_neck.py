# Copyright (c) mmssl contributors. All rights reserved.
"""Projection head of DenseCL."""
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..utils.channels import check_channels


@NECKS.register_module()
class DenseCLNeck(BaseModule):
    """A projection of the pooled map, and one of each of its positions (DenseCL, https://arxiv.org/abs/2011.09157).

    Args:
        in_channels (int): Channels of the map.
        hid_channels (int): Hidden dimension of both.
        out_channels (int): Dimension of both projections.
        num_grid (int, optional): Height and width to which the map is pooled before positions are projected; as it is
            if not given.
        init_cfg (dict | list[dict], optional): Initialisation.
    """

    def __init__(self, in_channels, hid_channels, out_channels, num_grid=None, init_cfg=None):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels), nn.ReLU(inplace=True), nn.Linear(hid_channels, out_channels))
        self.pool = nn.Identity() if num_grid is None else nn.AdaptiveAvgPool2d(num_grid)
        self.mlp2 = nn.Sequential(
            nn.Conv2d(in_channels, hid_channels, 1), nn.ReLU(inplace=True), nn.Conv2d(hid_channels, out_channels, 1))

    def forward(self, x):
        """Maps (the last of a tuple or list, N x C x H x W) to global, dense and averaged dense projections.

        Returns:
            list[Tensor]: N x D, N x D x S^2 (the positions row by row) and N x D.
        """
        x = x[-1]
        check_channels(x, self.in_channels, self)
        dense = self.mlp2(self.pool(x)).flatten(2)
        return [self.mlp(x.mean((2, 3))), dense, dense.mean(2)]

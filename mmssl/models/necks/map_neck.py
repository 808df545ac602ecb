# Copyright (c) mmssl contributors. All rights reserved.
"""Projection of every position of a map."""
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError
from ..builder import NECKS
from ..utils.channels import check_channels
from ..utils.maps import spatial_maps


@NECKS.register_module()
class MapNeck(BaseModule):
    """The same linear layers on each position, with ReLU between them.

    Args:
        in_channels (int, optional): Channels of the map; None where what stands before the neck tells them.
        channels (list[int]): Width of each layer; the last is the dimension of the projection.
        init_cfg (dict | list[dict], optional): Initialisation.

    Raises:
        ConfigError: No layer, or no in_channels.
    """

    def __init__(self, in_channels=None, channels=[384], init_cfg=None):
        super().__init__(init_cfg)
        if in_channels is None or not channels or min(channels) < 1:
            raise ConfigError(f'MapNeck takes maps of some channels to widths such as [384], got in_channels='
                              f'{in_channels} and channels={channels}')
        self.in_channels, self.out_channels = in_channels, channels[-1]
        layers = []
        for before, width in zip([in_channels, *channels], channels):
            layers += [nn.ReLU(inplace=True)] * bool(layers) + [nn.Conv2d(before, width, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        """What a backbone gives; of its last map (N x C x H x W) comes [N x D x H x W]."""
        x = spatial_maps(x)[-1]
        check_channels(x, self.in_channels, self)
        return [self.layers(x)]

# Copyright (c) mmssl contributors. All rights reserved.
"""The decoder of SimMIM."""
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..utils.channels import check_channels


@NECKS.register_module()
class SimMIMNeck(BaseModule):
    """One linear layer from features to pixels <https://arxiv.org/abs/2111.09886>.

    Args:
        in_channels (int): Channels of the features.
        encoder_stride (int): Pixels a position of the map.
        out_channels (int): Channels of the images.
    """
    rebuilds = True  # what it gives are no features

    def __init__(self, in_channels, encoder_stride, out_channels=3):
        super().__init__()
        self.decoder = nn.Sequential(
            nn.Conv2d(in_channels, encoder_stride**2 * out_channels, 1), nn.PixelShuffle(encoder_stride))

    def forward(self, x):
        """A map, B x D x h x w, to images, B x C x H x W."""
        check_channels(x, self.decoder[0].in_channels, self)
        return self.decoder(x)

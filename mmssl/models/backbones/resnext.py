# Copyright (c) mmssl contributors. All rights reserved.
"""ResNeXt <https://arxiv.org/abs/1611.05431>."""
from ..builder import BACKBONES
from .resnet import Bottleneck, ResNet


@BACKBONES.register_module()
class ResNeXt(ResNet):
    """ResNet whose 3x3 convolutions are grouped.

    Args:
        depth (int): 50, 101 or 152.
        groups (int): Number of groups.
        width_per_group (int): Channels of a group in the first stage.
        kwargs: Those of ResNet.
    """
    arch_settings = {depth: arch for depth, arch in ResNet.arch_settings.items() if arch[0] is Bottleneck}

    def __init__(self, depth, groups=32, width_per_group=4, **kwargs):
        self.groups = groups
        self.width_per_group = width_per_group
        super().__init__(depth, **kwargs)

    def make_res_layer(self, mid_channels, **kwargs):
        """The blocks of one stage."""
        mid_channels = self.groups * self.width_per_group * mid_channels // self.base_channels
        return super().make_res_layer(mid_channels=mid_channels, groups=self.groups, **kwargs)

# Copyright (c) mmssl contributors. All rights reserved.
"""Pooling of the maps of all stages to about 9,000 numbers each, as linear probes of every stage use it."""
from mmcv.runner import BaseModule
from torch import nn

from ..backbones.resnet import ResNet
from .channels import check_channels

# output size of each stage (stem first), and the pooling that makes it from the maps of a 224 px image
SIZES = (12, 6, 4, 3, 2)
POOLINGS = (
    dict(kernel_size=10, stride=10, padding=4),
    dict(kernel_size=16, stride=8, padding=0),
    dict(kernel_size=13, stride=5, padding=0),
    dict(kernel_size=8, stride=3, padding=0),
    dict(kernel_size=6, stride=1, padding=0),
)


def stage_channels(backbone):
    """Channels of the stem and the four stages of a ResNet, from a name such as 'resnet50'.

    Raises:
        ValueError: The name is not that of a known ResNet.
    """
    names = [f'resnet{depth}' for depth in ResNet.arch_settings]
    if backbone not in names:
        raise ValueError(f'backbone must be one of {names}, got {backbone!r}')
    block, _ = ResNet.arch_settings[int(backbone[len('resnet'):])]
    return (64, *(width * block.expansion for width in (64, 128, 256, 512)))


class MultiPooling(BaseModule):
    """Average pooling of the maps of several ResNet stages.

    Args:
        pool_type (str): 'adaptive', for any image size, or 'specified', the fixed windows for 224 px.
        in_indices (Sequence[int]): The stages that the input comes from, 0 (stem) to 4.
        backbone (str): Name of the ResNet, such as 'resnet50'.

    Raises:
        ValueError: An unknown pool_type or backbone.
    """

    def __init__(self, pool_type='adaptive', in_indices=(0, ), backbone='resnet50'):
        super().__init__()
        if pool_type not in ('adaptive', 'specified'):
            raise ValueError(f"pool_type must be 'adaptive' or 'specified', got {pool_type!r}")
        channels = stage_channels(backbone)
        self.channels = [channels[i] for i in in_indices]
        self.dims = [channels[i] * SIZES[i]**2 for i in in_indices]
        self.pools = nn.ModuleList([
            nn.AdaptiveAvgPool2d(SIZES[i]) if pool_type == 'adaptive' else nn.AvgPool2d(**POOLINGS[i])
            for i in in_indices
        ])

    def forward(self, x):
        """Pool each of the maps (list of N x C x H x W).

        Raises:
            ValueError: Another number of maps.
            ConfigError: Maps of other stages, or in another order.
        """
        if len(x) != len(self.pools):
            raise ValueError(f'{len(self.pools)} maps are pooled (in_indices), the backbone gave {len(x)}; '
                             'its out_indices must be the same')
        for maps, channels in zip(x, self.channels):
            check_channels(maps, channels, self, 'in_indices')
        return [pool(maps) for pool, maps in zip(self.pools, x)]

# Copyright (c) mmssl contributors. All rights reserved.
"""Pooling of the maps of all stages to about 9,000 numbers each, as linear probes of every stage use it."""
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError
from mmssl.utils.pooling_windows import parse_window
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


def make_pooling(name, map_size=None):
    """A pooling by its name.

    Args:
        name (str): 'average' over all positions, 'grid:N' to N x N cells whatever the size of the map, or the window of
            an average pooling, such as '10x10s4' (see parse_window).
        map_size (int | list[int], optional): Side, or height and width, of the map, which a window needs.

    Returns:
        tuple[Module, tuple[int, int]]: The pooling, and height and width of what it gives.

    Raises:
        ConfigError: Another name, or a map that the window does not fit.
    """
    kind, _, number = name.partition(':')
    if name == 'average' or kind == 'grid' and number.isdigit() and int(number):
        cells = int(number or 1)
        return nn.AdaptiveAvgPool2d(cells), (cells, cells)
    try:
        window = parse_window(name)
    except ValueError as error:
        raise ConfigError(f'{error}; besides there are average and grid:N') from error
    if map_size is None:
        raise ConfigError(f'the window {name!r} needs the size of the map: give map_sizes, one for each of in_indices, '
                          'or take grid:N')
    sides = (map_size, map_size) if isinstance(map_size, int) else map_size
    pooled = tuple((side + 2 * p - k) // s + 1
                   for side, k, s, p in zip(sides, window['kernel_size'], window['stride'], window['padding']))
    if min(pooled) < 1:
        raise ConfigError(f'the window {name!r} is larger than the map of {sides[0]} x {sides[1]} (map_sizes)')
    return nn.AvgPool2d(**window), pooled


class MultiPooling(BaseModule):
    """Average pooling of the maps of several stages.

    Args:
        pool_type (str | list[str]): 'adaptive', for any image size, or 'specified', the fixed windows for 224 px, which
            both pool the stages of a ResNet to about 9,000 numbers; or a pooling for each of the stages, see
            make_pooling.
        in_indices (Sequence[int]): The stages that the input comes from, of a ResNet 0 (stem) to 4.
        backbone (str): Name of the ResNet, such as 'resnet50', which tells the channels.
        map_channels (list[int], optional): Channels of each map, of any other backbone.
        map_sizes (list, optional): Side, or height and width, of each map, which windows need.

    Raises:
        ValueError: An unknown pool_type or backbone.
        ConfigError: Lists of different lengths, or windows that do not fit the maps.
    """

    def __init__(self, pool_type='adaptive', in_indices=(0, ), backbone='resnet50', map_channels=None, map_sizes=None):
        super().__init__()
        named = isinstance(pool_type, str)
        if named and pool_type not in ('adaptive', 'specified'):
            raise ValueError(f"pool_type must be 'adaptive', 'specified' or a list of poolings, got {pool_type!r}")
        for name, values in dict(pool_type=pool_type, map_channels=map_channels, map_sizes=map_sizes).items():
            if isinstance(values, (list, tuple)) and len(values) != len(in_indices):
                raise ConfigError(f'{name} is for {len(values)} maps, in_indices names {len(in_indices)}')
        if (named or map_channels is None) and max(in_indices) > 4:
            raise ConfigError(f'in_indices has {max(in_indices)}, a ResNet has the stages 0 to 4: for other backbones '
                              'give map_channels, and pool_type as a list')
        if map_channels is None:
            map_channels = [stage_channels(backbone)[i] for i in in_indices]
        if named:
            made = [(nn.AdaptiveAvgPool2d(SIZES[i]) if pool_type == 'adaptive' else nn.AvgPool2d(**POOLINGS[i]),
                     (SIZES[i], SIZES[i])) for i in in_indices]
        else:
            made = [make_pooling(*pair) for pair in zip(pool_type, map_sizes or [None] * len(pool_type))]
        self.channels = list(map_channels)
        self.sizes = [size for _, size in made]
        self.dims = [channels * size[0] * size[1] for channels, size in zip(self.channels, self.sizes)]
        self.pools = nn.ModuleList([pool for pool, _ in made])

    def forward(self, x):
        """Pool each of the maps (list of N x C x H x W).

        Raises:
            ValueError: Another number of maps.
            ConfigError: Maps of other stages, in another order, or of another size.
        """
        if len(x) != len(self.pools):
            raise ValueError(f'{len(self.pools)} maps are pooled (in_indices), the backbone gave {len(x)}; '
                             'its out_indices must be the same')
        for maps, channels in zip(x, self.channels):
            check_channels(maps, channels, self, 'in_indices')
        pooled = [pool(maps) for pool, maps in zip(self.pools, x)]
        for maps, found, size in zip(x, pooled, self.sizes):
            if found.shape[2:] != size:
                raise ConfigError(
                    f'a map of {maps.shape[2]} x {maps.shape[3]} is pooled to {found.shape[2]} x '
                    f'{found.shape[3]} positions, the classifier takes {size[0]} x {size[1]}: pool_type '
                    "'adaptive' and grid:N fit images of any size; the windows of 'specified' are for 224 "
                    'pixels, those of a list for map_sizes')
        return pooled

# Copyright (c) mmssl contributors. All rights reserved.
"""Maps of backbones, whatever else these give."""
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError


def spatial_maps(outputs):
    """The maps of what a backbone gives, without class tokens.

    Args:
        outputs (Sequence): Of each stage a map, N x C x H x W, or a map and a class token.

    Returns:
        list[Tensor]: The maps.

    Raises:
        ConfigError: A stage has no positions.
    """
    maps = [output[0] if isinstance(output, (tuple, list)) else output for output in outputs]
    for i, found in enumerate(maps):
        if found.dim() != 4:
            raise ConfigError(f'positions are compared, and output {i} of the backbone has none: it is of shape '
                              f'{tuple(found.shape)}')
    return maps


def resize_map(x, size):
    """A map of another height and width, bilinearly; of the same it is as it was."""
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode='bilinear', align_corners=False)

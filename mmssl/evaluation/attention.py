# Copyright (c) mmssl contributors. All rights reserved.
"""Where the class token of a vision transformer looks."""
import numpy as np
import torch

from mmssl.utils.errors import ConfigError


@torch.no_grad()
def class_attention(backbone, img, layer=-1):
    """Attention of the class token to the patches.

    Args:
        backbone (VisionTransformer): In evaluation mode.
        img (Tensor): Images, B x C x H x W; positions are interpolated where they are not of the backbone's size.
        layer (int): The layer, from 0, or from -1 backwards.

    Returns:
        ndarray: B x heads x h x w, float32. A head's sum is 1 less what goes to the class token itself and to
            registers.

    Raises:
        ConfigError: There is no such layer, or no class token.
    """
    if backbone.cls_token is None:
        raise ConfigError(f'this {type(backbone).__name__} has no class token to draw the attention of')
    maps, grid = backbone.attention_maps(img, layer)
    return maps[:, :, 0, backbone.num_extra_tokens:].unflatten(2, grid).float().cpu().numpy()


def overlay(image, attention, mask=None):
    """A map over an image: its colours on the image's greys.

    Args:
        image (ndarray): uint8, H x W x C of one or three channels.
        attention (ndarray): h x w, not negative; scaled by its own maximum. Each value covers a cell of the image.
        mask (ndarray, optional): h x w booleans; cells that are false show the image's greys alone.

    Returns:
        ndarray: uint8, H x W x 3.
    """
    import matplotlib
    rows, columns = (n // m for n, m in zip(image.shape, attention.shape))
    heat = (attention / attention.max()).repeat(rows, 0).repeat(columns, 1)
    colors = matplotlib.colormaps['inferno'](heat)[..., :3] * 255
    grey = image.mean(2, keepdims=True)
    drawn = 0.3 * grey + 0.7 * colors
    if mask is not None:
        drawn = np.where(mask.repeat(rows, 0).repeat(columns, 1)[..., None], drawn, grey)
    return np.round(drawn).astype(np.uint8)


def mass_mask(attention, mass):
    """The patches that get a share of the attention, as few as possible.

    Args:
        attention (ndarray): h x w, not negative.
        mass (float): Share of its sum, above 0, at most 1.

    Returns:
        ndarray: h x w booleans, true for the patches of most attention that have this share together.

    Raises:
        ConfigError: The share is out of range.
    """
    if not 0 < mass <= 1:
        raise ConfigError(f'a share of the attention is above 0 and at most 1, got {mass}')
    order = np.argsort(-attention, axis=None, kind='stable')
    shares = np.cumsum(attention.ravel()[order], dtype=np.float64) / attention.sum(dtype=np.float64)
    # where rounding leaves the last sum below 1, all are taken
    kept = order[:np.searchsorted(shares, mass) + 1]
    mask = np.zeros(attention.size, bool)
    mask[kept] = True
    return mask.reshape(attention.shape)

# Copyright (c) mmssl contributors. All rights reserved.
"""Descriptors of a whole image from the map of a convolutional network, as instance retrieval uses them."""
import math

import torch
import torch.nn.functional as F


def gem(x, p=3, eps=1e-6, clamp=True, add_bias=False, keepdims=False):
    """Generalised mean over positions (Radenovic et al., 2018, arXiv:1711.02512).

    Args:
        x (Tensor): N x C x H x W.
        p (float): Exponent: 1 is the average, infinity the maximum.
        eps (float): Values below it are raised to it, since roots of negative numbers are none.
        clamp (bool): Whether they are; without it, values are to be positive.
        add_bias (bool): Append a constant channel, see add_bias_channel.
        keepdims (bool): N x C x 1 x 1 instead of N x C.

    Returns:
        Tensor: N x C.
    """
    if not p > 0:
        raise ValueError(f'p must be positive, got {p!r}')
    if p == math.inf:
        pooled = x.amax((2, 3), keepdim=True)
    elif p == 1:
        pooled = x.mean((2, 3), keepdim=True)
    else:
        x = x.clamp(min=eps) if clamp else x
        pooled = x.pow(p).mean((2, 3), keepdim=True).pow(1 / p)
    pooled = add_bias_channel(pooled) if add_bias else pooled
    return pooled if keepdims else pooled.flatten(1)


def l2n(x, eps=1e-6, dim=1):
    """`x` divided by its L2 norm along `dim` plus `eps`: vectors of zeros stay zero."""
    return x / (x.norm(dim=dim, keepdim=True) + eps)


def add_bias_channel(x, dim=1):
    """`x` with one more entry along `dim`, which is 1."""
    return torch.cat([x, torch.ones_like(x.narrow(dim, 0, 1))], dim=dim)


def flatten(x, keepdims=False):
    """N x C x H x W to N x CHW, or with `keepdims` to N x CHW x 1 x 1."""
    x = x.flatten(1)
    return x[:, :, None, None] if keepdims else x


def get_rmac_region_coordinates(H, W, L):
    """Square regions on L scales that cover a map evenly (Tolias et al., 2016, arXiv:1511.05879, section 3.2).

    On scale l their side is 2 min(H, W) / (l + 1); along the shorter side of the map stand l of them, along the longer
    as many more as let neighbours on the first scale overlap by about 40 %.

    Args:
        H, W (int): Height and width of the map.
        L (int): Number of scales.

    Returns:
        list[tuple[int, int, int, int]]: Top, left, height and width.

    Raises:
        ValueError: No scale, or an empty map.
    """
    if min(H, W, L) < 1:
        raise ValueError(f'height, width and scales must be at least 1, got {H}, {W} and {L}')
    short, long = min(H, W), max(H, W)
    more = 0
    if long > short:
        # overlap of neighbours, as a share of the area, if 2, ..., 7 regions stand along the longer side
        overlaps = [1 - (long - short) / (n - 1) / short for n in range(2, 8)]
        more = 1 + min(range(6), key=lambda i: abs(overlaps[i] - 0.4))
    regions = []
    for scale in range(1, L + 1):
        side = max(1, 2 * short // (scale + 1))
        tops, lefts = (_starts(size, side, scale + (more if size == long else 0)) for size in (H, W))
        regions += [(top, left, side, side) for top in tops for left in lefts]
    return regions


def _starts(size, side, count):
    """Where `count` intervals of length `side` begin that are spread evenly over `size`."""
    return [math.floor(i * (size - side) / (count - 1)) for i in range(count)] if count > 1 else [(size - side) // 2]


def get_rmac_descriptors(features, rmac_levels, pca=None):
    """Regional maximum activations (R-MAC): sum of the normalised maxima of all regions, normalised.

    Args:
        features (Tensor): N x C x H x W.
        rmac_levels (int): Number of scales of regions.
        pca (callable, optional): Whitening of the descriptors of regions, M x C to M x C', such as Whitening.apply.

    Returns:
        Tensor: N x C, or N x C', of length 1.
    """
    regions = get_rmac_region_coordinates(*features.shape[2:], rmac_levels)
    maxima = torch.stack([features[:, :, t:t + h, x:x + w].amax((2, 3)) for t, x, h, w in regions], dim=1)
    maxima = F.normalize(maxima, dim=2)  # N x R x C
    if pca is not None:
        maxima = F.normalize(pca(maxima.flatten(0, 1)).unflatten(0, maxima.shape[:2]), dim=2)
    return F.normalize(maxima.sum(1), dim=1)

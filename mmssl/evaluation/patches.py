# Copyright (c) mmssl contributors. All rights reserved.
"""What the features of patches tell: principal components as colours, and patches of two images that match."""
from typing import NamedTuple

import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from mmssl.utils.kmeans import distributed_kmeans

OUTLIERS = 1  # percent at either end of a component that get the colour of the end


def unit_features(maps):
    """Vectors of patches, ... x D, divided by their lengths; zeros stay. float64."""
    maps = np.asarray(maps, np.float64)
    lengths = np.linalg.norm(maps, axis=-1, keepdims=True)
    return maps / np.where(lengths > 0, lengths, 1)


def principal_components(features, count):
    """Coordinates of vectors along the directions in which they differ most.

    Args:
        features (ndarray): N x D.
        count (int): Number of directions.

    Returns:
        ndarray: N x count, float64, with mean 0. The entry of largest size of each direction is positive, so that signs
        do not depend on the solver. Directions that are not there (there are fewer than `count`) are zeros.
    """
    centred = features - features.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :count]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, range(directions.shape[1])])
    coordinates = centred @ directions
    return np.pad(coordinates, ((0, 0), (0, count - coordinates.shape[1])))


def two_classes(values):
    """The threshold of Otsu: of all ways to part numbers in two, the one whose parts vary least.

    Args:
        values (ndarray): Any shape.

    Returns:
        float: In the middle between the largest number of the lower part and the smallest of the upper one.
    """
    x = np.sort(values, axis=None)
    below = np.arange(1, len(x))
    sums = np.cumsum(x)[:-1]
    means = sums / below, (x.sum() - sums) / (len(x) - below)
    best = (below * (len(x) - below) * (means[1] - means[0])**2).argmax()
    return (x[best] + x[best + 1]) / 2


def foreground(maps, side='auto'):
    """Parts patches of images in two by their first principal component.

    Args:
        maps (Sequence[ndarray]): h x w x D of each image.
        side (str): 'above' or 'below' the threshold, or 'auto': the one of which less lies on the borders of the
            images, for its size.

    Returns:
        list[ndarray]: h x w booleans, true for what is in the foreground.
    """
    vectors, split = _joined(maps)
    first = principal_components(vectors, 1)[:, 0]
    above = split(first > two_classes(first))
    if side == 'auto':
        borders = np.concatenate([np.r_[m[0], m[-1], m[1:-1, 0], m[1:-1, -1]] for m in above])
        everywhere = np.concatenate([m.ravel() for m in above])
        side = 'above' if borders.mean() <= everywhere.mean() else 'below'
    return above if side == 'above' else [~m for m in above]


def component_colours(maps, masks=None, common=True):
    """The first three principal components of patches as red, green and blue.

    Patches of like features have like colours; which colour is which says nothing.

    Args:
        maps (Sequence[ndarray]): Vectors of the patches of each image, h x w x D.
        masks (Sequence[ndarray], optional): h x w booleans; patches that are false are black and have no part in it.
        common (bool): Take components of all images together, so that colours mean the same in all; else of each.

    Returns:
        list[ndarray]: h x w x 3 uint8 of each image.
    """
    if not common:
        masks = [None] * len(maps) if masks is None else masks
        return [component_colours([m], None if mask is None else [mask])[0] for m, mask in zip(maps, masks)]
    vectors, split = _joined(maps)
    shown = np.ones(len(vectors), bool) if masks is None else np.concatenate([mask.ravel() for mask in masks])
    colours = np.zeros((len(vectors), 3))
    if shown.any():
        coordinates = principal_components(vectors[shown], 3)
        low, high = np.percentile(coordinates, [OUTLIERS, 100 - OUTLIERS], axis=0)
        scaled = (coordinates - low) / np.where(high > low, high - low, 1)
        colours[shown] = np.where(high > low, scaled, 0.5).clip(0, 1)
    return split(np.round(255 * colours).astype(np.uint8))


def _joined(maps):
    """The vectors of all patches, N x D, and what gives rows back to the maps."""
    shapes = [m.shape[:2] for m in maps]
    ends = np.cumsum([h * w for h, w in shapes])[:-1]

    def split(rows):
        return [part.reshape(*shape, *rows.shape[1:]) for part, shape in zip(np.split(rows, ends), shapes)]

    return np.concatenate([m.reshape(-1, m.shape[-1]) for m in maps]), split


def magnified(picture, image):
    """A picture with a pixel for each patch, h x w x 3, in the size of an image, H x W x C: each fills its cell."""
    rows, columns = (np.arange(side) * cells // side for side, cells in zip(image.shape[:2], picture.shape[:2]))
    return picture[rows][:, columns]


class Match(NamedTuple):
    """A patch of one image, and the one of another image that is most like it.

    Attributes:
        first, second (tuple[int, int]): Row and column of the patches.
        similarity (float): Cosine of their vectors.
        mutual (bool): Whether the first patch is also the one most like the second.
    """
    first: tuple
    second: tuple
    similarity: float
    mutual: bool


def match_patches(first, second, patches=None, count=12, seed=0, masks=None):
    """Nearest neighbours of patches of one image among those of another.

    Without `patches`, those are taken that are each other's nearest neighbours; k-means groups them by their features,
    and of each group the pair stays that is most alike, so that pairs lie on different parts.

    Args:
        first, second (ndarray): Unit vectors of the patches, h x w x D; sizes may differ.
        patches (Sequence[tuple[int, int]], optional): Row and column of patches of the first image.
        count (int): Most pairs, without `patches`.
        seed (int): Of k-means.
        masks (tuple[ndarray, ndarray], optional): h x w booleans of each image; without `patches`, those that are false
            have no part in it.

    Returns:
        list[Match]: In the order of `patches`, or the most alike first.

    Raises:
        ConfigError: A patch that the first image does not have.
    """
    (rows, columns), width = first.shape[:2], second.shape[1]
    similarity = first.reshape(-1, first.shape[-1]) @ second.reshape(-1, second.shape[-1]).T
    if masks is not None and patches is None:
        similarity[~np.outer(masks[0].ravel(), masks[1].ravel())] = -np.inf
    there, back = similarity.argmax(1), similarity.argmax(0)

    def match(i):
        j = there[i]
        return Match(divmod(int(i), columns), divmod(int(j), width), float(similarity[i, j]), bool(back[j] == i))

    if patches is not None:
        for row, column in patches:
            if not (0 <= row < rows and 0 <= column < columns):
                raise ConfigError(f'there is no patch in row {row} and column {column}: the first image has '
                                  f'{rows} rows and {columns} columns, counted from 0')
        return [match(row * columns + column) for row, column in patches]
    mutual = np.flatnonzero((back[there] == np.arange(len(there))) & np.isfinite(similarity.max(1)))
    best = similarity[mutual, there[mutual]]
    if len(mutual) > count:
        vectors = torch.from_numpy(first.reshape(-1, first.shape[-1])[mutual]).float()
        groups = distributed_kmeans(vectors, count, spherical=True, seed=seed, reseed_empty=True).labels.numpy()
        kept = [np.where(groups == group, best, -np.inf).argmax() for group in np.unique(groups)]
        mutual, best = mutual[kept], best[kept]
    return [match(i) for i in mutual[np.argsort(-best, kind='stable')]]

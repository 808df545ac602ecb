# Copyright (c) mmssl contributors. All rights reserved.
"""Samples -> batch: what `data.collate` names."""
import math

import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from mmssl.utils.errors import ConfigError
from .registry import COLLATORS


def _stack(arrays):
    """Stack uint8 arrays to a tensor; in a worker right in the memory that it shares with the main process."""
    shape = (len(arrays), *arrays[0].shape)
    new_storage = torch.UntypedStorage._new_shared if get_worker_info() else torch.UntypedStorage
    out = torch.empty(0, dtype=torch.uint8).set_(new_storage(math.prod(shape)), 0, shape)
    np.stack(arrays, out=out.numpy())
    return out


def collate_images(views):
    """Stack images.

    Args:
        views (list): One entry a sample: uint8 arrays H x W x C, or P x H x W x C of P patches, tensors, or lists,
            tuples and dicts of these.

    Returns:
        Tensor | list | dict: N x C x H x W (of uint8 arrays: a view of N x H x W x C), of patches N x P x C x H x W;
            for lists and tuples one entry each, for dicts one by name.
    """
    first = views[0]
    if isinstance(first, dict):
        return {name: collate_images([view[name] for view in views]) for name in first}
    if isinstance(first, (list, tuple)):
        return [collate_images(view) for view in zip(*views, strict=True)]
    shapes = {tuple(v.shape) for v in views if isinstance(v, (np.ndarray, torch.Tensor))}
    if len(shapes) > 1:
        raise ConfigError(
            f'images of one batch differ in shape: {sorted(shapes)[:4]}; the pipeline must end with one size, for '
            'example through RandomResizedCrop or Resize((height, width)), and color_type of the data source must not '
            "be 'unchanged' where the number of channels differs")
    if isinstance(first, np.ndarray) and first.dtype == np.uint8 and first.ndim in (3, 4):
        return _stack(views).movedim(-1, -3)
    return default_collate(views)


def collate(samples):
    """Samples -> batch: images under the key `img` by collate_images, all else as torch does it.

    Args:
        samples (list[dict] | list): What the dataset returned.

    Returns:
        dict: The batch.
    """
    if not isinstance(samples[0], dict) or 'img' not in samples[0]:
        return default_collate(samples)
    return {key: (collate_images if key == 'img' else default_collate)([s[key] for s in samples]) for key in samples[0]}


@COLLATORS.register_module()
class DefaultCollator:
    """Images are stacked, numbers become tensors; lists, tuples and dicts are put together entry by entry."""
    native = True  # it draws nothing, or from rng() alone

    def __call__(self, samples):
        return collate(samples)

# Copyright (c) mmssl contributors. All rights reserved.
"""Samples -> batch: what `data.collate` names."""
import itertools
import math

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from mmssl.utils.errors import ConfigError
from .images import IMAGE_TYPES
from .pipelines.deferred import Deferred, DeferredImages, Work, lift, plan
from .pipelines.rng import rng
from .registry import COLLATORS

# grey levels of views that go through the device together: of more, the kernels are so long that their number does not
# matter, and they would take memory
_TOGETHER = 2**26


def _stack(arrays):
    """Stack images to a tensor; in a worker right in the memory that it shares with the main process."""
    shape, kind = (len(arrays), *arrays[0].shape), arrays[0].dtype
    new_storage = torch.UntypedStorage._new_shared if get_worker_info() else torch.UntypedStorage
    storage = new_storage(math.prod(shape) * kind.itemsize)
    out = torch.empty(0, dtype=getattr(torch, kind.name)).set_(storage, 0, shape)
    np.stack(arrays, out=out.numpy())
    return out


def collate_images(views):
    """Stack images.

    Args:
        views (list): One entry a sample: arrays of images H x W x C, or P x H x W x C of P patches, tensors, images
            whose last steps are left to the device, or lists, tuples and dicts of these.

    Returns:
        Tensor | DeferredImages | list | dict: N x C x H x W (of arrays: a view of N x H x W x C), of patches
            N x P x C x H x W; for lists and tuples one entry each, for dicts one by name.
    """
    first = views[0]
    if isinstance(first, dict):
        return dict(zip(first, _collate_columns([[view[name] for view in views] for name in first])))
    if isinstance(first, (list, tuple)):
        return _collate_columns(list(zip(*views, strict=True)))
    if any(isinstance(view, Deferred) for view in views):
        return _collate_columns([views])[0]
    shapes = {tuple(v.shape) for v in views if isinstance(v, (np.ndarray, torch.Tensor))}
    if len(shapes) > 1:
        raise ConfigError(
            f'images of one batch differ in shape: {sorted(shapes)[:4]}; the pipeline must end with one size, for '
            'example through RandomResizedCrop or Resize((height, width)), and color_type of the data source must not '
            "be 'unchanged' where the number of channels differs")
    if isinstance(first, np.ndarray) and first.dtype in IMAGE_TYPES and first.ndim in (3, 4):
        kinds = sorted({str(view.dtype) for view in views})
        if len(kinds) > 1:
            raise ConfigError(
                f'images of one batch differ in type: {", ".join(kinds)}; files of one kind have one, and '
                'nodata of the data source makes all float32')
        return _stack(views).movedim(-1, -3)
    return default_collate(views)


def _collate_columns(columns):
    """Several views of the samples; those whose steps are left to the device together, where they have one size."""
    batches, groups = [None] * len(columns), {}
    for place, column in enumerate(columns):
        if not any(isinstance(view, Deferred) for view in column):
            batches[place] = collate_images(column)
            continue
        column = columns[place] = list(map(lift, column))
        img, shape = column[0].img, column[0].shape
        alone = place if shape != img.shape else None  # a step that changes the channels is done to a whole batch
        most = max(1, _TOGETHER // (img.size * len(column)))
        group = groups.setdefault((shape, alone), [])
        if not group or len(group[-1]) == most:
            group.append([])
        group[-1].append(place)
    for places in itertools.chain.from_iterable(groups.values()):
        work = _collate_deferred([view for place in places for view in columns[place]])
        for number, place in enumerate(places):
            count = len(columns[place])
            batches[place] = DeferredImages(work, slice(count * number, count * (number + 1)))
    return batches


def _collate_deferred(views):
    images = collate_images([view.img for view in views])
    channels = {view.shape[-1] for view in views}
    if len(channels) > 1:
        raise ConfigError(f'images of one batch differ in their channels: {sorted(channels)}; a step that changes them '
                          '(Grayscale, ToLab) must be done to all, without a probability')
    return Work(images, *plan([operations for view in views for operations in view.operations]))


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


@COLLATORS.register_module()
class MixupCrops:
    """Label-free mixup: of 2N samples N, images 2k and 2k + 1 mixed crop by crop, with one share for the whole batch.

    The share of the first image of each pair is drawn from Beta(alpha, alpha), the same on all processes of an
    iteration. All else (`idx`, labels) is that of the first image. `data.samples_per_gpu` counts the images that are
    read: the model gets half of them. Where their number is odd, as in a last batch, the last image stays as it is.
    uint8 and uint16 images are rounded. Mixup is of Zhang et al. <https://arxiv.org/abs/1710.09412>.

    Args:
        alpha (float): The smaller, the closer most shares are to 0 or 1.

    Attributes:
        merges (int): Number of samples that become one.
    """
    native = True
    training_only = True
    merges = 2

    def __init__(self, alpha=0.2):
        if not 0 < alpha < math.inf:
            raise ConfigError(f'alpha must be above 0 and finite, got {alpha!r}')
        self.alpha = alpha

    def __call__(self, samples):
        share = float(rng().beta(self.alpha, self.alpha))
        first, second = samples[::2], samples[1::2]
        batch = collate(first)
        if second:
            _mix(batch['img'], collate_images([sample['img'] for sample in second]), share)
        return batch


def _mix(first, second, share):
    """Mix `second` into `first`, in place."""
    if isinstance(first, dict):
        first, second = list(first.values()), list(second.values())
    if isinstance(first, list):
        for one, other in zip(first, second, strict=True):
            _mix(one, other, share)
        return
    if isinstance(first, DeferredImages):
        first.mixed = second if isinstance(second, DeferredImages) else DeferredImages(Work(second)), share
        return
    integers = first.dtype in (torch.uint8, torch.uint16)
    if not first.is_floating_point() and (not integers or first.dim() < 4):
        raise ConfigError(
            f'MixupCrops mixes images; the data gives {first.dtype} of shape {tuple(first.shape)} as well')
    first = first[:len(second)]
    if integers and first.dim() > 3:  # as they lie in memory, in rows of whole images
        rows, others = (part.movedim(-3, -1).numpy().reshape(len(part), -1) for part in (first, second))
        cv2.addWeighted(rows, share, others, 1 - share, 0, dst=rows)
    else:
        first.copy_(second.lerp(first, share))


def multi_hot(label, num_classes):
    """One value a class: 1 where it is there, 0 where it is not, -1 where this is unknown.

    Args:
        label (int | Sequence | ndarray): A class (-1: all are unknown); the classes of an image, all others not being
            there; or a pair of such lists, classes that are there and classes that are not, all others being unknown.
            An array of `num_classes` values of 1, 0 and -1 stays as it is.
        num_classes (int): Number of classes.

    Returns:
        ndarray: int8.

    Raises:
        ConfigError: A class beyond `num_classes`, or one that is there and not there.
    """
    if isinstance(label, np.ndarray) and label.shape == (num_classes, ) and np.isin(label, (-1, 0, 1)).all():
        return label.astype(np.int8)
    target = np.zeros(num_classes, np.int8)
    if not isinstance(label, (list, tuple)) and np.ndim(label) == 0:
        present, absent = [int(label)], []
        if present == [-1]:
            return target - 1
    elif len(label) == 2 and all(isinstance(part, (list, tuple, np.ndarray)) and np.ndim(part) == 1 for part in label):
        (present, absent), target = (list(map(int, part)) for part in label), target - 1
        both = set(present) & set(absent)
        if both:
            raise ConfigError(f'class {min(both)} is said to be there and not to be there')
    else:
        present, absent = list(map(int, label)), []
    for found in (*present, *absent):
        if not 0 <= found < num_classes:
            raise ConfigError(f'the label {found} is not within the {num_classes} classes (0 to {num_classes - 1})')
    target[absent] = 0
    target[present] = 1
    return target


@COLLATORS.register_module()
class MultiHotLabels:
    """Labels as vectors of one value a class, for losses on several classes an image; see multi_hot.

    Args:
        num_classes (int): Number of classes.
        label (str): Entry of the samples.
    """
    native = True

    def __init__(self, num_classes, label='label'):
        if num_classes < 1:
            raise ConfigError(f'num_classes must be a positive integer, got {num_classes!r}')
        self.num_classes = num_classes
        self.label = label

    def __call__(self, samples):
        if self.label not in samples[0]:
            raise ConfigError(f'MultiHotLabels: samples have no {self.label!r}, they have {sorted(samples[0])}')
        return collate([{**sample, self.label: multi_hot(sample[self.label], self.num_classes)} for sample in samples])

# Copyright (c) mmssl contributors. All rights reserved.
"""Images whose last steps are drawn in the worker and done on the device, a whole batch at once (`data.device_steps`).

A worker hands over images as they are before their first colour step, and what is to be done to each: operations with
their parameters. `plan` puts those of a batch together: one wave after another, in each the same operation on some of
the images, so that the order is kept for each image and there are few waves.
"""
import math
from functools import partial
from weakref import WeakValueDictionary

import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from . import device_kernels
from .blur import blur_kernel

# The cheaper an operation, the earlier its wave, so that the expensive ones wait until all images are at them: four
# steps of a jitter in 24 orders make at most seven waves, and the hue of all images is turned in one of them.
_ORDER = ('linear', 'invert', 'solarize', 'posterize', 'erase', 'autocontrast', 'hue', 'hue_of_small', 'mirror',
          'upside_down', 'transpose', 'sharpness', 'blur', 'lab', 'select')
_RANK = {name: rank for rank, name in enumerate(_ORDER)}


class Deferred:
    """An image, or P patches of one, with operations that are not done yet.

    Args:
        img (ndarray): uint8, H x W x C or P x H x W x C.
        operations (tuple, optional): For each of the 1 or P images a tuple of pairs: the name of a kernel, and a tuple
            of its parameters.
        channels (int, optional): Number of channels behind the operations; that of `img`.
    """
    __slots__ = ('img', 'operations', 'shape')
    dtype = np.dtype(np.uint8)

    def __init__(self, img, operations=None, channels=None):
        if img.dtype != np.uint8:
            raise ConfigError(f'data.device_steps=True takes images of uint8, got {img.dtype}: leave it out')
        self.img = img
        self.operations = ((), ) * (len(img) if img.ndim == 4 else 1) if operations is None else operations
        self.shape = (*img.shape[:-1], img.shape[-1] if channels is None else channels)

    @property
    def ndim(self):
        return len(self.shape)

    def then(self, *operations, channels=None):
        """The image with further operations.

        Args:
            operations (tuple): Pairs, see Deferred.
            channels (int, optional): Number of channels behind them; it stays.

        Returns:
            Deferred: A new one.
        """
        other = object.__new__(Deferred)  # of what has been looked at
        other.img = self.img
        other.operations = tuple([own + operations for own in self.operations])
        other.shape = self.shape if channels is None else (*self.shape[:-1], channels)
        return other

    def turn(self, quarters):
        """The image turned by quarters of a full turn, counter-clockwise."""
        swaps = ((), ('transpose', 'upside_down'), ('mirror', 'upside_down'), ('transpose', 'mirror'))[quarters % 4]
        return self.then(*((name, ()) for name in swaps))

    def __iter__(self):
        for img, operations in zip(self.img, self.operations):
            yield Deferred(img, (operations, ), self.shape[-1])

    def __array__(self, *args, **kwargs):
        raise TypeError('the colour steps of this image are left to the device (data.device_steps=True), so its pixels '
                        'cannot be used here')


def lift(img):
    """An array as Deferred; one that is so already stays."""
    return img if isinstance(img, Deferred) else Deferred(img)


def join(patches):
    """Patches, some Deferred, as one Deferred."""
    patches = list(map(lift, patches))
    return Deferred(
        np.stack([one.img for one in patches]), tuple(one.operations[0] for one in patches), patches[0].shape[-1])


def _hue(parameters, index):
    """Channels, complement and rest of turns, see color._turn_in_rgb."""
    sides = np.round(6 * parameters[:, 0])
    rest = 6 * parameters[:, 0] - sides
    complement = sides % 2
    thirds = (sides - 3 * complement) // 2
    order = np.where(rest[:, None] >= 0, [[0, 1, 2]], [[0, 2, 1]])
    first = 3 * index[:, None]
    return (first + (order - thirds[:, None]) % 3).ravel(), (first + order).ravel(), complement, abs(rest)


def _blur(parameters, index):
    """A kernel an image, all of one length."""
    kernels = [blur_kernel(sigma) for sigma, in parameters]
    out = np.zeros((len(kernels), max(map(len, kernels))))
    for row, kernel in zip(out, kernels):
        start = (len(row) - len(kernel)) // 2
        row[start:start + len(kernel)] = kernel
    return out,


def _linear(parameters, index):
    return (*parameters[:, :5].T, parameters[:, 5:])


def _erase(parameters, index):
    return (*parameters[:, :4].T, parameters[:, 4:])


_PREPARE = dict(hue=_hue, blur=_blur, linear=_linear, erase=_erase)


def plan(operations):
    """Put the operations of several images together.

    Args:
        operations (Sequence[tuple]): Of each image, pairs of a kernel's name and its parameters, in order.

    Returns:
        tuple[list[tuple], ndarray]: Waves: name, whether it is of some images only, shapes of its arrays (first the
            rows where it is of some), options; and these arrays one behind another, float32.

    Raises:
        ConfigError: Images would differ in their channels.
    """
    place, waves, arrays = [0] * len(operations), [], []
    while True:
        heads = {i: own[place[i]] for i, own in enumerate(operations) if place[i] < len(own)}
        if not heads:
            return waves, np.concatenate([a.ravel() for a in arrays]).astype(np.float32) if arrays else \
                np.zeros(0, np.float32)
        name = min((name for name, _ in heads.values()), key=_RANK.get)
        rows = [i for i, head in heads.items() if head[0] == name]
        for i in rows:
            place[i] += 1
        values = [heads[i][1] for i in rows]
        options, parts = {}, ()
        if name == 'select':
            if len(rows) < len(operations) or len(set(values)) > 1:
                raise ConfigError('images of one batch differ in their channels: a step that changes them (Grayscale, '
                                  'ToLab) must be done to all, without a probability')
            options = dict(channels=values[0])
        elif values[0]:
            index, values = np.array(rows), np.array(values, np.float64)
            parts = _PREPARE[name](values, index) if name in _PREPARE else tuple(values.T)
            if name == 'linear':
                options = dict(with_luma=bool(values[:, 1].any()), with_mean=bool(values[:, 2].any()))
        some = len(rows) < len(operations)
        parts = (np.array(rows), *parts) if some else parts
        waves.append((name, some, tuple(part.shape for part in parts), options))
        arrays += parts


def _in_caches(kernel, x, index, parts):
    """A kernel, two images at a time: all of a batch are more than the caches of a CPU hold."""
    index = torch.arange(len(x)) if index is None else index
    count = len(index)
    for rows in torch.arange(count).split(2):
        first, last = int(rows[0]), int(rows[-1]) + 1
        # a parameter has one or three entries an image
        own = [part[len(part) // count * first:len(part) // count * last] for part in parts]
        x = kernel(x, index[first:last], *own)
    return x


class Work:
    """Images of one size with operations that are not done yet, of one view of a batch or of several.

    Args:
        images (Tensor): uint8, N x C x H x W, or N x P x C x H x W.
        waves (list[tuple]): See plan.
        numbers (ndarray | Tensor): See plan.
    """

    def __init__(self, images, waves=(), numbers=np.zeros(0, np.float32)):
        self.images = images
        self.waves = waves
        self.numbers = numbers
        # several views ask for the same; they hold it, so that nothing is left on the device when they are gone
        self._copies = WeakValueDictionary()
        self._result = None

    def __reduce__(self):
        return Work, (self.images, self.waves, self.numbers)

    def copied(self, where, function):
        """The same work on tensors that a function makes of these, `where` being a name for it."""
        copy = self._copies.get(where)
        if copy is None:
            copy = Work(function(self.images), self.waves, function(torch.as_tensor(self.numbers)))
            self._copies[where] = copy
        return copy

    def done(self):
        """The images when all is done; it is kept, as long as this is. Contiguous where anything was done."""
        if self._result is None:
            self._result = self.do()
        return self._result

    @torch.no_grad()
    def do(self):
        """As `done`, and nothing is kept."""
        if not self.waves:
            return self.images
        patches = self.images.dim() == 5
        x = self.images.flatten(0, 1) if patches else self.images
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        numbers, start = torch.as_tensor(self.numbers), 0
        for name, some, shapes, options in self.waves:
            parts = []
            for shape in shapes:
                size = math.prod(shape)
                parts.append(numbers[start:start + size].view(shape))
                start += size
            index = parts.pop(0).long() if some else None
            kernel = partial(getattr(device_kernels, name), **options)
            if x.device.type == 'cpu' and name != 'select':
                x = _in_caches(kernel, x, index, parts)
            else:
                x = kernel(x, index, *parts)
        x = x.to(torch.uint8)
        return x.unflatten(0, self.images.shape[:2]) if patches else x


class DeferredImages:
    """One view of a batch, with operations that are not done yet; it stands where the tensor of the images would.

    Args:
        work (Work): What is to be done, perhaps to several views together, in few kernels.
        part (slice, optional): Which images of it are this view; None: all.
        mixed (tuple[DeferredImages, float], optional): Images that are mixed in at the end, and the share of the own
            ones, see MixupCrops.
    """

    def __init__(self, work, part=None, mixed=None):
        self.work = work
        self.part = slice(None) if part is None else part
        self.mixed = mixed

    def copied(self, where, function):
        """See Work."""
        mixed = self.mixed and (self.mixed[0].copied(where, function), self.mixed[1])
        return DeferredImages(self.work.copied(where, function), self.part, mixed)

    def to(self, device, non_blocking=False):
        return self.copied(str(device), lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self):
        """What torch's loader calls, to pin memory."""
        return self.copied('pinned', lambda t: t.pin_memory())

    @torch.no_grad()
    def done(self):
        """Do all that is left, on the device where the images are.

        Returns:
            Tensor: uint8, N x C x H x W, or N x P x C x H x W.
        """
        images = self.work.done()[self.part]
        if self.mixed is None:
            return images
        others, share = self.mixed[0].done(), self.mixed[1]
        first = images[:len(others)].to(torch.float32).mul_(share).add_(others, alpha=1 - share).round_()
        return torch.cat([first.to(torch.uint8), images[len(others):]])

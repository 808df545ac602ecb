# Copyright (c) mmssl contributors. All rights reserved.
"""The form of a native step, and of one that is applied to each of several images."""
import numpy as np

from mmssl.utils.errors import ConfigError
from ..images import is_pillow, to_array, to_pillow
from .rng import rng

ANY_DEPTH = ('uint8', 'uint16', 'float32')


class Step:
    """A native step: H x W x C array in, an array of the same type out, and the input is left as it was.

    A subclass says in `draw` what is random and in `apply` what is done. Colours are RGB; the axis C is always there.
    Called with a Pillow image, or several, it returns Pillow images, so that it works in anybody's pipeline.

    Attributes:
        shape_stays (bool): Whether `apply` takes a ReducedImage and returns one of the same shape, see looks_at.
        types (tuple[str]): The types of images that it takes: uint8, and ANY_DEPTH where a subclass says so.
        instead (str): What an error about other images advises.
    """
    native = True
    shape_stays = False
    types = ('uint8', )
    instead = "leave it out, or set depth='8-bit' in the data source"

    def check(self, img):
        """See that the step takes images of this type.

        Raises:
            ConfigError: It does not.
        """
        # the first comparison is for speed: the name of a type takes longer to find than many a step's work is
        if isinstance(img, np.ndarray) and img.dtype != np.uint8 and img.dtype.name not in self.types:
            raise ConfigError(
                f'{type(self).__name__} takes images of {" or ".join(self.types)}, got {img.dtype} of the '
                f'shape {img.shape}: {self.instead}')

    def draw(self, img):
        """Draw the parameters.

        Args:
            img (ndarray): H x W x C.

        Returns:
            tuple | None: Arguments of `apply`; None leaves the image as it is.
        """
        return ()

    def apply(self, img, *params):
        """The step with given parameters.

        Args:
            img (ndarray): H x W x C.
            params: What `draw` returns.

        Returns:
            ndarray: Of the same type, H x W x C.
        """
        raise NotImplementedError

    def looks_at(self, img, *params):
        """What of the image `apply` looks at, and how large it makes that: so much need not be decoded.

        A step that tells gets, as its first argument, a ReducedImage in place of an array where the image was decoded
        at a fraction of its size, and reads it with resize_part. `draw` gets the whole image's shape alone.

        Args:
            img (Outline): The image; it has a `shape`.
            params: What `draw` returns.

        Returns:
            tuple[int, int, int, int] | None: Height and width of the part, and those that it gets, in pixels; None: all
                of the image, pixel by pixel.
        """
        return None

    def __call__(self, img):
        if type(img) is not np.ndarray and is_pillow(img):
            return to_pillow(self.run(to_array(img)))
        return self.run(img)

    def run(self, img):
        """Draw and apply, for one image. Steps that take tensors, or several images, override it.

        Args:
            img (ndarray | Tensor | tuple): No Pillow image.

        Returns:
            ndarray | Tensor | tuple: As `apply`.
        """
        if isinstance(img, tuple):
            raise TypeError(f'{type(self).__name__} takes one image and got {len(img)}: it must stand before the step '
                            'that makes several or adds a mask')
        self.check(img)
        params = self.draw(img)
        return img if params is None else self.apply(img, *params)

    def __repr__(self):
        args = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if k[0] != '_')
        return f'{type(self).__name__}({args})'


class RandomStep(Step):
    """A native step that is done with a probability, in the same way whatever the image.

    It takes a tuple of images as well, and then does the same to each, or nothing to any of them.

    Args:
        p (float): The probability.
    """

    def __init__(self, p=0.5):
        self.p = check_probability(p, type(self).__name__)

    def draw(self, img):
        return () if rng().random() < self.p else None

    def run(self, img):
        if not isinstance(img, tuple):
            return super().run(img)
        if not all(isinstance(one, np.ndarray) and one.dtype.name in ANY_DEPTH and one.ndim == 3 for one in img):
            raise TypeError(f'{type(self).__name__} takes images: it must stand before ToTensor and the step that adds '
                            'a mask')
        for one in img:
            self.check(one)
        params = self.draw(img)
        return img if params is None else tuple(self.apply(one, *params) for one in img)


def check_probability(p, name):
    """The probability as a float.

    Raises:
        ValueError: Not within 0..1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f'{name}: the probability p must be within 0..1, got {p}')
    return float(p)


def check_range(value, name):
    """A pair of numbers in order.

    Raises:
        ValueError: Anything else.
    """
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f'{name} must be a pair (from, to) with from <= to, got {value}')
    return tuple(map(float, value))


def check_size(size, name='size'):
    """Height and width in pixels.

    Args:
        size (int | Sequence[int]): One number or one in a list for a square, or (height, width).

    Raises:
        ValueError: Anything else.
    """
    pair = (size, ) if np.isscalar(size) else tuple(size)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2 or any(isinstance(n, str) or n != int(n) or n < 1 for n in pair):
        raise ValueError(f'{name} must be a positive integer or a pair (height, width) of them, got {size!r}')
    return int(pair[0]), int(pair[1])


def each(function):
    """Let a method that takes one image take a tuple or list as well, and then do it to each entry."""

    def method(self, img):
        if isinstance(img, (tuple, list)):
            return tuple(function(self, i) for i in img)
        return function(self, img)

    method.__doc__ = function.__doc__
    return method

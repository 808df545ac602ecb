# Copyright (c) mmssl contributors. All rights reserved.
"""From an image to a normalised tensor; configs with `prefetch` leave this to the loader."""
import cv2
import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from ..images import is_deep
from ..registry import PIPELINES
from .base import Step, each


@PIPELINES.register_module()
class ToTensor(Step):
    """uint8 H x W x C array -> float32 C x H x W tensor within 0..1; of several images, each.

    Args:
        max_value (float, optional): What values are divided by: 255 for uint8 where it is None. Images of uint16 and
            float32 need it, 1 keeps their units.

    Raises:
        ConfigError: An image of uint16 or float32 without `max_value`.
    """

    def __init__(self, max_value=None):
        if max_value is not None and not 0 < max_value < float('inf'):
            raise ValueError(f'max_value must be positive and finite, got {max_value}')
        self.max_value = max_value

    @each
    def run(self, img):
        if is_deep(img) and img.ndim == 3:
            if self.max_value is None:
                raise ConfigError(f'ToTensor: an image of {img.dtype} does not say which value is 1: set max_value, to '
                                  '1 for values in their own units')
            planes = np.ascontiguousarray(img.transpose(2, 0, 1), np.float32)
            return torch.from_numpy(planes / np.float32(self.max_value))
        if not isinstance(img, np.ndarray) or img.dtype != np.uint8 or img.ndim != 3:
            return img  # a mask that came with the image, or a tensor already
        planes = np.empty((img.shape[2], *img.shape[:2]), np.uint8)
        if len(planes) > 1:
            cv2.split(img, list(planes))
        else:
            planes[0] = img[..., 0]
        return torch.from_numpy(planes).to(torch.float32).div_(255 if self.max_value is None else self.max_value)


def fill_gaps(img):
    """A normalised tensor with 0, the mean, in the place of missing values (NaN); it is changed in place."""
    return img.nan_to_num_(nan=0., posinf=float('inf'), neginf=float('-inf'))


@PIPELINES.register_module()
class Normalize(Step):
    """(tensor - mean) / std a channel; of several images, each. Missing values (NaN) become 0, the mean.

    Args:
        mean (Sequence[float]): One a channel, in the scale of the tensor, which is 0..1 for 8-bit images.
        std (Sequence[float]): One a channel, in the same scale.
        inplace (bool): Write into the tensor that came in.
    """

    def __init__(self, mean, std, inplace=False):
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise ValueError(f'Normalize takes one mean and one positive std a channel, got mean={mean}, std={std}')
        self.mean = list(mean)
        self.std = list(std)
        self.inplace = inplace
        self._mean = torch.tensor(self.mean).view(-1, 1, 1)
        self._std = torch.tensor(self.std).view(-1, 1, 1)

    @each
    def run(self, img):
        if isinstance(img, np.ndarray) and (img.dtype == np.uint8 or is_deep(img)):
            raise TypeError('Normalize takes tensors: put dict(type="ToTensor") before it')
        if not torch.is_tensor(img) or img.ndim != 3:
            return img
        if img.shape[0] != len(self.mean):
            raise ValueError(f'Normalize has {len(self.mean)} means, the image has {img.shape[0]} channels')
        return fill_gaps((img if self.inplace else img.clone()).sub_(self._mean).div_(self._std))

# Copyright (c) mmssl contributors. All rights reserved.
"""From an image to a normalised tensor; configs with `prefetch` leave this to the loader."""
import cv2
import numpy as np
import torch

from ..registry import PIPELINES
from .base import Step, each


@PIPELINES.register_module()
class ToTensor(Step):
    """uint8 H x W x C array -> float32 C x H x W tensor within 0..1; of several images, each."""

    @each
    def run(self, img):
        if not isinstance(img, np.ndarray) or img.dtype != np.uint8 or img.ndim != 3:
            return img  # a mask that came with the image, or a tensor already
        planes = np.empty((img.shape[2], *img.shape[:2]), np.uint8)
        if len(planes) > 1:
            cv2.split(img, list(planes))
        else:
            planes[0] = img[..., 0]
        return torch.from_numpy(planes).to(torch.float32).div_(255)


@PIPELINES.register_module()
class Normalize(Step):
    """(tensor - mean) / std a channel; of several images, each.

    Args:
        mean (Sequence[float]): One a channel, in the scale 0..1.
        std (Sequence[float]): One a channel, in the scale 0..1.
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
        if isinstance(img, np.ndarray) and img.dtype == np.uint8:
            raise TypeError('Normalize takes tensors: put dict(type="ToTensor") before it')
        if not torch.is_tensor(img) or img.ndim != 3:
            return img
        if img.shape[0] != len(self.mean):
            raise ValueError(f'Normalize has {len(self.mean)} means, the image has {img.shape[0]} channels')
        return (img if self.inplace else img.clone()).sub_(self._mean).div_(self._std)

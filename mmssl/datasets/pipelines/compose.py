# Copyright (c) mmssl contributors. All rights reserved.
"""Pipelines: native steps on arrays and steps of others on Pillow images, one after another."""
import numpy as np
from PIL import Image

from mmssl.utils.errors import ConfigError
from ..builder import PIPELINES
from .base import Step, check_probability
from .rng import global_generators, rng


def build_step(step):
    """Build a step.

    Args:
        step (dict | Callable): A config; its `type` is a registered step or one that only torchvision.transforms
            has. A callable is taken as it is.

    Returns:
        Callable: The step.

    Raises:
        ConfigError: No such step or argument.
    """
    if callable(step):
        return step
    kind = step.get('type') if isinstance(step, dict) else None
    if isinstance(kind, str) and PIPELINES.get(kind) is None:
        import torchvision.transforms
        found = getattr(torchvision.transforms, kind, None)
        if isinstance(found, type):
            PIPELINES.register_module(name=kind, module=found)
    return PIPELINES.build(step)


def to_array(img):
    """What a step of others returned -> what native steps take.

    Args:
        img (PIL.Image.Image | object): Pillow image, or a tuple or list of images; anything else stays as it is.

    Returns:
        ndarray | object: uint8, H x W x C.
    """
    if isinstance(img, Image.Image):
        img = np.array(img if img.mode in ('L', 'RGB', 'RGBA', 'CMYK', 'LA') else img.convert('RGB'))
        return img if img.ndim == 3 else img[..., None]
    if isinstance(img, (tuple, list)):
        return tuple(map(to_array, img))
    return img


def to_pillow(img):
    """What native steps return -> what steps of others take.

    Args:
        img (ndarray | object): uint8, H x W x C, or a tuple of such; anything else stays as it is.

    Returns:
        PIL.Image.Image | object: Of mode L, RGB or RGBA.

    Raises:
        ValueError: Pillow has no image of that many channels.
    """
    if isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim == 3:
        if img.shape[2] not in (1, 3, 4):
            raise ValueError(f'a step on Pillow images takes 1, 3 or 4 channels, the image has {img.shape[2]}; '
                             'derive the step from mmssl.datasets.pipelines.Step, which gets the array')
        return Image.fromarray(img[..., 0] if img.shape[2] == 1 else img)
    if isinstance(img, (tuple, list)):
        return tuple(map(to_pillow, img))
    return img


def _finish(img):
    if isinstance(img, tuple):
        return tuple(map(_finish, img))
    return np.ascontiguousarray(img) if isinstance(img, np.ndarray) and img.ndim == 3 else img


class Compose:
    """Steps one after another.

    Native steps (those with a true attribute `native`) get and return uint8 H x W x C arrays; all others get and
    return Pillow images or tensors, and the conversion is inserted where the kind changes. Where there are such
    others, the global generators of random, numpy and torch are keyed by the sample and view as well.

    Args:
        transforms (Sequence[dict | Callable]): The steps, as configs or built.
    """

    def __init__(self, transforms):
        if not isinstance(transforms, (list, tuple)):
            raise ConfigError(f'a pipeline is a list of steps, got {transforms!r}')
        self.transforms = []
        for step in transforms:
            try:
                self.transforms.append(build_step(step))
            except ConfigError as error:
                error.locate_in(transforms)
                raise
        # a tensor is what both kinds know, so native steps behind ToTensor need no conversion either
        self._plan = [(step, bool(getattr(step, 'native', False))) for step in self.transforms]
        self._all_native = all(native for _, native in self._plan)

    def __call__(self, img):
        """Run the steps.

        Args:
            img (ndarray | PIL.Image.Image): An image; arrays are uint8, H x W x C. It is not changed.

        Returns:
            ndarray | Tensor | tuple: C-contiguous uint8 H x W x C array, or whatever the last step returned.
        """
        if self._all_native:
            return self._run(img)
        with global_generators():
            return self._run(img)

    def _run(self, img):
        for step, native in self._plan:
            if not native:
                img = to_pillow(img)
            elif type(img) is not np.ndarray:
                img = to_array(img)
            img = step(img)
        return _finish(to_array(img))

    def __repr__(self):
        steps = ''.join(f'\n    {step!r},' for step in self.transforms)
        return f'{type(self).__name__}([{steps}\n])'


@PIPELINES.register_module()
class RandomAppliedTrans(Step):
    """Do several steps, or none of them.

    Args:
        transforms (list[dict | Callable]): The steps.
        p (float): Probability that they are done.
    """

    def __init__(self, transforms, p=0.5):
        self.p = check_probability(p, 'RandomAppliedTrans')
        self.transforms = Compose(transforms)

    def draw(self, img):
        return () if rng().random() < self.p else None

    def apply(self, img):
        return self.transforms(img)


@PIPELINES.register_module()
class RandomAug:
    """RandAugment and its kin, made by timm: crop, augmentation, tensor, normalisation, erasing.

    Args:
        input_size (int): Length of a side in pixels. Up to 32, the image is cropped with a border of 4 instead of
            resized.
        color_jitter (float, optional): Strength of the jitter where `auto_augment` is not set.
        auto_augment (str, optional): timm's description, such as 'rand-m9-mstd0.5-inc1'.
        interpolation (str, optional): timm's name of the method, such as 'bicubic'.
        re_prob (float, optional): Probability of erasing.
        re_mode (str, optional): What is painted: 'const', 'rand' or 'pixel'.
        re_count (int, optional): Number of rectangles.
        mean (Sequence[float]): One a channel, in the scale 0..1.
        std (Sequence[float]): One a channel, in the scale 0..1.
    """

    def __init__(self,
                 input_size=None,
                 color_jitter=None,
                 auto_augment=None,
                 interpolation=None,
                 re_prob=None,
                 re_mode=None,
                 re_count=None,
                 mean=None,
                 std=None):
        from timm.data import create_transform
        from torchvision.transforms import RandomCrop
        self.transforms = create_transform(
            input_size=input_size,
            is_training=True,
            color_jitter=color_jitter,
            auto_augment=auto_augment,
            interpolation=interpolation,
            re_prob=re_prob,
            re_mode=re_mode,
            re_count=re_count,
            mean=mean,
            std=std)
        if input_size <= 32:
            self.transforms.transforms[0] = RandomCrop(input_size, padding=4)

    def __call__(self, img):
        return self.transforms(img)

    def __repr__(self):
        return f'{type(self).__name__}({self.transforms!r})'

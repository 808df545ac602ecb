# Copyright (c) mmssl contributors. All rights reserved.
"""Pipelines: native steps on arrays and steps of others on Pillow images, one after another."""
import re

import numpy as np

from mmssl.utils.errors import ConfigError
from ..images import Outline, has_pillow_form, is_deep, is_pillow, to_array, to_pillow
from ..registry import PIPELINES
from .base import ANY_DEPTH, Step, check_probability, check_size
from .format import Normalize
from .resample import interpolation_name
from .rng import global_generators, is_keyed, rng, seed_view

_LARGE = 2**18  # pixels up to which so little time would be saved that it is not worth drawing crops twice
_NO_POLICY = "timm knows no auto_augment {!r}; such as 'rand-m9-mstd0.5-inc1', 'augmix-m3', 'original-mstd0.5' or '3a'"


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
    return step if callable(step) else PIPELINES.build(step)


def build_steps(transforms):
    """Build the steps of a pipeline.

    Args:
        transforms (Sequence[dict | Callable]): Configs, or built steps.

    Returns:
        list[Callable]: The steps.

    Raises:
        ConfigError: No list, or no such step or argument; with the place in the list.
    """
    if not isinstance(transforms, (list, tuple)):
        raise ConfigError(f'a pipeline is a list of steps, got {transforms!r}')
    steps = []
    for step in transforms:
        try:
            steps.append(build_step(step))
        except ConfigError as error:
            error.locate_in(transforms)
            raise
    return steps


def _for_others(img, step):
    """What native steps return -> what a step of others takes; a user's own one gets deep images as they are.

    Raises:
        ValueError: Pillow has no image of that many channels.
        ConfigError: A step of torchvision or timm would get an array of more than 8 bits.
    """
    if is_deep(img) and (isinstance(step, RandomAug) or type(step).__module__.startswith('torchvision.')):
        raise ConfigError(f'{type(step).__name__} takes Pillow images, which have 8 bits; got {img.dtype} of the shape '
                          f"{img.shape}: take a step of mmssl, or set depth='8-bit' in the data source")
    if isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim == 3 and not has_pillow_form(img):
        raise ValueError(f'a step on Pillow images takes 1, 3 or 4 channels, the image has {img.shape[2]}; '
                         'derive the step from mmssl.datasets.pipelines.Step, which gets the array')
    return tuple(_for_others(one, step) for one in img) if isinstance(img, (tuple, list)) else to_pillow(img)


def _looking(steps):
    """The steps up to the first one that tells what it looks at; none where the whole image must be there."""
    for number, step in enumerate(steps):
        if _defines(step, 'looks_at'):
            return steps[:number + 1]
        if not (_defines(step, 'shape_stays') and step.shape_stays):
            break
    return []


def _defines(step, name):
    """Whether the class of a step says this of itself, and no subclass overrides what is drawn or done."""
    if not isinstance(step, Step):
        return False
    classes = type(step).__mro__
    owner, *others = (
        next(i for i, cls in enumerate(classes) if own in vars(cls))
        for own in (name, 'draw', 'apply', 'run', '__call__'))
    return owner < classes.index(Step) and owner <= min(others)


def least_reduction(pipelines, first, resize, height, width):
    """By what an image may be reduced when it is decoded, so that no view of it looks different.

    Args:
        pipelines (Sequence[Compose]): That of each view.
        first (int): Number of the first view in the sample.
        resize (bool): See Compose.reduction.
        height (int): Of the image, in pixels.
        width (int): Of the image, in pixels.

    Returns:
        int: 8, 4, 2, or 1 for not at all: for small images, and where no sample is under way, whose views could be
            drawn a second time.
    """
    if height * width <= _LARGE or not is_keyed():
        return 1
    img, least = Outline(height, width), 8
    for number, pipeline in enumerate(pipelines, first):
        seed_view(number)
        least = min(least, pipeline.reduction(img, resize))
        if least == 1:
            break
    return least


def _finish(img):
    if isinstance(img, tuple):
        return tuple(map(_finish, img))
    return np.ascontiguousarray(img) if isinstance(img, np.ndarray) and img.ndim == 3 else img


class Compose:
    """Steps one after another.

    Native steps (those with a true attribute `native`) get and return H x W x C arrays; all others get and return
    Pillow images or tensors, and the conversion is inserted where the kind changes; for arrays of uint16 and float32,
    of which Pillow has no images, there is none. Where there are such others, the global generators of random, numpy
    and torch are keyed by the sample and view as well.

    Args:
        transforms (Sequence[dict | Callable]): The steps, as configs or built.
    """

    def __init__(self, transforms):
        self.transforms = build_steps(transforms)
        for step in self.transforms:
            if getattr(step, 'takes_sample', False):
                raise ConfigError(f'{type(step).__name__} takes a whole sample and not one image: it stands in the '
                                  'pipeline of a SampleDataset, and not within another step')
        # a tensor is what both kinds know, so native steps behind ToTensor need no conversion either
        self._plan = [(step, bool(getattr(step, 'native', False))) for step in self.transforms]
        self._all_native = all(native for _, native in self._plan)
        self._looks = _looking(self.transforms)

    def __call__(self, img):
        """Run the steps.

        Args:
            img (ndarray | PIL.Image.Image): An image; arrays are uint8, uint16 or float32, H x W x C. It is not
                changed.

        Returns:
            ndarray | PIL.Image.Image | Tensor | tuple: As the image that came in, a C-contiguous H x W x C array
                or a Pillow image; or whatever else the last step returned.
        """
        back = to_pillow if is_pillow(img) else to_array
        if self._all_native:
            return _finish(back(self._run(img)))
        with global_generators():
            return _finish(back(self._run(img)))

    def reduction(self, img, resize=False):
        """By what the image of the view under way may be reduced when it is decoded, its first step being asked.

        Args:
            img (Outline): The size of the image.
            resize (bool): Ask also a step that draws nothing.

        Returns:
            int: 8, 4, 2, or 1 for not at all.
        """
        if not self._looks or not resize and type(self._looks[-1]).draw is Step.draw:
            return 1
        for step in self._looks:
            params = step.draw(img)
        look = params if params is None else step.looks_at(img, *params)
        if look is None:
            return 1
        h, w, height, width = look
        return next((r for r in (8, 4, 2) if h >= r * height and w >= r * width), 1)

    def _run(self, img):
        for step, native in self._plan:
            if not native:
                img = _for_others(img, step)
            elif type(img) is not np.ndarray:
                img = to_array(img)
            img = step(img)
        return img

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
    types = ANY_DEPTH

    def __init__(self, transforms, p=0.5):
        self.p = check_probability(p, 'RandomAppliedTrans')
        self.transforms = Compose(transforms)

    def draw(self, img):
        return () if rng().random() < self.p else None

    def apply(self, img):
        return self.transforms(img)


@PIPELINES.register_module()
class RandomAug:
    """timm's augmentation for fine-tuning: crop, flip, RandAugment or its kin, tensor, normalisation, erasing.

    It makes float tensors of Pillow images and stands alone in its pipeline, with `prefetch=False`. What is None is
    timm's default, which the descriptions name.

    Args:
        input_size (int | Sequence[int], optional): Length of a square's side or (height, width), in pixels; 224. Up to
            32, as for CIFAR, the image is cropped with a border of 4 instead of resized.
        color_jitter (float | Sequence[float], optional): Strength of the jitter, of all or of (brightness, contrast,
            saturation) and perhaps hue, where `auto_augment` is not set; no jitter.
        auto_augment (str, optional): timm's description, such as 'rand-m9-mstd0.5-inc1'; nothing.
        interpolation (str | int, optional): See interpolation_name; 'random' draws bilinear or bicubic; bilinear.
        re_prob (float, optional): Probability of erasing; 0.
        re_mode (str, optional): What is painted: 'const' (0), 'rand' (one colour) or 'pixel' (noise); 'const'.
        re_count (int, optional): Largest number of rectangles; 1.
        mean (Sequence[float], optional): One a channel, in the scale 0..1; ImageNet's.
        std (Sequence[float], optional): One a channel, in the scale 0..1; ImageNet's.
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
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
        size = check_size(224 if input_size is None else input_size, 'input_size')
        if interpolation not in (None, 'random'):
            interpolation = interpolation_name(interpolation)
        options = dict(
            interpolation='bilinear',
            re_prob=0.,
            re_mode='const',
            re_count=1,
            mean=IMAGENET_DEFAULT_MEAN,
            std=IMAGENET_DEFAULT_STD)
        given = dict(
            interpolation=interpolation, re_prob=re_prob, re_mode=re_mode, re_count=re_count, mean=mean, std=std)
        options.update((name, value) for name, value in given.items() if value is not None)
        check_probability(options['re_prob'], 'RandomAug (re_prob)')
        if options['re_mode'] not in ('const', 'rand', 'pixel') or options['re_count'] < 1:
            raise ValueError("re_mode must be 'const', 'rand' or 'pixel' and re_count 1 or more, got "
                             f're_mode={re_mode!r}, re_count={re_count}')
        if np.ndim(color_jitter) and len(color_jitter) not in (3, 4):
            raise ValueError('color_jitter must be one number or those of brightness, contrast, saturation and perhaps '
                             f'hue; got {color_jitter}')
        Normalize(options['mean'], options['std'])  # it looks whether they fit
        # timm passes over sections that it does not understand, such as 'mstd' without a number
        if auto_augment and not re.fullmatch(r'\w+(-(t\w*|[a-z]+\d[\d.]*))*', auto_augment):
            raise ValueError(_NO_POLICY.format(auto_augment))
        try:
            self.transforms = create_transform(
                size, is_training=True, color_jitter=color_jitter, auto_augment=auto_augment, **options)
        except AssertionError as error:
            raise ValueError(_NO_POLICY.format(auto_augment)) from error
        if max(size) <= 32:
            from torchvision.transforms import RandomCrop
            self.transforms.transforms[0] = RandomCrop(size, padding=4)

    def __call__(self, img):
        return self.transforms(img)

    def __repr__(self):
        return f'{type(self).__name__}({self.transforms!r})'

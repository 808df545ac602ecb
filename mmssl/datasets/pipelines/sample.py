# Copyright (c) mmssl contributors. All rights reserved.
"""Pipelines on whole samples: steps that see all images of a sample, make copies of them, or make labels."""
from itertools import groupby

import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from ..registry import PIPELINES
from .base import check_probability
from .compose import Compose, build_step, build_steps
from .deferred import Deferred, join
from .geometry import turn
from .rng import global_generators, next_view, rng


def map_images(function, img):
    """Apply a function to each image of a sample.

    Args:
        function (Callable): Takes and returns one image, H x W x C, or what stands in the place of one.
        img (ndarray | Tensor | Deferred | tuple | list | dict): An image, P patches as an array with one axis more, or
            a list or a dict of such. A tuple (an image with its mask) counts as one image.

    Returns:
        ndarray | Tensor | Deferred | tuple | list | dict: In the same form.

    Raises:
        ConfigError: Patches that are not of one shape any more.
    """
    if isinstance(img, dict):
        return {name: map_images(function, one) for name, one in img.items()}
    if isinstance(img, list):
        return [map_images(function, one) for one in img]
    if not isinstance(img, (np.ndarray, torch.Tensor, Deferred)) or img.ndim != 4:
        return function(img)
    patches = [function(one) for one in img]
    shapes = {tuple(one.shape if isinstance(one, Deferred) else np.shape(one)) for one in patches}
    if len(shapes) > 1 or isinstance(patches[0], tuple):
        raise ConfigError(
            f'the patches of an image must stay of one shape, got {sorted(map(str, shapes))[:3]}: let the '
            'steps on them end with one size, such as that of CenterCrop')
    if any(isinstance(one, Deferred) for one in patches):
        return join(patches)
    return torch.stack(patches) if isinstance(patches[0], torch.Tensor) else np.stack(patches)


def count_images(img):
    """Number of images that map_images finds, each patch counted."""
    found = []
    map_images(lambda one: found.append(one) or np.zeros(0), img)
    return len(found)


class SampleStep:
    """A step that takes a whole sample: a dict with `img`, `idx`, perhaps `label`, and what steps before it made.

    A subclass returns the sample with what it changed: `dict(sample, img=...)`. It draws from rng(), which has a stream
    of its own for each such step, and leaves the arrays that it got as they were. Images are uint8 H x W x C arrays;
    several of them are a list (views), a dict by name, or a P x H x W x C array (patches).

    Attributes:
        makes (tuple[str]): Entries of the sample that the step makes or changes, besides `img`.
    """
    takes_sample = True
    native = True
    makes = ()

    def __call__(self, sample):
        raise NotImplementedError

    def __repr__(self):
        args = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if k[0] != '_')
        return f'{type(self).__name__}({args})'


class SamplePipeline:
    """Steps on a sample, one after another.

    A step that takes a sample (a true attribute `takes_sample`) gets all of it. Any other step is applied to every
    image of the sample, each with random numbers of its own: image number i of the pipeline's first stretch of such
    steps draws what view i of MultiViewDataset would draw.

    Args:
        transforms (Sequence[dict | Callable]): The steps, as configs or built.
    """

    def __init__(self, transforms):
        self.transforms = build_steps(transforms)
        self._parts = []
        for takes_sample, steps in groupby(self.transforms, lambda step: bool(getattr(step, 'takes_sample', False))):
            self._parts += list(steps) if takes_sample else [Compose(list(steps))]

    @property
    def first_views(self):
        """list[Compose]: What each view of an image begins with where only copies come before; else a whole image."""
        views = 1
        for part in self._parts:
            if type(part) is not Copies:
                return [part if isinstance(part, Compose) else Compose([])] * views
            views *= part.num
        return [Compose([])]

    @property
    def makes(self):
        """set[str]: What steps make besides images."""
        return {name for step in self._parts for name in getattr(step, 'makes', ())}

    def __call__(self, sample):
        """Run the steps.

        Args:
            sample (dict): With `img`. It is not changed.

        Returns:
            dict: The sample.

        Raises:
            ConfigError: A step returned something else than a dict with `img`.
        """
        for part in self._parts:
            if not getattr(part, 'takes_sample', False):
                sample = dict(sample, img=map_images(lambda img: self._draw_anew(part, img), sample['img']))
                continue
            next_view(of_sample=True)
            if getattr(part, 'native', False):
                sample = part(sample)
            else:
                with global_generators():
                    sample = part(sample)
            if not isinstance(sample, dict) or 'img' not in sample:
                raise ConfigError(f'{type(part).__name__} takes a sample and must return one, a dict with img; it '
                                  f'returned {type(sample).__name__}')
        return sample

    @staticmethod
    def _draw_anew(part, img):
        next_view()
        return part(img)

    def __repr__(self):
        steps = ''.join(f'\n    {step!r},' for step in self.transforms)
        return f'{type(self).__name__}([{steps}\n])'


@PIPELINES.register_module()
class OnEntries(SampleStep):
    """Apply steps to some of the images of a sample, and leave the others as they are.

    Args:
        entries (list[str] | list[int]): Names of images, or positions where they are a list of views.
        transforms (list[dict | Callable]): The steps; those that take a sample get one of these images alone.
    """

    def __init__(self, entries, transforms):
        if not isinstance(entries, (list, tuple)) or not entries:
            raise ConfigError(f"entries must name images of the sample, such as ['patches'] or [0], got {entries!r}")
        self.entries = list(entries)
        self.transforms = SamplePipeline(transforms)
        self.makes = tuple(self.transforms.makes)

    def __call__(self, sample):
        img = sample['img']
        names = list(img) if isinstance(img, dict) else list(range(len(img))) if isinstance(img, list) else []
        absent = [entry for entry in self.entries if entry not in names]
        if absent:
            raise ConfigError(f'OnEntries names the entry {absent[0]!r}; the images of the sample are ' +
                              (f'{names}' if names else 'one array without a name'))
        chosen = self.transforms(dict(sample, img={name: img[name] for name in self.entries}))
        done = chosen['img']
        if not isinstance(done, dict) or not isinstance(img, dict) and set(done) != set(self.entries):
            found = sorted(map(str, done)) if isinstance(done, dict) else type(done).__name__
            raise ConfigError(f'the steps of OnEntries must leave the images {self.entries} under these names, and may '
                              f'add others only where images have names; they made {found}')
        if isinstance(img, dict):
            kept = {name: done.get(name, one) for name, one in img.items() if name not in self.entries or name in done}
            return dict(chosen, img={**kept, **done})
        return dict(chosen, img=[done.get(name, one) for name, one in zip(names, img)])


@PIPELINES.register_module()
class Copies(SampleStep):
    """Several views of the image: later steps treat each copy anew.

    Args:
        num (int): Number of copies; the image becomes a list of so many.
    """

    def __init__(self, num=2):
        if isinstance(num, bool) or num < 1:
            raise ConfigError(f'num must be a positive integer, got {num!r}')
        self.num = num

    def __call__(self, sample):
        img = sample['img']
        if isinstance(img, list):
            return dict(sample, img=[one for one in img for _ in range(self.num)])
        if isinstance(img, dict):
            return dict(sample, img={name: [one] * self.num for name, one in img.items()})
        return dict(sample, img=[img] * self.num)


@PIPELINES.register_module()
class EachView(SampleStep):
    """A step with a probability of its own for each view, such as the blur and the solarisation of BYOL.

    Args:
        step (dict | Callable): The step on one image; where it has a probability p, this must be 1.
        p (list[float]): Probability for each view: as many as the sample has images.
    """

    def __init__(self, step, p):
        if not isinstance(p, (list, tuple)) or not p:
            raise ConfigError(f'p must be a list with a probability for each view, such as [1.0, 0.1], got {p!r}')
        self.p = [check_probability(one, 'EachView') for one in p]
        self.step = build_step(step)
        if getattr(self.step, 'p', 1) != 1:
            raise ConfigError(f'the step of EachView has a probability of its own, {self.step.p}, which would be '
                              'multiplied with those of the views: set p=1.0 in it')
        self._step = Compose([self.step])

    def __call__(self, sample):
        views = count_images(sample['img'])
        if views != len(self.p):
            raise ConfigError(f'EachView has {len(self.p)} probabilities, the sample has {views} images: p must have '
                              f'{views} entries')
        chances = iter(self.p)

        def one(img):
            next_view()
            return self._step(img) if rng().random() < next(chances) else img

        return dict(sample, img=map_images(one, sample['img']))


@PIPELINES.register_module()
class RandomAngle(SampleStep):
    """Turn each image by a random one of several equal steps, which is its class <https://arxiv.org/abs/1803.07728>.

    It stands behind the crop: images are square, and no black border tells the angle (see geometry.turn).

    Args:
        num_angles (int): Number of steps in a full turn.
        label (str): Entry of the sample for the class: an int, an int64 array of several views, or a dict of these by
            the names of the images.
    """

    def __init__(self, num_angles=4, label='rot_label'):
        if isinstance(num_angles, bool) or num_angles < 2:
            raise ConfigError(f'num_angles must be an integer above 1, got {num_angles!r}')
        self.num_angles = self.num_classes = num_angles
        self.label = label
        self.makes = (label, )

    def __call__(self, sample):
        img = sample['img']
        if isinstance(img, dict):  # labels by the same names
            turned = {name: self._turn(one) for name, one in img.items()}
            img, labels = ({name: pair[i] for name, pair in turned.items()} for i in range(2))
        else:
            img, labels = self._turn(img)
        return dict(sample, img=img, **{self.label: labels})

    def _turn(self, img):
        """Images turned, and their classes."""
        drawn = []

        def one(img):
            if not isinstance(img, (np.ndarray, Deferred)):
                raise ConfigError(f'RandomAngle takes uint8 images and got {type(img).__name__}: it stands before '
                                  'ToTensor, and before a step that adds a mask')
            drawn.append(int(rng().integers(self.num_angles)))
            try:
                return turn(img, drawn[-1], self.num_angles)
            except ValueError as error:
                raise ConfigError(f'RandomAngle: {error}; let it stand behind a crop to a square') from error

        img = map_images(one, img)
        return img, drawn[0] if isinstance(img, (np.ndarray, Deferred)) and img.ndim == 3 else np.array(drawn)

# Copyright (c) mmssl contributors. All rights reserved.
"""Which steps can be left to the device, and pipelines that leave them (`data.device_steps`).

From the first colour step on a pipeline draws and records, if all steps behind it can be recorded; the parameters are
those that it would draw anyway. Steps are known by their exact type: a subclass may do anything.
"""
import copy
import math

import numpy as np

from .base import RandomStep
from .blur import GaussianBlur, blur_kernel
from .color import _CUT, SMALL, ColorJitter, Grayscale, Lighting, RandomGrayscale, Solarization, _check_rgb
from .compose import RandomAppliedTrans
from .deferred import Deferred, lift
from .geometry import RandomErasing, RandomHorizontalFlip, RandomVerticalFlip
from .mask import MaskStep
from .photometric import (RandomAdjustSharpness, RandomAutocontrast, RandomPhotometric, RandomPosterize, RandomSolarize,
                          ToLab)
from .sample import Copies, EachView, OnEntries, RandomAngle


def _linear(scale, luma=0., mean=0., inside=(1., 0.), offset=(_CUT, ) * 3):
    return 'linear', (scale, luma, mean, *inside, *offset)


_GREY = _linear(0, 1, offset=(0, 0, 0))  # OpenCV rounds it


def _colours(img):
    """Number of channels that colour steps change."""
    return 3 if img.shape[-1] == 4 else img.shape[-1]


def _jitter(step, img, order, *factors):
    colours, done = _colours(img), []
    # changes are put together where ColorJitter does so, see its _apply_rgb
    folds, start = img.shape[-1] == 3, (1., 0., 0., (1., 0.), 0.)
    keep, grey, mean, inside, offset = start
    for i in order:
        factor = factors[i]
        if factor is None or i < 3 and factor == 1 or i > 1 and colours == 1:
            continue
        if i > 1:
            _check_colours(img, ('saturation', 'hue')[i - 2])
        if i == 1:
            mean, inside = 1 - factor, (keep + grey, offset)
        elif i == 0:
            mean = mean * factor
        if i < 2:
            keep, grey, offset = keep * factor, grey * factor, offset * factor + _CUT
        elif i == 2:
            keep, grey, offset = keep * factor, grey * factor + (1 - factor) * (keep + grey), offset + _CUT
        if i == 3 or factor > 1 or not folds:
            if (keep, grey, mean, inside, offset) != start:
                done.append(_linear(keep, grey, mean, inside, (offset, ) * 3))
            keep, grey, mean, inside, offset = start
        if i == 3 and (steps := int(factor * 255)):  # as color.adjust_hue cuts it off
            small = img.shape[0] * img.shape[1] < SMALL
            done.append(('hue_of_small', ((steps - 1) % 256, )) if small else ('hue', (steps / 255, )))
    if (keep, grey, mean, inside, offset) != start:
        done.append(_linear(keep, grey, mean, inside, (offset, ) * 3))
    return img.then(*done)


def _check_colours(img, what):
    if img.shape[-1] not in (3, 4):
        _check_rgb(img, what)  # which says so


def _grey(step, img):
    colours = _colours(img)
    if colours == 1:
        return img
    _check_colours(img, 'grey')
    return img.then(_GREY)


def _greyscale(step, img):
    grey, number = _grey(step, img), step.num_output_channels
    return grey if number == 3 == img.shape[-1] else grey.then(('select', ((0, ) * number)), channels=number)


def _lighting(step, img, colour):
    _check_rgb(img, 'Lighting')
    return img.then(_linear(1, offset=tuple(255 * np.asarray(colour))))


def _to_lab(step, img):
    _check_rgb(img, 'ToLab')
    lab = img.then(('lab', ()))
    return lab if step.channels == 'Lab' else lab.then(('select', tuple(step._places)), channels=len(step._places))


def _sharpness(step, img, factor):
    return img if factor == 1 or min(img.shape[:2]) < 3 else img.then(('sharpness', (factor, )))


def _blur(step, img, sigma):
    sigma = round(sigma, 3)
    return img if len(blur_kernel(sigma)) == 1 else img.then(('blur', (sigma, )))


def _erase(step, img, top, left, height, width):
    value = np.broadcast_to(np.array(step.value).astype(np.uint8), img.shape[-1:])
    return img.then(('erase', (top, left, height, width, *value.tolist())))


def _posterize(step, img, bits):
    return img.then(('posterize', (2**(8 - bits), )))


# what each step leaves to the device: the step, a Deferred and what its `draw` returned -> a Deferred
_COLOUR_STEPS = {
    ColorJitter: _jitter,
    RandomGrayscale: _grey,
    Grayscale: _greyscale,
    Lighting: _lighting,
    ToLab: _to_lab,
    GaussianBlur: _blur,
    RandomAdjustSharpness: _sharpness,
    RandomPosterize: _posterize,
    Solarization: lambda step, img: img.then(('invert', (step.threshold, ))),
    RandomSolarize: lambda step, img, threshold: img.then(('solarize', (math.ceil(threshold), ))),
    RandomAutocontrast: lambda step, img: img.then(('autocontrast', ())),
}
_OTHER_STEPS = {
    RandomHorizontalFlip: lambda step, img: img.then(('mirror', ())),
    RandomVerticalFlip: lambda step, img: img.then(('upside_down', ())),
    RandomErasing: _erase,
}
_RECORDED = {**_COLOUR_STEPS, **_OTHER_STEPS}


def _inner(step):
    """The steps within a step, or None."""
    if type(step) in (RandomAppliedTrans, OnEntries):
        return step.transforms.transforms
    if type(step) is RandomPhotometric:
        return step._steps
    return (step.step, ) if type(step) is EachView else None


def runs_on_device(step):
    """Whether a step can be left to the device."""
    inner = _inner(step)
    if inner is not None:
        return all(map(runs_on_device, inner))
    if type(step) is RandomErasing:
        return step.value != 'random'
    if type(step) is RandomAngle:
        return step.num_angles in (2, 4)
    # a mask does not touch the image
    return type(step) in (*_RECORDED, Copies) or isinstance(step, MaskStep) and type(step).run is MaskStep.run


def is_colour_step(step):
    """Whether it is worth while to leave it to the device."""
    return type(step) in _COLOUR_STEPS or any(map(is_colour_step, _inner(step) or ()))


class _Recorder:
    """A step that draws and records instead of doing anything."""
    native = True

    def __init__(self, step):
        self.step = step
        self._inner = [recorder(one) for one in _inner(step) or ()]
        self._recorded = _RECORDED.get(type(step))

    def __reduce__(self):  # to spawned workers
        return _Recorder, (self.step, )

    def __call__(self, img):
        if type(img) is Deferred:
            params = self.step.draw(img)
            return img if params is None else self._record(img, params)
        if isinstance(img, tuple) and not isinstance(self.step, RandomStep):
            return self.step(img)  # it says that it takes one image
        several = img if isinstance(img, tuple) else (img, )
        if not all(isinstance(one, Deferred) or isinstance(one, np.ndarray) and one.ndim == 3 for one in several):
            return self.step(img)  # it says what it takes
        several = tuple(map(lift, several))
        params = self.step.draw(several[0])
        if params is not None:
            several = tuple(self._record(one, params) for one in several)
        return several if isinstance(img, tuple) else several[0]

    def _record(self, img, params):
        if self._recorded is not None:
            return self._recorded(self.step, img, *params)
        for step in self._inner:
            img = step(img)
        return img

    def __repr__(self):
        return repr(self.step)


def recorder(step):
    """What stands in the place of a step that is left to the device."""
    if type(step) is EachView:
        step = copy.copy(step)
        step._step = deferring(step._step, 0)
        return step
    if type(step) is OnEntries:
        step = copy.copy(step)
        step.transforms = deferring(step.transforms, 0)
        return step
    return _Recorder(step) if type(step) in _RECORDED or _inner(step) is not None else step


def first_deferred(steps):
    """Where a pipeline begins to leave steps to the device.

    Args:
        steps (Sequence[Callable]): The steps.

    Returns:
        tuple[int, Callable | None]: Number of the first of these steps, that of all steps where there is none; and the
            last step that cannot be left, where a colour step stands before it.
    """
    last = max((i for i, step in enumerate(steps) if not runs_on_device(step)), default=-1)
    first = next((i for i in range(last + 1, len(steps)) if is_colour_step(steps[i])), len(steps))
    return first, steps[last] if any(map(is_colour_step, steps[:last + 1])) else None


def deferring(pipeline, first=None):
    """A pipeline that leaves steps to the device.

    Args:
        pipeline (Compose | SamplePipeline): It stays as it is.
        first (int, optional): Number of the first such step; see first_deferred.

    Returns:
        Compose | SamplePipeline: One that makes Deferred images.
    """
    steps = pipeline.transforms
    first = first_deferred(steps)[0] if first is None else first
    steps = [*steps[:first], *map(recorder, steps[first:])]
    return type(pipeline)(steps)

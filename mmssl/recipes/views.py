# Copyright (c) mmssl contributors. All rights reserved.
"""Views that fit the images: crops of the right size, and colours only where there are some."""
import copy

_SIZES = ('size', 'second_size', 'patch_size')  # of steps, in pixels
_RGB_ONLY = ('RandomGrayscale', )
_EIGHT_BITS = ('Solarization', 'RandomPhotometric')


def pipelines_of(train):
    """The pipelines of a data set.

    Args:
        train (dict): Config of the data set.

    Returns:
        list[list[dict]]: They themselves, not copies.
    """
    return train['pipelines'] if 'pipelines' in train else [train['pipeline']]


def main_size(train):
    """Side in pixels of the views that the first pipeline makes."""
    sizes = [step['size'] for step in pipelines_of(train)[0] if 'size' in step]
    size = sizes[-1]
    return size if isinstance(size, int) else size[0]


def adapt_views(train, size, data, multiple=1, scale=None, flips=True):
    """Make the pipelines of a data set fit.

    Args:
        train (dict): Config of the data set, which is changed.
        size (int): Side of the large views in pixels.
        data (DataFacts): The images.
        multiple (int): Small crops, and patches, have sides that are multiples of it.
        scale (tuple[float, float], optional): Share of the image that large crops of views show; None keeps that of
            the config.
        flips (bool): Mirror views where the config turns them.
    """
    ratio = size / main_size(train)
    rgb = not data.grey and not data.deep and data.channels in (3, 4)
    for number, pipeline in enumerate(pipelines_of(train)):
        steps = []
        for step in pipeline:
            steps += _adapted(
                copy.deepcopy(step), ratio, multiple, scale if number == 0 or _is_large(step) else None, rgb, data,
                flips)
        pipeline[:] = steps


def _is_large(step):
    low, high = step.get('scale', (0, 0))
    return high == 1.


def _adapted(step, ratio, multiple, scale, rgb, data, flips):
    kind = step['type']
    if kind == 'RandomRotation' and flips:  # of the digits, which cannot be mirrored
        return [dict(type='RandomHorizontalFlip')]
    if kind in _RGB_ONLY and not rgb or kind in _EIGHT_BITS and data.deep:
        return []
    if kind == 'GaussianBlur' and data.sizes[1] <= 40:
        return []
    if kind == 'RandomAppliedTrans':
        step['transforms'] = [
            s for old in step['transforms'] for s in _adapted(old, ratio, multiple, scale, rgb, data, flips)
        ]
        return [step] if step['transforms'] else []
    if kind == 'ColorJitter' and not rgb:
        step.update(saturation=0., hue=0.)
    for name in _SIZES:
        if isinstance(step.get(name), (int, float)):
            step[name] = max(multiple, round(step[name] * ratio / multiple) * multiple)
    if kind == 'RandomResizedCrop' and scale is not None and _is_large(step):
        step['scale'] = tuple(scale)
    return [step]


def with_colours(train, strength=0.4):
    """Change colours where the config has views of grey images, such as those of the comparison on digits.

    Args:
        train (dict): Config of the data set, which is changed.
        strength (float): Of brightness and contrast; half of it is that of the saturation, a quarter that of the hue.
    """
    for pipeline in pipelines_of(train):
        for step in pipeline:
            for jitter in step.get('transforms', ()):
                if jitter['type'] == 'ColorJitter':
                    jitter.update(saturation=strength / 2, hue=strength / 4)
                    place = pipeline.index(step)
        if any(jitter['type'] == 'ColorJitter' for step in pipeline for jitter in step.get('transforms', ())):
            pipeline.insert(place + 1, dict(type='RandomGrayscale', p=0.2))


def single_view(size, data):
    """The pipeline of images as they are, for evaluation.

    Args:
        size (int): Side of the result in pixels.
        data (DataFacts): The images.

    Returns:
        list[dict]: Steps; none where all images have this size.
    """
    if data.sizes[0] == data.sizes[2] == size:
        return []
    return [dict(type='Resize', size=size), dict(type='CenterCrop', size=size)]

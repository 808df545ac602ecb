# Copyright (c) mmssl contributors. All rights reserved.
"""Views that fit the images: crops of the right size, and colours only where there are some."""
import copy

_SIZES = ('size', 'patch_size')  # of steps, in pixels
_RGB_ONLY = ('RandomGrayscale', )
# what a view must not do where colours tell images apart
_COLOURS = ('ColorJitter', 'RandomGrayscale', 'Solarization', 'RandomPhotometric', 'RandAugment')
_EIGHT_BITS = ('Solarization', 'RandomPhotometric')
_BLURRED = 40  # pixels of images that are small enough without a blur


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


def adapt_views(train, size, data, patch=None, scale=None, flip=True, color_jitter=True):
    """Make the pipelines of a data set fit.

    Args:
        train (dict): Config of the data set, which is changed.
        size (int): Side of the large views in pixels.
        data (DataFacts): The images.
        patch (int, optional): Side of a transformer's patch in pixels: small crops have sides that are multiples of it,
            and masks as many rows as there are patches.
        scale (tuple[float, float], optional): Share of the image that crops show which may show all of it; None keeps
            that of the config.
        flip (bool): Whether a mirrored image is one.
        color_jitter (bool): Whether colours, brightness and contrast may change.
    """
    ratio, multiple = size / main_size(train), max(2, patch or 0)

    def adapted(step):
        kind = step['type']
        if kind == 'RandomRotation' and flip:  # of the digits, which cannot be mirrored
            return [dict(type='RandomHorizontalFlip')]
        left_out = (
            kind == 'RandomHorizontalFlip' and not flip,
            kind in _COLOURS and not color_jitter,
            kind in _RGB_ONLY and not data.coloured,
            kind in _EIGHT_BITS and data.deep,
            kind == 'GaussianBlur' and data.sizes[1] <= _BLURRED,
        )
        if any(left_out):
            return []
        step = copy.deepcopy(step)
        if kind == 'RandomAppliedTrans':
            step['transforms'] = [new for old in step['transforms'] for new in adapted(old)]
            return [step] if step['transforms'] else []
        if kind == 'ColorJitter' and not data.coloured:
            step.update(saturation=0., hue=0.)
        if kind.endswith('MaskGenerator'):
            _fit_mask(step, size, patch)
            return [step]
        for name in _SIZES:
            if isinstance(step.get(name), int):
                step[name] = max(multiple, round(step[name] * ratio / multiple) * multiple)
        if 'second_size' in step:
            step['second_size'] = 8 * (size // patch)  # CAE's tokenizer gives a word for 8 x 8 pixels
        if kind == 'RandomResizedCrop' and scale is not None and tuple(step.get('scale', (0.08, 1.)))[1] == 1.:
            step['scale'] = tuple(scale)
        return [step]

    for pipeline in pipelines_of(train):
        pipeline[:] = [new for step in pipeline for new in adapted(step)]


def _fit_mask(step, size, patch):
    """Let a step draw masks for images of another size."""
    if step['type'] == 'SimMIMMaskGenerator':
        squares = step['input_size'] // step['mask_patch_size']
        step.update(input_size=size, mask_patch_size=32 if size % 32 == 0 and size > 64 else size // squares)
        return
    name = 'mask_window_size' if step['type'] == 'MaskFeatMaskGenerator' else 'input_size'
    side, old = size // patch, step.get(name, 14)  # 14 x 14 is the default of both
    share = (side / (old if isinstance(old, int) else old[0]))**2
    step[name] = side
    for count in ('num_masking_patches', 'min_num_patches'):
        if step.get(count):
            step[count] = max(1, round(step[count] * share))


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


def jitter_more(train, strength):
    """Change brightness and contrast of grey images by up to `strength`: without hue there is little else to vary.

    Args:
        train (dict): Config of the data set, which is changed.
        strength (float): Largest share by which both change.
    """
    for pipeline in pipelines_of(train):
        for step in pipeline:
            for jitter in step.get('transforms', ()):
                if jitter['type'] == 'ColorJitter':
                    jitter.update(brightness=strength, contrast=strength)


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

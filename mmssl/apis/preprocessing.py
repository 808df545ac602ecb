# Copyright (c) mmssl contributors. All rights reserved.
"""How a trained network wants its images: from an image of any size to the tensor that it takes."""
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from mmssl.datasets.data_sources import decode_image
from mmssl.datasets.images import in_8_bits
from mmssl.datasets.pipelines import Compose
from mmssl.datasets.pipelines.crop import CenterCrop, Resize
from mmssl.interop.export import image_channels
from mmssl.interop.reference_models import IMAGENET
from mmssl.utils.errors import ConfigError, check_integer

# steps of which an image comes out the same each time
_STILL = ('CenterCrop', 'Grayscale', 'Normalize', 'Pad', 'Resize', 'ResizeLongerSide', 'ToLab', 'ToTensor')


class Preprocessing:
    """An image -> the normalised tensor that a network takes. Works as a transform of torchvision's data sets.

    Args:
        steps (list[dict | Callable]): The pipeline.
        channels (int): That the network takes.
        img_norm_cfg (dict, optional): `mean` and `std`, and perhaps `max_value`, of images that leave the pipeline as
            arrays. None: it ends with ToTensor and Normalize.
    """

    def __init__(self, steps, channels, img_norm_cfg=None):
        self.steps = list(steps)
        self.pipeline = Compose(self.steps)
        self.channels = channels
        self.img_norm_cfg = img_norm_cfg

    @property
    def prefetch(self):
        """bool: Whether images leave the pipeline as arrays and are normalised after it."""
        return self.img_norm_cfg is not None

    def __call__(self, image):
        """Prepare one image.

        Args:
            image (str | Path | PIL.Image.Image | ndarray): A file; an image, whose colours become as many as the
                network takes; or an array H x W x C or H x W.

        Returns:
            Tensor: C x H x W, float32.
        """
        image = self.pipeline(as_array(image, self.channels))
        if not self.prefetch:
            return image
        norm = self.img_norm_cfg
        if image.dtype != np.uint8 and norm.get('max_value') is None:
            raise ConfigError(f'images of {image.dtype} do not say which value is 1: set img_norm_cfg.max_value in the '
                              'config of the training')
        values = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1) / (norm.get('max_value') or 255)
        mean, std = (torch.tensor(norm[key], dtype=torch.float32).view(-1, 1, 1) for key in ('mean', 'std'))
        return ((values - mean) / std).contiguous()

    def __repr__(self):
        norm = f', then normalised by {dict(self.img_norm_cfg)}' if self.prefetch else ''
        return f'{type(self).__name__}({self.channels} channels, {self.steps}{norm})'


def as_array(image, channels):
    """An image as data sources give it.

    Args:
        image (str | Path | PIL.Image.Image | ndarray): See Preprocessing.
        channels (int): That the network takes; of 8-bit images, 1 and 3 are made of one another.

    Returns:
        ndarray: H x W x C.

    Raises:
        BrokenImageError: A file that cannot be read.
        ConfigError: Neither an image nor a file.
    """
    if isinstance(image, (str, Path)):
        color_type = {1: 'grayscale', 3: 'color'}.get(channels, 'unchanged')
        return decode_image(Path(image).read_bytes(), color_type, filename=str(image))
    if isinstance(image, Image.Image):
        image = in_8_bits(ImageOps.exif_transpose(image)).convert('RGB')  # alpha is dropped
        image = np.asarray(image.convert('L') if channels == 1 else image)
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise ConfigError('an image is a file, a Pillow image or an array H x W x C, got ' + (
            f'an array of the shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__))
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype == np.uint8 and {image.shape[2], channels} == {1, 3}:
        if channels == 3:
            return np.repeat(image, 3, 2)
        return np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]  # luma of ITU-R BT.601
    return image


def preprocessing_of(cfg, model, size=None):
    """What an evaluation of a training does to its images.

    That is the pipeline of a single-view data set in the config (data.val, data.test, the hooks that evaluate, demo),
    so that features are those whose accuracy the log shows. Where there is none without random steps, images are
    resized to 8/7 of the size of the training's views, and cut at the centre.

    Args:
        cfg (mmcv.Config): Of the training.
        model (nn.Module): The algorithm.
        size (int | tuple[int], optional): Side, or height and width, of a crop in pixels, which images cover 8/7 of, in
            place of the config's pipeline.

    Returns:
        Preprocessing: For it.
    """
    channels, norm = image_channels(model), cfg.get('img_norm_cfg', IMAGENET)
    found = None if size is not None else next(_single_views(cfg), None)
    if found is None:
        if size is None:
            size = _trained_size(cfg) or _patch_size(model) or 224
        return Preprocessing(cover_steps(size), channels, norm)
    pipeline, prefetch = found
    if not pipeline:
        # images that need no step have the size of the training's views; others are brought to it
        size = _trained_size(cfg) or 224
        pipeline = [dict(type='Resize', size=size), dict(type='CenterCrop', size=size)]
    return Preprocessing(pipeline, channels, norm if prefetch else None)


class Cover(Resize):
    """Scale an image so that it just covers (height, width); the ratio of its sides stays."""

    def target(self, h, w):
        scale = max(self.size[0] / h, self.size[1] / w)
        return max(self.size[0], round(h * scale)), max(self.size[1], round(w * scale))


def cover_steps(size):
    """Steps that have an image just cover 8/7 of a size, and cut that out of its centre.

    Args:
        size (int | tuple[int]): Side, or height and width, in pixels.

    Returns:
        list[Step]: Two.

    Raises:
        ConfigError: It is no such size.
    """
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ConfigError(f'size is the side of the images in pixels, or (height, width), got {size!r}')
    for side in pair:
        check_integer(side, 'size, in pixels,', 1)
    height, width = pair
    sides = round(height * 8 / 7), round(width * 8 / 7)
    return [Resize(sides[0]) if height == width else Cover(sides), CenterCrop((height, width))]


def _single_views(cfg):
    """Pipelines of the evaluations in a config without random steps, and whether images leave them as arrays."""
    data = cfg.get('data') or {}
    for section in (data.get('val'), data.get('test'), *(cfg.get('custom_hooks') or ()), cfg.get('evaluation'),
                    cfg.get('demo')):
        for dataset in _datasets(section):
            pipeline = dataset.get('pipeline')
            if not pipeline and dataset.get('prefetch'):
                yield [], True
            elif pipeline and all(isinstance(step, dict) and step.get('type') in _STILL for step in pipeline):
                pipeline = [dict(step) for step in pipeline]
                last = [step for step in pipeline if step['type'] not in ('ToTensor', 'Normalize')][-1:]
                if last and last[0]['type'] == 'Resize' and isinstance(last[0]['size'], int):
                    # images that are not square fit no batch
                    pipeline.insert(pipeline.index(last[0]) + 1, dict(type='CenterCrop', size=last[0]['size']))
                yield pipeline, bool(dataset.get('prefetch'))


def _datasets(section):
    """Configs of single-view data sets in a part of a config."""
    if isinstance(section, dict):
        if section.get('type') == 'SingleViewDataset':
            yield section
        else:
            for part in section.values():
                yield from _datasets(part)
    elif isinstance(section, (list, tuple)):
        for part in section:
            yield from _datasets(part)


def _trained_size(cfg):
    """Side of the largest crop of the training, None where there is none."""
    found = []

    def look(part):
        if isinstance(part, dict):
            if 'Crop' in str(part.get('type')) and 'size' in part:
                found.append(part['size'])
            part = list(part.values())
        if isinstance(part, (list, tuple)):
            for value in part:
                look(value)

    look((cfg.get('data') or {}).get('train'))
    sizes = [(size, size) if isinstance(size, int) else tuple(size) for size in found]
    size = max(sizes, key=lambda pair: pair[0] * pair[-1], default=None)
    return size and (size[0] if size[0] == size[-1] else size)


def _patch_size(model):
    """Height and width of the images that a transformer's positions are for, None for other networks."""
    backbone = getattr(model, 'backbone', model)
    grid, embed = getattr(backbone, 'patch_resolution', None), getattr(backbone, 'patch_embed', None)
    patch = getattr(embed, 'patch_size', None)
    return tuple(side * patch for side in grid) if grid is not None and isinstance(patch, int) else None

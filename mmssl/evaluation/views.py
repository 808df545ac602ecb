# Copyright (c) mmssl contributors. All rights reserved.
"""What a data set makes of a sample, as images that can be looked at: views, patches, rotations, masks, targets."""
import math
import os.path as osp

import numpy as np
import torch

from mmssl.datasets.data_sources.base import is_in_memory
from mmssl.datasets.dataset_wrappers import locate
from mmssl.datasets.images import is_deep
from mmssl.datasets.loader import KeyedDataset, left_out
from mmssl.datasets.pipelines.sample import RandomAngle
from mmssl.datasets.rotation_pred import RotationPredDataset
from mmssl.utils.errors import ConfigError, printable
from mmssl.utils.logger import get_root_logger
from .plots import Tile


def look_at(dataset, idx, epochs=(0, ), seed=0, img_norm_cfg=None, channels=None):
    """A sample as it is stored, and the views and targets that training gets of it.

    Args:
        dataset (Dataset): Any data set of this library, or a wrapper of such.
        idx (int): Index of the sample.
        epochs (Sequence[int]): Epochs, from 0; the views are those that a training with this seed sees in them.
        seed (int): The seed.
        img_norm_cfg (dict, optional): `mean` and `std` of images that are normalised, but not by a step Normalize,
            which tells its own; on the scale of 0 to 1.
        channels (Sequence[int], optional): One channel, or three as red, green and blue; by default the first three.
            Images of more than 8 bits are stretched between the 2nd and the 98th percentile of the stored image.

    Returns:
        tuple[Tile, list[list[list[Tile]]]]: The stored image, and for each epoch rows of tiles.
    """
    leaf, place = locate(dataset, idx)
    samples, _ = KeyedDataset(dataset, seed).__getitems__([(epoch, idx) for epoch in epochs])
    norm = normalisation(leaf)
    if norm is None and any(map(_is_normalised, (view for sample in samples for view in first_images(sample)))):
        norm = img_norm_cfg
    stored = leaf.stored(place)
    if channels is not None or _is_any(is_deep, stored):
        ranges = {name: _range(one) for name, one in stored.items()} if isinstance(stored, dict) else _range(stored)
        stored = _in_8_bits(stored, channels, ranges)
        samples = [dict(sample, img=_in_8_bits(sample['img'], channels, ranges)) for sample in samples]
    stored = Tile(_joined(stored), caption_of(dataset, idx))
    classes = None if 'label' in getattr(leaf.pipeline, 'makes', ()) else getattr(leaf, 'classes', None) or leaf.CLASSES
    return stored, [lay_out(sample, norm, classes, _angles(leaf)) for sample in samples]


def _is_any(test, img):
    return any(map(test, img.values())) if isinstance(img, dict) else test(img)


def _range(img):
    """The 2nd and the 98th percentile of each channel, without missing values; 0 and 255 of uint8."""
    if img.dtype == np.uint8:
        return np.zeros(img.shape[2]), np.full(img.shape[2], 255.)
    missing = np.isnan(img)
    if missing.all():
        return np.zeros(img.shape[2]), np.ones(img.shape[2])
    return np.nan_to_num(
        np.percentile(np.where(missing, np.nanmedian(img), img) if missing.any() else img, (2, 98), (0, 1)))


def _in_8_bits(img, channels, ranges):
    """Images, in whatever form a sample has them, as uint8 of the chosen channels; masks and the like stay.

    Args:
        img (ndarray | Tensor | tuple | list | dict): H x W x C, patches of such, or normalised, C x H x W.
        channels (Sequence[int] | None): See look_at.
        ranges (tuple[ndarray, ndarray] | dict): What is dark and what is bright in each channel, perhaps by names.

    Raises:
        ConfigError: An image has no such channel.
    """
    if isinstance(img, dict):
        return {name: _in_8_bits(one, channels, ranges.get(name) if isinstance(ranges, dict) else ranges)
                for name, one in img.items()}  # yapf: disable
    if isinstance(img, (list, tuple)):
        return type(img)(_in_8_bits(one, channels, ranges) for one in img)
    if isinstance(img, torch.Tensor) and img.dim() == 3:
        img = img.permute(1, 2, 0).numpy()
        ranges = _range(img)
    if not (is_deep(img) or isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim in (3, 4)):
        return img
    count = img.shape[-1]
    chosen = list(channels or (range(3) if count >= 3 else range(1)))
    if not all(0 <= channel < count for channel in chosen):
        raise ConfigError(f'channels {chosen} are asked for, the image has {count}, which count from 0')
    low, high = _range(img.reshape(-1, 1, count)) if ranges is None or isinstance(ranges, dict) else ranges
    scaled = (img[..., chosen] - low[chosen]) / np.maximum(high - low, 1e-12)[chosen]
    return np.nan_to_num(np.round(255 * scaled.clip(0, 1))).astype(np.uint8)


def _joined(img):
    """Images by name side by side, on white."""
    if not isinstance(img, dict):
        return img
    height, channels = (max(one.shape[axis] for one in img.values()) for axis in (0, 2))
    parts = [np.full((height, one.shape[1], channels), 255, np.uint8) for one in img.values()]
    for part, one in zip(parts, img.values()):
        part[:one.shape[0]] = one
    return np.hstack(parts)


def _angles(dataset):
    """Number of angles that a data set turns images by."""
    turned = [step.num_angles for step in _steps(dataset) if isinstance(step, RandomAngle)]
    return turned[0] if turned else dataset.num_classes if isinstance(dataset, RotationPredDataset) else 4


def choose(length, count, idx=None):
    """Samples for a picture.

    Args:
        length (int): Number of samples that there are.
        count (int): How many to take, spread evenly; all where there are fewer.
        idx (Sequence[int], optional): These instead.

    Returns:
        list[int]: Indices.

    Raises:
        ConfigError: There is no such sample.
    """
    beyond = [i for i in idx or () if not 0 <= i < length]
    if beyond:
        raise ConfigError(f'--idx {beyond[0]}: the data has the samples 0 to {length - 1}')
    return idx or np.linspace(0, length - 1, min(count, length)).astype(int).tolist()


def readable(picked, broken):
    """The picked samples without those that cannot be read, which are named in a warning.

    Args:
        picked (Sequence[int]): Indices.
        broken (Sequence[tuple[int, str, str]]): Index, file name and reason of each broken one.

    Returns:
        list[int]: Indices.

    Raises:
        ConfigError: None can be read.
    """
    absent = {idx for idx, _, _ in broken}
    kept = [idx for idx in picked if idx not in absent]
    if broken:
        words = left_out(broken, len(picked))
        if not kept:
            raise ConfigError(f'no image is left: {words}')
        get_root_logger().warning(words)
    return kept


def caption_of(dataset, idx):
    """A sample's number and, where there is one, the name of its file."""
    leaf, place = locate(dataset, idx)
    if is_in_memory(leaf.data_source):
        return f'sample {idx}'
    name = printable(osp.basename(leaf.data_source.get_filename(place)))
    return (name if len(name) <= 20 else f'{name[:8]}...{name[-9:]}') + f'\nsample {idx}'


def lay_out(sample, norm=None, classes=None, angles=4):
    """A sample as rows of tiles, with its targets as captions.

    Args:
        sample (dict): What a data set gives: `img` is a view, a list of views, a tuple of an image and masks (or of a
            view and further images, such as the targets of reconstruction), P patches in one array, or a dict of such
            by name; `idx`; other entries are targets, one a view or one for all.
        norm (dict, optional): Mean and std to undo.
        classes (Sequence[str] | dict, optional): Names of the values of `label`; or such by the names of the images.
        angles (int): Number of equal steps of a full turn that `rot_label` counts.

    Returns:
        list[list[Tile]]: Patches stand in a grid, in their order, other views in one row; each entry of a dict begins
            a row.
    """
    views = sample['img'] if isinstance(sample['img'], list) else [sample['img']]
    if isinstance(sample['img'], dict) or any(map(_are_patches, views)):
        return _lay_out_parts(sample, norm, classes, angles)
    captions = [[] for _ in views]
    for key, values in sample.items():
        if key in ('img', 'idx'):
            continue
        if isinstance(values, dict):  # several labels of an image
            captions[0] += [_word(f'{key} {name}', np.asarray(value).tolist()) for name, value in values.items()]
            continue
        values = np.asarray(values)
        if key == 'patch_label':  # the middle one is what the others lie around
            values = np.insert(values.astype(object), len(values) // 2, None)
        values = values.tolist() if values.shape == (len(views), ) else [values.tolist()]
        for caption, value in zip(captions, values):
            caption.append(_word(key, value, classes, angles))
    tiles = [_tiles(view, norm) for view in views]
    if len({tile.image.shape[:2] for row in tiles for tile in row}) > 1:
        for caption, row in zip(captions, tiles):
            caption.insert(0, '{} x {}'.format(*row[0].image.shape[:2]))
    tiles = [[row[0]._replace(caption='\n'.join(filter(None, [*caption, row[0].caption]))), *row[1:]]
             for caption, row in zip(captions, tiles)]
    flat = [tile for row in tiles for tile in row]
    return [flat[i:i + 3] for i in (0, 3, 6)] if 'patch_label' in sample else [flat]


def _are_patches(part):
    return getattr(part, 'ndim', 0) == 4


def _lay_out_parts(sample, norm, classes, angles):
    """Rows of tiles of a dict of images, lists and patches by name, or of patches alone; see lay_out.

    Targets by the same names stand with their image, all others with the first one.
    """
    img = sample['img']
    parts = img if isinstance(img, dict) else dict(enumerate(img)) if isinstance(img, list) else {'': img}
    targets = {key: value for key, value in sample.items() if key not in ('img', 'idx')}
    rows = []
    for number, (name, part) in enumerate(parts.items()):
        several = isinstance(part, list) or _are_patches(part)
        tiles = [tile for view in (part if several else [part]) for tile in _tiles(view, norm)]
        names = classes.get(name) if isinstance(classes, dict) else classes
        words, own = [], [[] for _ in tiles]  # of all tiles, and of each
        for key, value in targets.items():
            if isinstance(value, dict) and set(value) <= set(parts):
                values = {key: value[name]} if name in value else {}
            else:
                value = {f'{key} {i}': one for i, one in value.items()} if isinstance(value, dict) else {key: value}
                values = value if number == 0 else {}
            for word, value in values.items():
                value = np.asarray(value).tolist()
                if isinstance(part, list) and isinstance(value, list) and len(value) == len(tiles):
                    for caption, one in zip(own, value):
                        caption.append(_word(word, one, names, angles))
                else:
                    words.append(_word(word, value, names, angles))
        across = math.isqrt(len(tiles) - 1) + 1 if _are_patches(part) else len(tiles)
        size = '{} x {}'.format(*tiles[0].image.shape[:2])
        tiles = [
            tile._replace(caption='\n'.join(filter(None, [*found, tile.caption]))) for tile, found in zip(tiles, own)
        ]
        lines = [tiles[i:i + across] for i in range(0, len(tiles), across)]
        # below the last line, so that words do not part those of a grid
        first = lines[-1][0]
        words = [*words, f'{name} {size}'.strip(), first.caption]
        lines[-1][0] = first._replace(caption='\n'.join(filter(None, words)))
        rows += lines
    return rows


def first_images(sample):
    """The first image of each view, or of each image by name; of patches the first one."""
    img = sample['img']
    views = list(img.values()) if isinstance(img, dict) else img if isinstance(img, list) else [img]
    views = [one for view in views for one in (view if isinstance(view, list) else [view])]
    return [view[0] if isinstance(view, tuple) or _are_patches(view) else view for view in views]


def _word(key, value, classes=None, angles=4):
    """A target in words."""
    if key == 'patch_label':
        return 'the middle' if value is None else f'patch_label {value}'
    if key == 'rot_label' and isinstance(value, int):
        return f'rot_label {value}: {360 * value / angles:g}°'
    if isinstance(value, int) and value == -1:
        return f'no {key}'
    if key == 'label' and classes is not None and isinstance(value, int):
        return f'label {value}: {classes[value]}' if str(classes[value]) != str(value) else f'label {value}'
    if key == 'label' and classes is not None and isinstance(value, list) and len(value) == len(classes):
        return 'label: ' + (', '.join(str(name) for name, there in zip(classes, value) if there == 1) or 'none')
    return f'{key} {value}'


def _tiles(view, norm):
    """A view as tiles: the image, further images, and the image under its masks."""
    if not isinstance(view, tuple):
        return [Tile(to_image(view, norm))]
    found = [Tile(to_image(view[0], norm))]
    for part in view[1:]:
        mask = _as_mask(part)
        if mask is not None:
            found.append(Tile(found[0].image, f'{mask.mean():.0%} hidden', mask))
        elif np.ndim(part) == 3:  # of a pipeline of its own, perhaps without a normalisation
            found.append(Tile(to_image(part, norm if _is_normalised(part) else None)))
        else:
            found[0] = found[0]._replace(caption=f'+ {type(part).__name__} {tuple(np.shape(part))}')
    return found


def _as_mask(part):
    """An array of h x w, or of h * h, that holds 0 and 1 only, as booleans; None for anything else."""
    mask = np.asarray(part).squeeze()
    if mask.ndim == 1 and round(mask.size**0.5)**2 == mask.size:
        mask = mask.reshape(round(mask.size**0.5), -1)
    return mask.astype(bool) if mask.ndim == 2 and np.isin(mask, (0, 1)).all() else None


def to_image(view, norm=None):
    """A view as an image.

    Args:
        view (ndarray | Tensor): uint8 H x W x C, or floats C x H x W.
        norm (dict, optional): Mean and std to undo in floats, one number or one a channel.

    Returns:
        ndarray: uint8, H x W x C, with one channel or three.
    """
    view = view.detach().cpu() if isinstance(view, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(view))
    if view.dtype != torch.uint8:
        if norm is not None:
            view = view * torch.tensor(norm['std']).view(-1, 1, 1) + torch.tensor(norm['mean']).view(-1, 1, 1)
        view = (view * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    image = view.numpy()
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1]


def to_picture(view, norm=None):
    """As to_image; stretched where it is of more than 8 bits, or of channels that no screen has.

    Args:
        view (ndarray | Tensor): uint8, uint16 or float32 H x W x C, or floats C x H x W.
        norm (dict, optional): Mean and std to undo in floats of one channel or three.
    """
    deep = is_deep(view) if isinstance(view, np.ndarray) else view.shape[0] not in (1, 3) or norm is None and \
        _is_normalised(view)
    if not deep:
        return to_image(view, norm)
    view = view if isinstance(view, np.ndarray) else view.detach().cpu().permute(1, 2, 0).numpy()
    return _in_8_bits(view, None, _range(view))


def _is_normalised(view):
    """Whether these are floats beyond 0 to 1."""
    view = torch.as_tensor(view)
    return view.is_floating_point() and bool(view.min() < 0 or view.max() > 1)


def normalisation(dataset):
    """Mean and std of the step Normalize in a data set's pipelines, None where there is none."""
    for step in _steps(dataset):
        if type(step).__name__ == 'Normalize':
            return dict(mean=list(step.mean), std=list(step.std))
    return None


def _steps(dataset):
    """All steps of a data set's pipelines, also those within others."""
    left = [*getattr(dataset, 'pipelines', ()), dataset.pipeline, getattr(dataset, 'format_pipeline', None)]
    left = [step for pipeline in filter(None, left) for step in pipeline.transforms]
    while left:
        step = left.pop(0)
        yield step
        left = [*getattr(getattr(step, 'transforms', None), 'transforms', ()), *left]

# Copyright (c) mmssl contributors. All rights reserved.
"""What a user gives as images -> the data source that a trained network reads them from."""
import contextlib
import itertools
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from mmssl.datasets.data_sources import Arrays, CompactStrings, Files, Folder, is_folder, source_of_folder
from mmssl.datasets.data_sources.base import is_in_memory, whole_source
from mmssl.datasets.registry import build_datasource
from mmssl.utils.errors import ConfigError, short
from mmssl.utils.misc import atomic_write
from .inference import reading_of_folders
from .preprocessing import as_array


def source_of(data, cfg, channels):
    """The data source of images in any form, read as those of the training.

    Args:
        data (str | Path | dict | Sequence): A folder, with all images below it in the order of their names; a list of
            images, tables, shards or a name of the catalog, as in mmssl.train; the config of a data source; names of
            files; an array N x H x W x C or N x H x W; or a list of Pillow images and arrays.
        cfg (mmcv.Config): Of the training.
        channels (int): Of the images that the network takes.

    Returns:
        BaseDataSource: Built.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ConfigError: It is none of these, or there is no image.
    """
    if isinstance(data, (str, os.PathLike, dict)):
        config = dict(data) if isinstance(data, dict) else _config_of_path(os.fspath(data))
        reading = {} if isinstance(data, dict) else reading_of_folders(cfg)
        if config['type'] != 'Folder':
            reading.pop('extensions', None)
        config.update(reading)
        source = build_datasource(config)
        if isinstance(source, Folder):
            source.samples = CompactStrings(sorted(source.samples))  # it has a folder's files before those below it
        if config.get('color_type') is None and config.get('depth') != 'stored':
            whole_source(source).color_type = 'grayscale' if channels == 1 else 'color'
        return source
    data = [data] if isinstance(data, Image.Image) else data
    check_images(data)
    color_type = 'grayscale' if channels == 1 else 'color'
    if isinstance(data, np.ndarray) and data.dtype.kind not in 'OSU':
        return Arrays(images=data, color_type=color_type)
    if _are_names(data):
        reading = dict(color_type=color_type, **reading_of_folders(cfg))
        reading.pop('extensions', None)
        return Files(None, ann_file=[os.path.expanduser(entry) for entry in data], **reading)
    return Arrays(images=[as_array(image, channels) for image in data], color_type=color_type)


def data_in_files(data, folder):
    """Images in any form as what a training can be told of, which reads them in several processes.

    Args:
        data (str | Path | dict | Sequence): See source_of.
        folder (Path): Where arrays and lists of names are written to. Other images that are there stay, as those of a
            run that is put away; then a number is added to the name of the file.

    Returns:
        str | dict: As it is; a list of files; or the config of a data source.

    Raises:
        ConfigError: It holds no images, or images of several sizes.
    """
    check_images(data)
    if isinstance(data, (str, os.PathLike, dict)):
        return data
    folder.mkdir(parents=True, exist_ok=True)
    if _are_names(data):
        names = [os.path.abspath(os.path.expanduser(name)) for name in data]
        # a name may have spaces and digits, as labels in a text
        path = _free(folder, '.json', lambda other: json.loads(other.read_text()) == names)
        if not path.exists():
            with atomic_write(path) as file:
                json.dump(names, file)
        return str(path)
    if not isinstance(data, np.ndarray):
        arrays = [np.asarray(image) for image in data]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise ConfigError(
                f'a training takes images in memory of one size, got {" and ".join(map(str, list(shapes)[:2]))}: '
                'give a list of files, or a folder')
        data = np.stack(arrays)
    Arrays(images=data)  # it looks whether they are images
    path = _free(folder, '.npy', lambda other: np.array_equal(np.load(other, mmap_mode='r'), data))
    if not path.exists():
        with atomic_write(path, 'wb') as file:
            np.save(file, data)
    return dict(type='Arrays', data_prefix=str(path))


def _free(folder, end, is_same):
    """A file images*END of a folder that is not there, or holds the same images."""
    for number in itertools.count(1):
        path = folder / f'images{f"_{number}" if number > 1 else ""}{end}'
        if not path.exists():
            return path
        with contextlib.suppress(ValueError):  # another file of that name
            if is_same(path):
                return path


def check_images(data):
    """See that something is images in one of the forms of source_of.

    Raises:
        ConfigError: It is not, or it is empty.
    """
    if isinstance(data, (str, os.PathLike, dict)):
        return
    if not isinstance(data, (list, tuple, np.ndarray)) or not len(data):
        raise ConfigError('images are a folder, a list of files, an array N x H x W x C, a list of Pillow images, or '
                          f'what mmssl.train takes; got {short(data)}')


def _are_names(data):
    if isinstance(data, np.ndarray) and data.dtype.kind not in 'OSU':
        return False
    return all(isinstance(entry, (str, os.PathLike)) for entry in data)


def _config_of_path(path):
    """Config of the source that a word stands for; all images below a folder."""
    if is_folder(os.path.expanduser(path)):
        return source_of_folder(os.path.expanduser(path))
    from mmssl.recipes.data import find_data
    return find_data(path).source


def name_of(source, idx):
    """Name of a sample, as its list or folder has it.

    Args:
        source (BaseDataSource): The source.
        idx (int): Number of the sample.

    Returns:
        str: Relative to the folder of the source, where it has names.
    """
    samples = getattr(source, 'samples', None)
    name = samples[idx] if samples is not None else None
    return name if isinstance(name, str) else str(source.get_filename(idx))


def has_files(source):
    """bool: Whether each image of a source is a file of its own on the disk."""
    return bool(getattr(source, '_has_files_on_disk', False)) and not is_in_memory(source)


def path_of(source, idx):
    """Path | None: The file of a sample, None where it is none of its own, or not there."""
    path = Path(source.get_filename(idx)) if has_files(source) else None
    return path if path is not None and path.is_file() else None

# Copyright (c) mmssl contributors. All rights reserved.
"""Images found in a tree of folders, without labels."""
import os
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings

IMG_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.pgm', '.ppm', '.tif', '.tiff', '.webp')


def has_file_allowed_extension(filename, extensions):
    """Whether a file name ends with one of the (lower-case) extensions, in any case."""
    return filename.lower().endswith(tuple(extensions))


def sorted_entries(folder):
    """Entries of a folder by name; hidden ones are left out."""
    if not osp.isdir(folder):
        raise FileNotFoundError(f'no such folder: {osp.abspath(folder)}')
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith('.')), key=lambda e: e.name)


def find_images(root, folder='', recursive=True, extensions=IMG_EXTENSIONS):
    """Yield the paths, relative to `root`, of the images below `folder`: first its files, then its folders, by name.

    Args:
        root (str): Folder that the paths are relative to.
        folder (str): Where to look, relative to `root`.
        recursive (bool): Also look into folders in it.
        extensions (Sequence[str]): Lower-case ends of names that count as images.

    Yields:
        str: Path with forward slashes.
    """
    here = osp.join(root, folder)
    entries = sorted_entries(here)
    prefix = f'{folder}/' if folder else ''
    for entry in entries:
        if has_file_allowed_extension(entry.name, extensions) and entry.is_file():
            yield prefix + entry.name
    if not recursive:
        return
    for entry in entries:
        if not entry.is_dir():
            continue
        # a link to a folder that it lies in would lead round and round
        if entry.is_symlink() and (osp.realpath(here) + os.sep).startswith(osp.realpath(entry.path) + os.sep):
            continue
        yield from find_images(root, prefix + entry.name, True, extensions)


@DATASOURCES.register_module()
class Folder(BaseDataSource):
    """Any tree of images: nested as it likes, no labels, no class folders, no annotation file.

    Args: see BaseDataSource. `ann_file` is None: it is there so that a config for lists becomes one for a folder by
        two options, `type=Folder ann_file=None`.
    """

    def __init__(self,
                 data_prefix,
                 ann_file=None,
                 color_type='color',
                 channel_order='rgb',
                 test_mode=False,
                 file_client_args=dict(backend='disk')):
        if ann_file is not None:
            raise ConfigError(f'Folder takes every image below data_prefix and no list: set ann_file=None instead of '
                              f'{ann_file!r}, or use ImageList')
        super().__init__(
            data_prefix,
            test_mode=test_mode,
            color_type=color_type,
            channel_order=channel_order,
            file_client_args=file_client_args)

    def load_annotations(self):
        names = CompactStrings(find_images(self.data_prefix))
        if not names:
            raise FileNotFoundError(f'no images in {osp.abspath(self.data_prefix)} or the folders in it; looked for '
                                    f'files that end with {", ".join(IMG_EXTENSIONS)}')
        return names, np.full(len(names), -1, np.int32)

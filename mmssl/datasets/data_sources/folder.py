# Copyright (c) mmssl contributors. All rights reserved.
"""Images found in a tree of folders, without labels."""
import os
import os.path as osp
import re
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from PIL import features

from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from ..registry import DATASOURCES
from .base import IMG_EXTENSIONS, BaseDataSource, CompactStrings, has_file_allowed_extension
from .zip_folder import find_archive

# what is passed over without a plug-in of Pillow: extension -> module, and the package that has it
PLUGINS = {
    '.heic': ('pillow_heif', 'pillow-heif'),
    '.heif': ('pillow_heif', 'pillow-heif'),
    '.avif': ('pillow_avif', 'pillow-avif-plugin'),
    '.jxl': ('pillow_jxl', 'pillow-jxl-plugin')
}
RAW_EXTENSIONS = ('.arw', '.cr2', '.cr3', '.dng', '.nef', '.orf', '.raf', '.rw2')  # of cameras; Pillow reads none


def check_extensions(extensions):
    """Ends of names in lower case, None where none are given.

    Raises:
        ConfigError: They are no list of such as '.npy'.
    """
    if extensions is None:
        return None
    if not isinstance(extensions, (list, tuple)) or not extensions or not all(
            isinstance(one, str) and re.fullmatch(r'(\.\w+)+', one) for one in extensions):
        raise ConfigError(f"extensions must be a list of ends of names with their dot, such as ['.npy', '.tif'], got "
                          f'{extensions!r}')
    return tuple(one.lower() for one in extensions)


@lru_cache
def readable_extensions():
    """tuple[str]: Ends of names that count as images: those always read, and those of installed plug-ins."""
    there = tuple(extension for extension, (module, _) in PLUGINS.items() if find_spec(module))
    return IMG_EXTENSIONS + (there if '.avif' in there or not features.check('avif') else ('.avif', *there))


def tell_passed_over(passed_over, root):
    """Words on files that look like images and were passed over.

    Args:
        passed_over (dict[str, int]): Count by extension.
        root (str): Folder that holds them.

    Returns:
        str: One sentence, or '' for none.
    """
    if not passed_over:
        return ''
    packages = sorted({PLUGINS[extension][1] for extension in passed_over if extension in PLUGINS})
    mend = [f'"pip install {" ".join(packages)}" lets them be read'] * bool(packages)
    mend += ['raw files of cameras have to be converted, for example to JPEG'] * any(e in RAW_EXTENSIONS
                                                                                     for e in passed_over)
    counts = ', '.join(f'{count} {extension}' for extension, count in sorted(passed_over.items()))
    return f'{sum(passed_over.values())} files in {osp.abspath(root)} were passed over ({counts}): {"; ".join(mend)}'


def sorted_entries(folder):
    """Entries of a folder, or of one in a zip archive, by name; hidden ones are left out."""
    archive, inner = find_archive(folder)
    if archive is not None:
        return [e for e in archive.entries(inner) if not e.name.startswith('.')]
    if not osp.isdir(folder):
        raise FileNotFoundError(f'no such folder: {osp.abspath(folder)}')
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith('.')), key=lambda e: e.name)


def asked(question):
    """An answer of os.DirEntry, which asks the disk only for links; False for a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _holds(folder, paths):
    """Whether one of the paths is the folder or lies in it: a link to it would lead round and round."""
    return any(osp.join(path, '').startswith(osp.join(folder, '')) for path in paths)


def find_images(root, folder='', recursive=True, extensions=None, passed_over=None, _above=()):
    """Yield the paths, relative to `root`, of the images below `folder`: first its files, then its folders, by name.

    A link to nowhere, or to itself, counts as a file: reading it will say what is wrong.

    Args:
        root (str): Folder that the paths are relative to.
        folder (str): Where to look, relative to `root`.
        recursive (bool): Also look into folders in it.
        extensions (Sequence[str], optional): Lower-case ends of names that count as images; see readable_extensions.
        passed_over (dict[str, int], optional): Gets the counts of files that need a plug-in, by extension.

    Yields:
        str: Path with forward slashes.
    """
    here = osp.join(root, folder)
    entries = sorted_entries(here)
    prefix = f'{folder}/' if folder else ''
    extensions = tuple(extensions or readable_extensions())
    for entry in entries:
        if has_file_allowed_extension(entry.name, extensions):
            if asked(entry.is_file) or entry.is_symlink() and not osp.exists(entry.path):
                yield prefix + entry.name
        elif passed_over is not None and has_file_allowed_extension(entry.name, (*PLUGINS, *RAW_EXTENSIONS)):
            extension = osp.splitext(entry.name)[1].lower()
            passed_over[extension] = passed_over.get(extension, 0) + 1
    if not recursive:
        return
    above = (*_above, osp.realpath(here))
    for entry in entries:
        if asked(entry.is_dir) and not (entry.is_symlink() and _holds(osp.realpath(entry.path), above)):
            yield from find_images(root, prefix + entry.name, True, extensions, passed_over, above)


@DATASOURCES.register_module()
class Folder(BaseDataSource):
    """Any tree of images: nested as it likes, no labels, no class folders, no annotation file.

    Args: see BaseDataSource. `ann_file` is None: it is there so that a config for lists becomes one for a folder by
        two options, `type=Folder ann_file=None`.
        extensions (list[str], optional): Ends of the names that count, such as ['.npy'], in place of those of images.
    """

    def __init__(self,
                 data_prefix,
                 ann_file=None,
                 color_type='color',
                 channel_order='rgb',
                 test_mode=False,
                 file_client_args=dict(backend='disk'),
                 extensions=None,
                 **kwargs):
        self.extensions = check_extensions(extensions)
        if ann_file is not None:
            raise ConfigError(f'Folder takes every image below data_prefix and no list: set ann_file=None instead of '
                              f'{ann_file!r}, or use ImageList')
        super().__init__(
            data_prefix,
            test_mode=test_mode,
            color_type=color_type,
            channel_order=channel_order,
            file_client_args=file_client_args,
            **kwargs)

    def load_annotations(self):
        passed_over = {}
        names = CompactStrings(find_images(self.data_prefix, extensions=self.extensions, passed_over=passed_over))
        told = tell_passed_over(passed_over, self.data_prefix)
        if not names:
            shards = any(entry.name.endswith('.tar') for entry in sorted_entries(self.data_prefix))
            raise FileNotFoundError(told
                                    or f'no images in {osp.abspath(self.data_prefix)} or the folders in it; looked for '
                                    f'files that end with {", ".join(self.extensions or readable_extensions())}' +
                                    ('; type="Shards" reads the .tar files there, once '
                                     'tools/data_converters/index_shards.py has indexed them' if shards else ''))
        if told:
            get_root_logger().warning(told)
        return names, np.full(len(names), -1, np.int32)

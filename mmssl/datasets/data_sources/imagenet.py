# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet and every data set laid out like it."""
import os.path as osp
from array import array

import numpy as np

from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings, has_file_allowed_extension, read_lines, split_label
from .folder import asked, check_extensions, find_images, sorted_entries, tell_passed_over
from .lists import is_array_list, read_array_list

__all__ = ['ImageNet', 'find_folders', 'get_samples', 'has_file_allowed_extension']


def find_folders(root):
    """Class folders of a data set.

    Args:
        root (str): Folder with one folder a class.

    Returns:
        dict[str, int]: Label by folder name; the folders are counted by name.
    """
    return {e.name: i for i, e in enumerate(e for e in sorted_entries(root) if asked(e.is_dir))}


def get_samples(root, folder_to_idx, extensions=None, recursive=True, passed_over=None):
    """Yield each image in class folders with its label.

    Args:
        root (str): Folder with the class folders.
        folder_to_idx (dict[str, int]): Label by folder name.
        extensions (Sequence[str], optional): See find_images.
        recursive (bool): Also look into folders in a class folder.
        passed_over (dict[str, int], optional): See find_images.

    Yields:
        tuple[str, int]: Path relative to `root`, and label.
    """
    for folder, label in sorted(folder_to_idx.items()):
        for name in find_images(root, folder, recursive, extensions, passed_over):
            yield name, label


def compact(samples):
    """(name, label) pairs, read once -> CompactStrings and int32 labels."""
    labels = array('i')

    def names():
        for name, label in samples:
            labels.append(label)
            yield name

    names = CompactStrings(names())
    return names, np.array(labels, np.int32)


@DATASOURCES.register_module()
class ImageNet(BaseDataSource):
    """Images in class folders, or listed in an annotation file.

    With `ann_file`, each of its lines is a file name relative to `data_prefix`, a space or tab and a class id, such as
    `n01440764/n01440764_10026.JPEG 0`; or it is a .npy, .npz, .pkl or .json file, see ImageList. Without, each folder
    in `data_prefix` is a class, counted by name.

    Args: see BaseDataSource, and
        extensions (list[str], optional): Without `ann_file`, ends of the names that count, such as ['.npy'], in place
            of those of images.
    """

    recursion_subdir = True

    def __init__(self, *args, extensions=None, **kwargs):
        self.extensions = check_extensions(extensions)
        super().__init__(*args, **kwargs)

    def load_annotations(self):
        if self.ann_file is None:
            return self._load_folders()
        if self.extensions is not None:
            raise ConfigError(f'extensions={self.extensions} is for class folders, ann_file={self.ann_file!r} names '
                              'the files')
        if not isinstance(self.ann_file, str):
            raise ConfigError(f'ann_file of {type(self).__name__} must be one file name, got {self.ann_file!r}')
        if is_array_list(self.ann_file):
            return self._load_array_list()
        return compact(
            self._read_line(f'{self.ann_file}, line {number}', line) for number, line in read_lines(self.ann_file))

    def _load_array_list(self):
        names, labels, self.found_classes = read_array_list(self.ann_file)
        if labels is None or labels.ndim == 2 or labels.min() < 0:
            raise ConfigError(f'{self.ann_file}: {type(self).__name__} needs one label an image; lists of images '
                              'without labels, or with several, are read by the data source ImageList')
        return names, labels

    def _load_folders(self):
        root, passed_over = osp.abspath(self.data_prefix), {}
        folders = find_folders(self.data_prefix)
        names, labels = compact(
            get_samples(self.data_prefix, folders, self.extensions, self.recursion_subdir, passed_over))
        beside = list(find_images(self.data_prefix, '', False, self.extensions, passed_over))
        told = tell_passed_over(passed_over, root)
        if not names:
            raise FileNotFoundError(f'no images in class folders of {root}; it holds {len(folders)} folders'
                                    f'{" and " + str(len(beside)) + " images" if beside else ""}. ' +
                                    (told or 'Images without class folders are read by the data source Folder'))
        if beside:
            get_root_logger().warning(f'{len(beside)} images lie beside the class folders in {root} and have no class, '
                                      f'such as {beside[0]}: they are left out')
        if told:
            get_root_logger().warning(told)
        self.found_classes = tuple(folders)
        return names, labels

    @property
    def folder_to_idx(self):
        """dict[str, int]: Label by name of the class folder; empty for a list."""
        return {} if self.found_classes is None or self.ann_file is not None else self.class_to_idx

    def _read_line(self, place, line):
        name, label = split_label(line, place)
        if label is None or label < 0:
            raise ConfigError(f'{place}: expected a file name and a class id, such as "folder/1.jpg 0", got {line!r}. '
                              'Lists of images without labels are read by the data source ImageList')
        return name, label

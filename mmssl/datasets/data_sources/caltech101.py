# Copyright (c) mmssl contributors. All rights reserved.
"""Caltech-101, with the usual split of so many images a class."""
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings
from .imagenet import compact, find_folders, get_samples


@DATASOURCES.register_module()
class Caltech101(BaseDataSource):
    """8,677 images in 101 classes (Fei-Fei et al., 2004; https://data.caltech.edu/records/mzrjq-6wc02).

    There is no official split: as usual, so many images of each class are drawn to train on, and all others are to be
    tested on. The folder BACKGROUND_Google is no class and is left out.

    Args: see BaseDataSource, and:
        data_prefix (str): Holds the folder 101_ObjectCategories (also inside caltech-101), or the folders of classes.
        train_per_class (int): Images of each class to train on.
        seed (int): Draws them; the same for both parts.
        test_mode (bool): Take the images that are not drawn.

    Raises:
        ConfigError: A class has no more than `train_per_class` images, so that none is left to test.
    """

    left_out = 'BACKGROUND_Google'

    def __init__(self, data_prefix, train_per_class=30, seed=0, **kwargs):
        if train_per_class < 1:
            raise ConfigError(f'train_per_class must be 1 or more, got {train_per_class}')
        self.train_per_class = train_per_class
        self.seed = seed
        super().__init__(data_prefix, **kwargs)

    def load_annotations(self):
        inside = ('101_ObjectCategories', 'caltech-101/101_ObjectCategories', 'caltech101/101_ObjectCategories')
        root = next((f for f in inside if osp.isdir(osp.join(self.data_prefix, f))), '')
        folders = [name for name in find_folders(osp.join(self.data_prefix, root)) if name != self.left_out]
        paths = {osp.join(root, name): label for label, name in enumerate(folders)}
        names, labels = compact(get_samples(self.data_prefix, paths))
        if not names:
            raise FileNotFoundError(
                f'Caltech101: no images in class folders of {osp.abspath(osp.join(self.data_prefix, root))}. Download '
                'https://data.caltech.edu/records/mzrjq-6wc02, and unpack caltech-101.zip and the '
                '101_ObjectCategories.tar.gz in it there')
        self.found_classes = tuple(folders)
        taken = np.zeros(len(labels), bool)
        for label, name in enumerate(folders):
            own = np.flatnonzero(labels == label)
            if len(own) <= self.train_per_class:
                raise ConfigError(f'Caltech101: the class {name} has {len(own)} images; with '
                                  f'train_per_class={self.train_per_class} none is left to test')
            taken[np.random.default_rng([self.seed, label]).choice(own, self.train_per_class, replace=False)] = True
        taken ^= bool(self.test_mode)
        return CompactStrings(names[i] for i in np.flatnonzero(taken)), labels[taken]

# Copyright (c) mmssl contributors. All rights reserved.
"""A static augmented data set: files of originals and of a fixed number of views of each."""
import json
import os.path as osp
import re

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings
from .folder import find_images
from .imagenet import find_folders

MANIFEST = 'static_views.json'


@DATASOURCES.register_module()
class StaticViews(BaseDataSource):
    """One view of all images of a static augmented data set, as tools/data_converters/sample_augmentations.py writes.

    In folders of classes, or in `data_prefix` itself where images have no class, lie NAME-0.EXT, the original, and
    NAME-1.EXT, NAME-2.EXT and so on, its views. Whatever view is asked for, index i is the same image.

    Args: see BaseDataSource, and:
        view (int): 0 for originals, else the number of the view.
        samples_per_class (int, optional): Take the first so many images of each class.

    Raises:
        ConfigError: An image lacks a view that others have, the set was not written to its end, or a class is smaller
            than `samples_per_class`.
    """

    def __init__(self, data_prefix, view=0, samples_per_class=None, **kwargs):
        if samples_per_class is not None and samples_per_class < 1:
            raise ConfigError(f'samples_per_class must be 1 or more, got {samples_per_class}')
        self.view = view
        self.samples_per_class = samples_per_class
        super().__init__(data_prefix, **kwargs)

    def load_annotations(self):
        folders = find_folders(self.data_prefix)
        self._check_manifest()
        if folders:
            self.found_classes = tuple(folders)
        names, labels = [], []
        for folder, label in [('', -1), *folders.items()]:
            images = {}
            for path in find_images(self.data_prefix, folder, recursive=False):
                found = re.fullmatch(r'(.+)-(\d+)', osp.splitext(path)[0])
                if found:
                    images.setdefault(found[1], {})[int(found[2])] = path
            present = set().union(*images.values())
            for name, files in images.items():
                if {0, self.view} - files.keys() or present - files.keys():
                    absent = min({0, self.view} - files.keys() or present - files.keys())
                    raise ConfigError(f'{osp.join(self.data_prefix, name)}-{absent}.* is absent, {len(files)} other '
                                      'files of this image are there: the static set has no such view, or has a gap')
            wanted = self.samples_per_class if folder else None
            if wanted and len(images) < wanted:
                raise ConfigError(f'samples_per_class={wanted}, but the class {folder} of {self.data_prefix} has '
                                  f'{len(images)} images')
            chosen = sorted(images)[:wanted]
            names += [images[name][self.view] for name in chosen]
            labels += [label] * len(chosen)
        if not names:
            raise FileNotFoundError(f'no images NAME-{self.view}.EXT in {osp.abspath(self.data_prefix)} or the folders '
                                    'in it; tools/data_converters/sample_augmentations.py writes such a set')
        return CompactStrings(names), np.array(labels, np.int32)

    def _check_manifest(self):
        """The writer's word that all is there; sets of other origin have none."""
        path = osp.join(self.data_prefix, MANIFEST)
        if osp.isfile(path):
            with open(path, encoding='utf-8') as file:
                if not json.load(file).get('complete'):
                    raise ConfigError(f'the static set {self.data_prefix} was not written to its end: run '
                                      'sample_augmentations.py with the same arguments again, and it goes on')

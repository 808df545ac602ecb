# Copyright (c) mmssl contributors. All rights reserved.
"""Classification on Pascal VOC: several classes an image."""
import os.path as osp

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings, read_lines

SPLITS = ('train', 'val', 'trainval', 'test')


@DATASOURCES.register_module()
class VOC(BaseDataSource):
    """Images of Pascal VOC with the classes of their objects, from `ImageSets/Main/<class>_<split>.txt`.

    A line of those files is the name of an image and 1 (the class is there), -1 (it is not) or 0 (only objects
    that are difficult to see). `labels` are -1 throughout, since an image has no single class.

    Args: see BaseDataSource; besides
        data_prefix (str): A folder such as VOCdevkit/VOC2007, with JPEGImages and ImageSets.
        split (str): 'train', 'val', 'trainval' or 'test'.
        multi_label (bool): SingleViewDataset gives the row of `targets` as the label of an image, to train on.

    Attributes:
        targets (ndarray): N x C int8: 1 where the class is in the image, 0 where not, -1 where it is difficult.
    """

    CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')

    def __init__(self,
                 data_prefix,
                 split='trainval',
                 classes=None,
                 color_type='color',
                 channel_order='rgb',
                 file_client_args=dict(backend='disk'),
                 multi_label=False,
                 **kwargs):
        if split not in SPLITS:
            raise ConfigError(f'split must be one of {SPLITS}, got {split!r}')
        self.split = split
        self.multi_label = multi_label
        super().__init__(
            data_prefix,
            classes,
            color_type=color_type,
            channel_order=channel_order,
            file_client_args=file_client_args,
            **kwargs)

    def load_annotations(self):
        names, columns = None, []
        for name in self.CLASSES:
            path = osp.join(self.data_prefix, 'ImageSets', 'Main', f'{name}_{self.split}.txt')
            if not osp.isfile(path):
                raise FileNotFoundError(f'no such list: {path}; data_prefix must be a folder such as VOCdevkit/VOC2007')
            rows = [self._read_line(path, number, line) for number, line in read_lines(path)]
            if names is not None and names != [row[0] for row in rows]:
                raise ConfigError(f'{path} names other images than the list of class {self.CLASSES[0]!r}')
            names = [row[0] for row in rows]
            columns.append([row[1] for row in rows])
        if not names:
            raise ConfigError(f'the lists of split {self.split!r} in {self.data_prefix} name no image')
        self.targets = np.array(columns, np.int8).T.copy()
        return CompactStrings(f'JPEGImages/{name}.jpg' for name in names), np.full(len(names), -1, np.int32)

    @staticmethod
    def _read_line(path, number, line):
        words = line.split()
        if len(words) != 2 or words[1] not in ('1', '0', '-1'):
            raise ConfigError(f'{path}, line {number}: expected a name and 1, 0 or -1, got {line!r}')
        return words[0], {'1': 1, '0': -1, '-1': 0}[words[1]]

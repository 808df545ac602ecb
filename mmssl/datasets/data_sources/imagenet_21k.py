# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet-21k: as ImageNet, with several labels an image if wanted."""
import re
from array import array

import numpy as np

from mmssl.utils.errors import ConfigError
from ..registry import DATASOURCES
from .imagenet import ImageNet
from .lists import is_array_list


@DATASOURCES.register_module()
class ImageNet21k(ImageNet):
    """ImageNet with 14 million images in 21,841 classes.

    Args:
        data_prefix (str): Folder that file names are relative to.
        classes (str | Sequence[str], optional): See BaseDataSource.
        ann_file (str, optional): Annotation file as of ImageNet.
        multi_label (bool): The lines of `ann_file` end with one or more class ids, separated by commas, such as
            `1.jpg 3,17`. `get_cat_ids` then returns them all, and SingleViewDataset gives a vector of 0 and 1.
        recursion_subdir (bool): Without `ann_file`: look into folders in the class folders too.
        test_mode (bool): See BaseDataSource, as for the rest.
    """

    def __init__(self,
                 data_prefix,
                 classes=None,
                 ann_file=None,
                 multi_label=False,
                 recursion_subdir=False,
                 test_mode=False,
                 color_type='color',
                 channel_order='rgb',
                 file_client_args=dict(backend='disk'),
                 **kwargs):
        if multi_label and ann_file is None:
            raise ConfigError('multi_label=True needs an ann_file: folders give one label an image')
        if multi_label and is_array_list(ann_file):
            raise ConfigError(
                f'the lists of multi_label=True are texts, got {ann_file!r}; ImageList takes N x C values '
                'of 1, 0 and -1 as labels')
        self.multi_label = multi_label
        self.recursion_subdir = recursion_subdir
        super().__init__(data_prefix, classes, ann_file, test_mode, color_type, channel_order, file_client_args,
                         **kwargs)

    def load_annotations(self):
        if not self.multi_label:
            return super().load_annotations()
        self._values, self._ends = array('i'), array('q', [0])
        loaded = super().load_annotations()
        self._values, self._ends = np.array(self._values, np.int32), np.array(self._ends, np.int64)
        return loaded[0], np.maximum.reduceat(self._values, self._ends[:-1])  # the largest, to be held against CLASSES

    def _read_line(self, place, line):
        if not self.multi_label:
            return super()._read_line(place, line)
        found = re.fullmatch(r'(.*\S)[ \t]+(\d{1,9}(,\d{1,9})*)', line)
        if not found:
            raise ConfigError(f'{place}: expected a file name and class ids separated by commas, such as '
                              f'"folder/1.jpg 3,17", got {line!r}')
        self._values.extend(map(int, found[2].split(',')))
        self._ends.append(len(self._values))
        return found[1], 0

    def get_cat_ids(self, idx):
        """Label of one sample, or the list of all its labels with `multi_label`."""
        if not self.multi_label or self.targets is not None:
            return super().get_cat_ids(idx)
        return self._values[self._ends[idx]:self._ends[idx + 1]].tolist()

    def get_gt_labels(self):
        """ndarray: Labels of all samples; see BaseDataSource."""
        if self.multi_label and self.targets is None:
            raise ConfigError('ImageNet21k(multi_label=True) has several labels an image, and one is needed here; '
                              'multi_label=False takes lists with one class id a line')
        return super().get_gt_labels()

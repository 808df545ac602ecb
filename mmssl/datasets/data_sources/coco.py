# Copyright (c) mmssl contributors. All rights reserved.
"""Classification on COCO: several classes an image, from the annotations of its objects."""
import json
import os.path as osp
from array import array

import numpy as np

from mmssl.utils.errors import ConfigError, short
from ..registry import DATASOURCES
from .base import BaseDataSource, CompactStrings
from .labels import take_columns


def _shrink(entry):
    """Keep of an annotation, while the file is read, only what tells its class: outlines take 9 tenths of it."""
    if 'image_id' not in entry:
        return entry
    return entry['image_id'], entry.get('category_id'), _counts(entry), entry.get('bbox')


def _counts(entry):
    return entry.get('ignore', 0) != 1 and entry.get('area', 1) > 0


def _box_is_larger_than_a_pixel(box, width, height):
    """Whether a box [x, y, width, height], both corners inclusive and clipped to the image, spans more than a pixel."""
    x, y, w, h = box
    right, bottom = x + max(0, w - 1), y + max(0, h - 1)
    return min(max(x, 0), width - 1) < min(max(right, 0), width - 1) and \
        min(max(y, 0), height - 1) < min(max(bottom, 0), height - 1)


@DATASOURCES.register_module()
class COCO(BaseDataSource):
    """Images of COCO with the classes of their objects, from `annotations/instances_<split><year>.json`.

    A class is in an image where one of its objects is, groups of objects (`iscrowd`) among them. As in VISSL, an object
    is left out that is marked `ignore`, has no area, or whose box spans no more than one pixel within the image; an
    image without objects stays, with no class; and images come in the order of their names. `labels` are -1 throughout,
    since an image has no single class.

    Args: see BaseDataSource; besides
        data_prefix (str): A folder such as data/coco, with the folders annotations, train2014 and val2014. With
            `ann_file` the folder that its file names are relative to.
        split (str): 'train' or 'val', or another whose file of annotations is there, such as 'minival', whose images
            lie in val2014.
        year (int): 2014 or 2017.
        ann_file (str, optional): A JSON file in COCO's form, in place of the one of `split` and `year`.
        classes (str | Sequence[str], optional): Take the columns of these classes, in this order.
        multi_label (bool): SingleViewDataset gives the row of `targets` as the label of an image, to train on.

    Attributes:
        targets (ndarray): N x C int8: 1 where the class is in the image, else 0.

    Raises:
        FileNotFoundError: There is no such file of annotations.
        ConfigError: It is none, or an object in it has no known image or class.
    """

    def __init__(self, data_prefix, split='train', year=2014, ann_file=None, multi_label=True, **kwargs):
        self.split = split
        self.year = year
        self.multi_label = multi_label
        super().__init__(data_prefix, ann_file=ann_file, **kwargs)

    def load_annotations(self):
        path, folder = self.ann_file, ''
        if path is None:
            path = osp.join(self.data_prefix, 'annotations', f'instances_{self.split}{self.year}.json')
            folder = f'{"train" if self.split == "train" else "val"}{self.year}/'
        if not osp.isfile(path):
            raise FileNotFoundError(f'no such annotations: {osp.abspath(path)}; data_prefix must be a folder such as '
                                    'data/coco with the folder annotations in it, or ann_file a JSON file')
        try:
            with open(path, encoding='utf-8') as file:
                content = json.load(file, object_hook=_shrink)
            images = sorted(
                (image['file_name'], image['id'], image['width'], image['height']) for image in content['images'])
            categories = {category['id']: str(category['name']) for category in content['categories']}
            objects = content['annotations']
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f'{path} is no JSON file in the form of COCO, with images (file_name, id, width, height),'
                              f' categories (id, name) and annotations: {error!r}') from error
        targets = self._read_objects(path, images, list(categories), objects)
        self.targets, self.CLASSES = take_columns(targets, list(categories.values()), self.CLASSES)
        return CompactStrings(folder + image[0] for image in images), np.full(len(images), -1, np.int32)

    @staticmethod
    def _read_objects(path, images, categories, objects):
        rows = {image[1]: row for row, image in enumerate(images)}
        columns = {number: column for column, number in enumerate(categories)}
        targets = np.zeros((len(images), len(categories)), np.int8)
        at = array('q')
        for entry in objects:
            if not isinstance(entry, tuple) or entry[0] not in rows or entry[1] not in columns:
                raise ConfigError(f'{path}: an annotation names an image_id and a category_id that are there; got '
                                  f'{short(entry)}')
            image, category, counts, box = entry
            row = rows[image]
            if counts and (box is None or _box_is_larger_than_a_pixel(box, *images[row][2:])):
                at.append(row * len(categories) + columns[category])
        targets.ravel()[np.array(at, np.int64)] = 1
        return targets

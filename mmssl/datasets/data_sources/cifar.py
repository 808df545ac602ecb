# Copyright (c) mmssl contributors. All rights reserved.
"""CIFAR-10 and CIFAR-100, from the archives of their 'python version'."""
import os.path as osp

import numpy as np

from mmssl.utils.unpickle import ArrayUnpickler
from ..registry import DATASOURCES
from .base import ArraySource


@DATASOURCES.register_module()
class CIFAR10(ArraySource):
    """60,000 images of 32 x 32 pixels in 10 classes (https://www.cs.toronto.edu/~kriz/cifar.html).

    Args: see BaseDataSource. `data_prefix` holds the unpacked archive (or is the folder of its files);
        `test_mode=True` takes the 10,000 test images.
    """

    archive = 'cifar-10-python.tar.gz'
    folder = 'cifar-10-batches-py'
    train_list = ('data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5')
    test_list = ('test_batch', )
    label_key = b'labels'
    CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')

    def load_annotations(self):
        images, labels = [], []
        for name in self.test_list if self.test_mode else self.train_list:
            path = self._find(name)
            with open(path, 'rb') as file:
                try:
                    batch = ArrayUnpickler(file, encoding='bytes').load()
                    images.append(np.asarray(batch[b'data'], np.uint8).reshape(-1, 3, 32, 32))
                    labels.append(np.asarray(batch[self.label_key], np.int32))
                except Exception as error:
                    raise ValueError(f'{path} is no batch of {type(self).__name__}: {error}') from error
        images = np.concatenate(images).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), np.concatenate(labels)

    def _find(self, name):
        for folder in (osp.join(self.data_prefix, self.folder), self.data_prefix):
            path = osp.join(folder, name)
            if osp.isfile(path):
                return path
        raise FileNotFoundError(
            f'{type(self).__name__}: no file {name} in {osp.abspath(self.data_prefix)} or its folder {self.folder}. '
            f'Download https://www.cs.toronto.edu/~kriz/{self.archive} and unpack it there: '
            f'tar -xzf {self.archive} -C {self.data_prefix}')


@DATASOURCES.register_module()
class CIFAR100(CIFAR10):
    """As CIFAR10, with 100 classes (the fine labels)."""

    archive = 'cifar-100-python.tar.gz'
    folder = 'cifar-100-python'
    train_list = ('train', )
    test_list = ('test', )
    label_key = b'fine_labels'
    CLASSES = tuple(
        ('apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can '
         'castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin '
         'elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard '
         'lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear '
         'pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal '
         'shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank '
         'telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman '
         'worm').split())

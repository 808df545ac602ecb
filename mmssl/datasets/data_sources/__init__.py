# Copyright (c) mmssl contributors. All rights reserved.
from .base import ArraySource, BaseDataSource, CompactStrings
from .caltech101 import Caltech101
from .cifar import CIFAR10, CIFAR100
from .coco import COCO
from .decode import BrokenImageError, decode_image
from .folder import Folder
from .given import Arrays, Files
from .image_list import ImageList
from .imagenet import ImageNet
from .imagenet_21k import ImageNet21k
from .parquet import Arrow, Parquet
from .retrieval import Copydays, Holidays, Instre, Oxford5k, Paris6k, RetrievalSource, ROxford5k, RParis6k
from .shards import Shards, source_of_folder
from .small import Digits, FashionMNIST
from .static_views import StaticViews
from .synthetic import Synthetic
from .voc import VOC
from .zip_folder import is_folder

__all__ = [
    'ArraySource', 'Arrays', 'Arrow', 'BaseDataSource', 'BrokenImageError', 'CIFAR10', 'CIFAR100', 'COCO', 'Caltech101',
    'CompactStrings', 'Copydays', 'Digits', 'FashionMNIST', 'Files', 'Folder', 'Holidays', 'ImageList', 'ImageNet',
    'ImageNet21k', 'Instre', 'Oxford5k', 'Paris6k', 'Parquet', 'ROxford5k', 'RParis6k', 'RetrievalSource', 'Shards',
    'StaticViews', 'Synthetic', 'VOC', 'decode_image', 'is_folder', 'source_of_folder'
]

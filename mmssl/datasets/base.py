# Copyright (c) mmssl contributors. All rights reserved.
"""What all datasets share: a source of images and the form in which views leave."""
import copy
from abc import ABCMeta, abstractmethod
from functools import partial

import numpy as np
from torch.utils.data import Dataset

from mmssl.utils.errors import ConfigError
from .images import IMAGE_TYPES, is_deep, to_array
from .pipelines.compose import Compose, least_reduction
from .pipelines.deferred import Deferred
from .registry import build_datasource


class BaseDataset(Dataset, metaclass=ABCMeta):
    """A source and a pipeline: how views and targets are made of a sample.

    Args:
        data_source (dict | BaseDataSource): Where images come from.
        pipeline (list[dict | Callable]): Steps from the stored image to the view.
        prefetch (bool): Views leave as arrays of uint8, uint16 or float32; PrefetchLoader makes them float and
            normalises them on the device. Else the pipeline ends with ToTensor and Normalize.
    """

    compose = Compose

    def __init__(self, data_source, pipeline, prefetch=False):
        self.data_source = build_datasource(data_source)
        self.pipeline = self.compose(pipeline)
        self.prefetch = prefetch
        self.CLASSES = self.data_source.CLASSES

    @property
    def data_sources(self):
        """list[BaseDataSource]: All that an image of a sample comes from."""
        return [self.data_source]

    def __len__(self):
        return len(self.data_source)

    @abstractmethod
    def __getitem__(self, idx):
        """One sample.

        Args:
            idx (int): Index of the sample.

        Returns:
            dict: `img` (a view or a list of views), `idx`, and what else the algorithm's forward_train takes.
        """

    @abstractmethod
    def evaluate(self, results, logger=None, **kwargs):
        """Metrics of the results of a test run over this data set.

        Args:
            results (dict[str, ndarray]): Outputs by name, one row a sample.
            logger (logging.Logger | str, optional): Where the metrics are printed.

        Returns:
            dict[str, float]: The metrics.
        """

    def with_pipelines(self, change):
        """The data set with other pipelines.

        Args:
            change (Callable): Takes a pipeline and returns the one that takes its place.

        Returns:
            BaseDataset: A copy that shares all else; this one stays as it is.
        """
        other = copy.copy(self)
        other.pipeline = change(self.pipeline)
        return other

    def stored(self, idx):
        """The stored image as native steps take it.

        Args:
            idx (int): Index of the sample.

        Returns:
            ndarray: uint8, uint16 or float32, H x W x C.
        """
        source = self.data_source
        # a source of other origin than ours has `get_img` alone
        return source.get_array(idx) if hasattr(source, 'get_array') else to_array(source.get_img(idx))

    def stored_for(self, views, idx, first=0):
        """The stored image for certain views: where they look at few of its pixels, it is not decoded in full.

        Args:
            views (Sequence[Compose]): The pipeline of each view, which begins with `seed_view` of its number.
            idx (int): Index of the sample.
            first (int): Number of the first of these views.

        Returns:
            ndarray | ReducedImage: What the pipelines take.
        """
        scaled = getattr(self.data_source, 'scaled_decode', False)
        if scaled is False or type(self).stored is not BaseDataset.stored:
            return self.stored(idx)
        return self.data_source.get_reduced(idx, partial(least_reduction, views, first, scaled is True))

    def finish(self, view):
        """The view as it leaves the data set, after a look whether pipeline and `prefetch` fit.

        Args:
            view (ndarray | PIL.Image.Image | Tensor | Deferred | tuple): What the pipeline made; of a tuple, the image
                comes first.

        Returns:
            ndarray | Tensor | Deferred | tuple: The view; a Pillow image becomes an array.

        Raises:
            ConfigError: `prefetch` is set, but the image is a tensor already; or it is not, and the image is an array
                of more than 8 bits, which nobody would normalise.
        """
        view = to_array(view)
        img = view[0] if isinstance(view, (tuple, list)) else view
        img = img.img if isinstance(img, Deferred) else img
        if not self.prefetch and is_deep(img):
            raise ConfigError(f'the pipeline ends with {img.dtype} of the shape {img.shape}: set prefetch=True and '
                              'img_norm_cfg=dict(mean=..., std=..., max_value=...), or let it end with ToTensor and '
                              'Normalize')
        if self.prefetch and not (isinstance(img, np.ndarray) and img.dtype in IMAGE_TYPES):
            raise ConfigError(f'prefetch=True takes arrays of images, the pipeline ends with {type(img).__name__} of '
                              f'{getattr(img, "dtype", "no dtype")}: leave ToTensor and Normalize out of it, or set '
                              'prefetch=False, which RandomAug needs')
        return view

# Copyright (c) mmssl contributors. All rights reserved.
"""Samples of several images and labels side by side, which pass through the steps as one dict."""
from functools import partial
from itertools import groupby

import numpy as np

from mmssl.utils.errors import BrokenImageError, ConfigError
from .base import BaseDataset
from .data_sources.labels import read_labels
from .pipelines.rng import first_view, reseed, seed_sample
from .pipelines.sample import SamplePipeline, map_images
from .registry import DATASETS, build_datasource
from .single_view import SingleViewDataset, top_k_accuracies
from .source_subset import check_alike, labels_of_part


@DATASETS.register_module()
class SampleDataset(BaseDataset):
    """Samples that pass through the pipeline as a dict, so that a step may make labels, copies and further images.

    A sample begins as `dict(img=array, label=label, idx=idx)`. A step on images is applied to every image of it, each
    with random numbers of its own; a step that takes a sample gets all of it (see pipelines/sample.py). What the
    pipeline leaves is the batch: all its entries reach `forward_train`.

    Args:
        data_source (dict | BaseDataSource): Where images come from; or a dict of several by names of your choice, all
            of one length, from which sample i takes image i each: then `img` and `label` are dicts by these names.
        pipeline (list[dict | Callable]): Steps from the stored image(s) to the sample.
        prefetch (bool): See BaseDataset.
        labels (dict[str, str | Sequence[int] | None], optional): Several labels an image by names of your choice: a
            .npy file of N integers (or of N x C, see BaseDataSource), the integers themselves, or None for those of the
            data source (of several sources, of the one with this name). `label` is then a dict by these names. Where
            the source is a subset, they are of all images of the whole.

    Attributes:
        CLASSES (Sequence[str] | None): Names of the classes of `label`, where an image has one.
        classes (dict[str, Sequence[str] | None]): Those of each of several data sources.
        gt_labels (ndarray): Labels of all samples, -1 = unlabelled; there is none where an image has several, or where
            the pipeline makes them.

    Raises:
        ConfigError: Data sources of different lengths; labels that do not fit.
    """
    compose = SamplePipeline

    def __init__(self, data_source, pipeline, prefetch=False, labels=None):
        several = isinstance(data_source, dict) and 'type' not in data_source
        if several and not data_source:
            raise ConfigError('data_source is empty: it is a data source, or a dict of several by name', data_source)
        plain = [name for name, cfg in data_source.items()
                 if cfg is None or isinstance(cfg, (str, int, list, tuple))] if several else []
        if plain:
            raise ConfigError(
                f'data_source has no type, and {plain[0]!r} is no data source: it is a data source, or a '
                'dict of several by name', data_source)
        sources = {name: build_datasource(cfg) for name, cfg in data_source.items()} if several else \
            {None: build_datasource(data_source)}
        super().__init__(next(iter(sources.values())), pipeline, prefetch)
        lengths = {name: len(source) for name, source in sources.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError('the data sources side by side have different numbers of images: ' +
                              ', '.join(f'{name} {length}' for name, length in lengths.items()))
        check_alike(sources)
        self.classes = {name: source.CLASSES for name, source in sources.items()} if several else {}
        if several or labels is not None:
            self.CLASSES = None
        # each has the rules of its labels
        self._parts = {name: SingleViewDataset(source, []) for name, source in sources.items()}
        self._labels = labels if labels is None else {
            name:
            values
            if values is None else labels_of_part(self.data_source, partial(read_labels, values), f'labels.{name}')
            for name, values in labels.items()
        }
        for name, values in (self._labels or {}).items():
            if values is None and several and name not in sources:
                raise ConfigError(f'labels.{name} is None, and there is no data source of this name; there are '
                                  f'{list(sources)}')
        if not several and labels is None and 'label' not in self.pipeline.makes:
            self.num_classes = self._parts[None].num_classes
            if self.num_classes is None:
                self.gt_labels = self._parts[None].gt_labels

    @property
    def num_views(self):
        """list[int] | None: Where the pipeline makes a list of views, how many of each size, as of MultiViewDataset.

        It is what the first sample has.
        """
        seed_sample(0, 0, 0)  # so that the global generators are left as they are
        try:
            img = self[0]['img']
        except BrokenImageError:
            return None
        finally:
            reseed()
        if not isinstance(img, list):
            return None
        sizes = [np.shape(view[0] if isinstance(view, tuple) else view) for view in img]
        return [len(list(views)) for _, views in groupby(sizes)]

    @property
    def data_sources(self):
        """list[BaseDataSource]: See BaseDataset."""
        return [part.data_source for part in self._parts.values()]

    @property
    def several(self):
        """Whether several data sources lie side by side."""
        return None not in self._parts

    @property
    def made_classes(self):
        """dict[str, int]: Number of classes by label that the pipeline makes, where the step that makes it tells."""
        made = {
            name: getattr(step, 'num_classes', None)
            for step in self.pipeline.transforms
            for name in getattr(step, 'makes', ())
        }  # the last one counts
        return {name: number for name, number in made.items() if number is not None}

    @property
    def label_arrays(self):
        """dict[str | None, ndarray]: Integers of all samples by the name of the label, None where there is one.

        Vectors are not in it, nor labels that the pipeline makes.
        """
        if 'label' in self.pipeline.makes:
            return {}
        of_parts = {name: getattr(part, 'gt_labels', None) for name, part in self._parts.items()}
        if self._labels is not None:
            of_parts = {
                name: of_parts[name if self.several else None] if values is None else values
                for name, values in self._labels.items()
            }
        return {name: labels for name, labels in of_parts.items() if labels is not None and labels.ndim == 1}

    def _label(self, idx):
        if self._labels is not None:
            return {name: self._given(name, values, idx) for name, values in self._labels.items()}
        if self.several:
            return {name: part._label(idx) for name, part in self._parts.items()}
        return int(self.gt_labels[idx]) if hasattr(self, 'gt_labels') else self._parts[None]._label(idx)

    def _given(self, name, values, idx):
        if values is None:
            return self._parts[name if self.several else None]._label(idx)
        return int(values[idx]) if values.ndim == 1 else np.array(values[idx], np.int8)

    def stored(self, idx):
        """The stored image, or a dict of several by name; see BaseDataset."""
        images = {name: part.stored(idx) for name, part in self._parts.items()}
        return images if self.several else images[None]

    def _begin(self, idx):
        """What the pipeline takes: each image as its first stretch of ordinary steps looks at it."""
        views = self.pipeline.first_views
        if type(self).stored is not SampleDataset.stored:
            return self.stored(idx)
        images = {
            name: part.stored_for(views, idx, number * len(views))
            for number, (name, part) in enumerate(self._parts.items())
        }
        return images if self.several else images[None]

    def __getitem__(self, idx):
        sample = dict(img=self._begin(idx), label=self._label(idx), idx=idx)
        first_view()
        sample = self.pipeline(sample)
        return dict(sample, img=map_images(self.finish, sample['img']))

    def evaluate(self, results, logger=None, topk=(1, 5)):
        """Top-k accuracy over the labelled samples; see SingleViewDataset.evaluate.

        Raises:
            ConfigError: There is not one label an image.
        """
        if not hasattr(self, 'gt_labels'):
            raise ConfigError('an accuracy takes one label an image, which this data set has not: it has several, or '
                              'its pipeline makes them')
        return top_k_accuracies(results, np.asarray(self.gt_labels), logger, topk)

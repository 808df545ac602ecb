# Copyright (c) mmssl contributors. All rights reserved.
"""Several views of each image."""
from mmssl.utils.errors import ConfigError, NotOfferedError
from .base import BaseDataset
from .pipelines.compose import Compose
from .pipelines.rng import seed_view
from .registry import DATASETS


@DATASETS.register_module()
class MultiViewDataset(BaseDataset):
    """Several views of each image; it is read and decoded once.

    Args:
        data_source (dict | BaseDataSource): Where images come from.
        num_views (list[int]): Number of views that each pipeline makes.
        pipelines (list[list[dict | Callable]]): The pipelines. `num_views=[2], pipelines=[p]` gives 2 views,
            `num_views=[2, 6], pipelines=[p1, p2]` gives 8.
        prefetch (bool): See BaseDataset.
        with_label (bool): Give the label of the image too, for what learns from views and labels.

    Attributes:
        gt_labels (ndarray): Labels of all samples, -1 = unlabelled; only `with_label`.
    """

    def __init__(self, data_source, num_views, pipelines, prefetch=False, with_label=False):
        if not all(isinstance(arg, (list, tuple)) for arg in (num_views, pipelines)) \
                or len(num_views) != len(pipelines) or not all(isinstance(p, (list, tuple)) for p in pipelines):
            raise ConfigError('num_views and pipelines must be lists of one length, one number and one pipeline (a list'
                              f' of steps) each, such as num_views=[2], pipelines=[pipeline]; got num_views={num_views}'
                              f' and {len(pipelines) if isinstance(pipelines, (list, tuple)) else pipelines} pipelines')
        if not num_views or not all(isinstance(n, int) and n > 0 for n in num_views):
            raise ConfigError(f'num_views must hold positive integers, got {num_views}')
        super().__init__(data_source, pipelines[0], prefetch)
        self.num_views = list(num_views)
        self.pipelines = [self.pipeline, *map(Compose, pipelines[1:])]
        if with_label:
            if getattr(self.data_source, 'multi_label', False):
                raise ConfigError(f'with_label=True gives one label an image, {type(self.data_source).__name__} has '
                                  'several of each: set multi_label=False')
            self.gt_labels = self.data_source.get_gt_labels()
        self._pipeline_of_view = [p for n, p in zip(num_views, self.pipelines) for _ in range(n)]

    def with_pipelines(self, change):
        other = super().with_pipelines(change)
        other.pipelines = [other.pipeline, *map(change, self.pipelines[1:])]
        other._pipeline_of_view = [p for n, p in zip(self.num_views, other.pipelines) for _ in range(n)]
        return other

    def __getitem__(self, idx):
        img = self.stored_for(self._pipeline_of_view, idx)
        views = []
        for number, pipeline in enumerate(self._pipeline_of_view):
            seed_view(number)
            views.append(self.finish(pipeline(img)))
        return dict(img=views, idx=idx, **(dict(label=int(self.gt_labels[idx])) if hasattr(self, 'gt_labels') else {}))

    def evaluate(self, results, logger=None):
        """There is nothing to measure: views have no labels.

        Raises:
            NotOfferedError: Always.
        """
        raise NotOfferedError('views have no labels to compare with; evaluate with SingleViewDataset')

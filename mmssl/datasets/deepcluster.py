# Copyright (c) mmssl contributors. All rights reserved.
"""One view of each image, with the cluster that it was assigned to."""
import numpy as np
import torch

from mmssl.utils.errors import NotOfferedError
from .base import BaseDataset
from .pipelines.rng import seed_view
from .registry import DATASETS


@DATASETS.register_module()
class DeepClusterDataset(BaseDataset):
    """One view of each image, with the number of its cluster as `pseudo_label`: -1 until labels are assigned.

    The labels lie in shared memory. Worker processes that persist from epoch to epoch, forked or spawned, see what
    the main process assigns; it does so between epochs, while no batch is under way.

    Args: see BaseDataset.
    """

    def __init__(self, data_source, pipeline, prefetch=False):
        super().__init__(data_source, pipeline, prefetch)
        self.pseudo_labels = torch.full((len(self), ), -1).share_memory_()

    def __getitem__(self, idx):
        img = self.stored_for([self.pipeline], idx)
        seed_view(0)
        return dict(img=self.finish(self.pipeline(img)), pseudo_label=int(self.pseudo_labels[idx]), idx=idx)

    def assign_labels(self, labels):
        """Replace all labels.

        Args:
            labels (ndarray | Tensor | Sequence[int]): N integers, label i for sample i; -1 = none.

        Raises:
            TypeError: The labels are no integers.
            ValueError: Not one label a sample, or labels below -1.
        """
        labels = np.asarray(labels.cpu() if isinstance(labels, torch.Tensor) else labels)
        if labels.dtype.kind not in 'iu':
            raise TypeError(f'labels must be integers, got {labels.dtype}')
        if labels.shape != (len(self), ):
            raise ValueError(f'labels must hold one integer for each of the {len(self)} samples, got the shape '
                             f'{labels.shape}')
        if labels.min() < -1:
            raise ValueError(f'labels must be -1 (none) or more, got {labels.min()} for sample {labels.argmin()}')
        self.pseudo_labels.copy_(torch.from_numpy(labels.astype(np.int64)))

    def evaluate(self, results, logger=None):
        """There is nothing to measure: the labels are made by the training itself.

        Raises:
            NotOfferedError: Always.
        """
        raise NotOfferedError('pseudo labels are made by the training itself; evaluate with SingleViewDataset')

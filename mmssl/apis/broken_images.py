# Copyright (c) mmssl contributors. All rights reserved.
"""All images of a data set that cannot be read, at once."""
import torch
from torch.utils.data import Dataset

from mmssl.datasets import distinct
from mmssl.datasets.dataset_wrappers import locate
from mmssl.datasets.loader import EpochLoader


class _Stored(Dataset):
    """Reads the stored image of each sample and keeps nothing of it."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, idx):
        leaf, place = locate(self.dataset, idx)
        if hasattr(leaf, 'stored'):
            leaf.stored(place)
        else:  # a data set of other origin: its own way to read
            leaf[place]
        return dict(idx=idx)


def find_broken(dataset, workers=0, progress=None):
    """Read all images of a data set.

    Args:
        dataset (Dataset): A data set, or a wrapper of several; repetitions are read once.
        workers (int): Processes that read; 0 reads in this one.
        progress (callable, optional): Called with the number of images read since the last call.

    Returns:
        list[tuple[int, str, str]]: Index, file name and reason of each image that cannot be read.
    """
    stored = _Stored(distinct(dataset))
    loader = EpochLoader(
        stored, torch.utils.data.SequentialSampler(stored), 16, broken_images=dict(policy='skip'), num_workers=workers)
    seen = 0
    for _ in loader:
        if progress:
            progress(loader.seen - seen)
            seen = loader.seen
    return list(loader.met)

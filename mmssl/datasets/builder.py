# Copyright (c) mmssl contributors. All rights reserved.
"""What builds loaders; the registries of the data path are here under the names of MMSelfSup."""
import gc
import os
import random
from functools import partial

import cv2
import numpy as np
import torch

from mmssl.utils.dist import get_dist_info, sync_random_seed
from mmssl.utils.errors import ConfigError
from mmssl.utils.launch import die_with_parent, let_parent_stop
from .loader import EpochLoader, PrefetchLoader
from .registry import (COLLATORS, DATASETS, DATASOURCES, PIPELINES, SAMPLERS, build_collator, build_dataset,
                       build_datasource, build_sampler)
from .samplers import DistributedSampler

__all__ = [
    'COLLATORS', 'DATASETS', 'DATASOURCES', 'PIPELINES', 'SAMPLERS', 'build_collator', 'build_dataloader',
    'build_dataset', 'build_datasource', 'build_sampler', 'worker_init_fn'
]


def build_dataloader(dataset,
                     imgs_per_gpu=None,
                     samples_per_gpu=None,
                     workers_per_gpu=1,
                     num_gpus=1,
                     dist=True,
                     shuffle=True,
                     replace=False,
                     seed=None,
                     pin_memory=True,
                     persistent_workers=True,
                     drop_last=False,
                     broken_images=None,
                     sampler=None,
                     prefetch=False,
                     img_norm_cfg=None,
                     collate=None,
                     device_steps=False,
                     read_ahead=None,
                     **kwargs):
    """Build a loader.

    The images depend on the seed, the epoch and the index alone: not on the number of workers or processes.

    Args:
        dataset (Dataset): The data set.
        imgs_per_gpu (int, optional): Old name of `samples_per_gpu`.
        samples_per_gpu (int): Samples of one process (one device) in a batch.
        workers_per_gpu (int): Worker processes of each process; 0 loads in the process itself.
        num_gpus (int): Devices that this process serves; with `dist` always 1.
        dist (bool): Share the samples out over the process group; in one process it changes nothing.
        shuffle (bool): Random order, another one each epoch.
        replace (bool): Draw samples with replacement.
        seed (int, optional): None: one is drawn, the same on all processes.
        pin_memory (bool): Put batches in pinned memory, where there is a GPU.
        persistent_workers (bool): Keep the workers from epoch to epoch.
        drop_last (bool): Leave out a last batch that is not full.
        broken_images (dict, optional): `policy` and `max_share`; see EpochLoader.
        sampler (dict | Sampler, optional): Takes the place of the one that `shuffle` and `replace` describe. The class
            of a config gets the arguments `dataset`, `num_replicas`, `rank`, `seed`, `batch_size` and `drop_last`, as
            far as it takes them and the config does not give them.
        prefetch (bool): Wrap the loader in PrefetchLoader.
        img_norm_cfg (dict, optional): `mean`, `std` and perhaps `max_value` for PrefetchLoader.
        collate (dict | Callable, optional): A collator, such as dict(type='MixupCrops'); see build_collator.
        read_ahead (int, optional): For files on a slow disk: ask the system for those of so many samples to come.
        device_steps (bool): Leave colour steps to the device: a PrefetchLoader does them on the batch.
        kwargs: Further arguments of torch.utils.data.DataLoader.

    Returns:
        EpochLoader | PrefetchLoader: The loader.
    """
    if samples_per_gpu is None:
        samples_per_gpu = imgs_per_gpu
    if not isinstance(samples_per_gpu, int) or samples_per_gpu < 1:
        raise ConfigError(f'samples_per_gpu must be a positive integer, got {samples_per_gpu!r}')
    if not isinstance(workers_per_gpu, int) or workers_per_gpu < 0:
        raise ConfigError(f'workers_per_gpu must be 0 or more, got {workers_per_gpu!r}')
    rank, world_size = get_dist_info()
    if dist:
        seed = sync_random_seed(seed)
    elif seed is None:
        seed = int.from_bytes(os.urandom(4), 'little')
    if not dist:
        rank, world_size = 0, 1
        samples_per_gpu *= num_gpus
        workers_per_gpu *= num_gpus
    if sampler is None:
        sampler = DistributedSampler(dataset, world_size, rank, shuffle, replace, seed, samples_per_gpu, drop_last)
    elif not shuffle or replace:
        raise ConfigError('a sampler takes the place of shuffle and replace: leave them out (DistributedSampler takes '
                          'them as arguments)')
    sampler = build_sampler(
        sampler,
        dataset=dataset,
        num_replicas=world_size,
        rank=rank,
        seed=seed,
        batch_size=samples_per_gpu,
        samples_per_gpu=samples_per_gpu,
        drop_last=drop_last)
    loader = EpochLoader(
        dataset,
        sampler,
        samples_per_gpu,
        drop_last,
        seed,
        broken_images,
        collate,
        device_steps,
        read_ahead,
        num_workers=workers_per_gpu,
        pin_memory=pin_memory and torch.cuda.is_available(),
        persistent_workers=persistent_workers and workers_per_gpu > 0,
        worker_init_fn=partial(worker_init_fn, num_workers=workers_per_gpu, rank=rank, seed=seed),
        **kwargs)
    return PrefetchLoader(loader, **(img_norm_cfg or {})) if prefetch else loader


def worker_init_fn(worker_id, num_workers, rank, seed):
    """Prepare a worker process: one thread, an end with its parent, and a seed for code that is not seeded per sample.

    Args:
        worker_id (int): Number of the worker in its process.
        num_workers (int): Workers of each process.
        rank (int): Number of the process.
        seed (int): The seed of the run.
    """
    die_with_parent()
    gc.freeze()  # a collection looks at the objects from before the fork, and so copies the pages that they lie on
    let_parent_stop()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    worker_seed = (num_workers * rank + worker_id + seed) % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)
    torch.manual_seed(worker_seed)

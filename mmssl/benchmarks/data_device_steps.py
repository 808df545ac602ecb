# Copyright (c) mmssl contributors. All rights reserved.
"""Batches of one worker, with all steps done there and with the colour steps left to the device."""
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mmssl.datasets import build_dataset
from mmssl.datasets.builder import DATASOURCES
from mmssl.datasets.collators import collate
from mmssl.datasets.data_sources import ArraySource
from mmssl.datasets.device_steps import leave_to_device
from mmssl.datasets.loader import KeyedDataset, map_tensors
from mmssl.datasets.pipelines.deferred import DeferredImages
from mmssl.utils.dist import default_device
from .data import innermost, one_thread, photographs
from .data_cases import compare

BATCH = 32
REPETITIONS = 12


def run(cfg, data_prefix=None, num=100):
    """See data_cases: reading, decoding, all views, and putting batches of 32 images together."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_dataset(_on_folder(cfg, data_prefix, Path(folder)))
        datasets = [KeyedDataset(one, 0) for one in (dataset, leave_to_device(dataset))]

        def batch_of(dataset, number):
            keys = [(0, i % len(dataset.dataset)) for i in range(BATCH * number, BATCH * (number + 1))]
            return collate(dataset.__getitems__(keys)[0])

        rows = compare(
            {
                'worker, all steps': lambda i: batch_of(datasets[0], i),
                'worker, colour steps left to the device': lambda i: batch_of(datasets[1], i),
            }, max(1, num // BATCH), REPETITIONS)
        done, left = (batch_of(dataset, 0)['img'] for dataset in datasets)
    for row in rows:
        row['images_per_second'] *= BATCH
    with one_thread():
        result = dict(rows=rows, difference_in_grey_levels=_difference(done, left))
        for device in dict.fromkeys(['cpu', default_device().type]):
            result[f'microseconds_an_image_on_{device}'] = 1e6 * _seconds(left, device) / BATCH
    return result


def _on_folder(cfg, data_prefix, folder):
    """The data set on the images of a folder, on photographs that are written to one, or on its own small images."""
    cfg = copy.deepcopy(cfg)
    inner = innermost(cfg)
    kind = DATASOURCES.get(inner['data_source'].get('type', ''))
    if data_prefix is None:
        if isinstance(kind, type) and issubclass(kind, ArraySource):
            return cfg
        for number, file in enumerate(photographs()):
            (folder / f'{number}.jpg').write_bytes(file)
    inner['data_source'] = dict(type='Folder', data_prefix=str(data_prefix or folder))
    return cfg


def _images(batch):
    """Tensors and DeferredImages of a batch."""
    found = []
    map_tensors(batch, found.append)
    return found


def _difference(done, left):
    """Between the grey levels of images whose steps are done here or there."""
    pairs = [(a, b.done()) for a, b in zip(_images(done), _images(left)) if isinstance(b, DeferredImages)]
    found = np.concatenate([(a.float() - b.float()).abs().flatten(1).mean(1).numpy() for a, b in pairs])
    return dict(mean=float(found.mean()), largest_of_an_image=float(found.max()))


def _seconds(left, device):
    """The fastest time of all steps that are left of a batch."""
    images = [one.to(device) for one in _images(left) if isinstance(one, DeferredImages)]
    works = list({id(one.work): one.work for one in images}.values())
    clock = time.thread_time if device == 'cpu' else _clock_of_gpu
    times = []
    for _ in range(REPETITIONS):
        start = clock()
        for work in works:
            work.do()
        times.append(clock() - start)
    return min(times)


def _clock_of_gpu():
    torch.cuda.synchronize()
    return time.perf_counter()

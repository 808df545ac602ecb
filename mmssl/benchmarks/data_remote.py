# Copyright (c) mmssl contributors. All rights reserved.
"""Shards on a server that answers after 50 ms, against the same shards on disk."""
import io
import math
import os
import os.path as osp
import tarfile
import tempfile
import time
from itertools import count
from multiprocessing import get_context

from torch.utils.data import Dataset, Sampler

from mmssl.datasets import build_dataloader, build_datasource
from mmssl.datasets.samplers import BlockShuffleSampler
from mmssl.datasets.shard_scan import index_shards
from .data import folder_images, photographs
from .range_server import serve

LATENCY = 0.05  # seconds
_SHARD = 1000  # images
_BATCH = 32


class _Unforeseen(Sampler):
    """The order of a sampler that nobody can look at before."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __iter__(self):
        return iter(self.sampler)

    def __len__(self):
        return len(self.sampler)


class _Lengths(Dataset):
    """Reads the files of images and decodes nothing."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __len__(self):
        return len(self.data_source)

    def __getitem__(self, idx):
        return dict(length=len(self.data_source.get_bytes(idx)))


def run(cfg, data_prefix=None, num=2000, latency=LATENCY, chunk_size=4., repetitions=3):
    """See data_cases. Nothing of the config is used: one worker reads files and decodes nothing; time by the clock.

    The order is that of BlockShuffleSampler.

    Args:
        cfg (dict): Config of the training data set.
        data_prefix (str, optional): Folder of images, instead of those that scikit-learn carries.
        num (int): Number of images.
        latency (float): Seconds before each answer of the server.
        chunk_size (float): In MB.
        repetitions (int): The fastest of so many counts.
    """
    files = photographs() if data_prefix is None else folder_images(data_prefix, num)
    taken, requests, caches = {}, {}, count()
    with tempfile.TemporaryDirectory() as folder:
        shards = osp.join(folder, 'set')
        stored = _write_shards(shards, files, num)
        # the threads of the server shall not take turns with ours
        here, there = get_context('spawn').Pipe()
        server = get_context('spawn').Process(target=serve, args=(shards, latency, there), daemon=True)
        server.start()
        address = here.recv()

        def asked():
            here.send('')
            return here.recv()

        def measure(what, source, ahead=True):
            loader = _loader(_Lengths(build_datasource(dict(type='Shards', **source))), ahead)
            before, start = asked(), time.perf_counter()
            for _ in loader:
                pass
            taken[what] = min(taken.get(what, math.inf), time.perf_counter() - start)
            requests[what] = asked() - before

        def empty_cache(**options):
            return dict(
                data_prefix=address,
                chunk_size=chunk_size,
                cache_dir=osp.join(folder, f'cache{next(caches)}'),
                **options)

        try:
            for _ in range(repetitions):
                source = empty_cache()
                measure('shards on disk', dict(data_prefix=shards))
                measure('server, read ahead', source)
                measure('server, what it left in the cache', source)
                measure('server, no more than a batch ahead', empty_cache(), False)
                measure('server, one request after another', empty_cache(parallel=1), False)
                measure('server, no cache, each image by itself', empty_cache(cache_size=0.), False)
        finally:
            here.send(None)
            server.join()
    rows = [
        dict(what=what, images_per_second=num / own, ratio=taken['shards on disk'] / own)
        for what, own in taken.items()
    ]
    return dict(rows=rows, requests=requests, megabytes=stored / 1e6, seconds_of_latency=latency)


def _write_shards(folder, files, num):
    os.makedirs(folder)
    for begin in range(0, num, _SHARD):
        with tarfile.open(osp.join(folder, f's-{begin // _SHARD:06d}.tar'), 'w') as tar:
            for i in range(begin, min(begin + _SHARD, num)):
                member = tarfile.TarInfo(f'{i:08d}.jpg')
                member.size = len(files[i % len(files)])
                tar.addfile(member, io.BytesIO(files[i % len(files)]))
    index_shards(folder)
    return sum(osp.getsize(osp.join(folder, name)) for name in os.listdir(folder) if name.endswith('.tar'))


def _loader(dataset, ahead):
    sampler = BlockShuffleSampler(dataset, 1, 0, window=2, batch_size=_BATCH)
    return build_dataloader(
        dataset,
        samples_per_gpu=_BATCH,
        workers_per_gpu=1,
        dist=False,
        seed=0,
        sampler=sampler if ahead else _Unforeseen(sampler))

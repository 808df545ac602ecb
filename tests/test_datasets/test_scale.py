"""A hundred million samples: the arrays of the index are files with nothing in them, which take no disk."""
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from mmssl.datasets import build_dataloader, build_dataset
from mmssl.utils.shard_index import ARRAYS

SAMPLES, SHARDS = 10**8, 1000


@pytest.fixture(scope='module')
def hundred_million(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shards')
    (folder / 'index').mkdir()
    (folder / 'one.tar').write_bytes(bytes(1024))
    lengths = dict(names=1, name_ends=SAMPLES + 1, shard_ends=SHARDS)
    for name, dtype in ARRAYS.items():
        array = np.lib.format.open_memmap(
            folder / f'index/{name}.npy', 'w+', dtype, shape=(lengths.get(name, SAMPLES), ))
        if name == 'shard_ends':
            array[:] = np.arange(1, SHARDS + 1) * (SAMPLES // SHARDS)
        elif name == 'name_ends':
            array[-1] = 1
    shard = dict(name='one.tar', bytes=1024, samples=SAMPLES // SHARDS, digest='')
    facts = dict(version=1, shards=[shard] * SHARDS, classes=None, num_classes=1, digest='', samples=SAMPLES)
    (folder / 'index/index.json').write_text(json.dumps(dict(facts, labelled=True)))
    return folder


@pytest.mark.parametrize('sampler, limit', [(None, 8), (dict(type='DistributedSampler', shuffle=False), 8),
                                            (dict(type='DistributedSampler', replace=True), 8),
                                            (dict(type='BlockShuffleSampler', window=4), 24)])
def test_nothing_grows_with_the_samples(hundred_million, sampler, limit):
    """From the config to the first keys, at the start and in the middle of an epoch: megabytes, where one number a
    sample would be 400 or more, and kilobytes for a worker that is spawned."""
    tracemalloc.start()
    try:
        dataset = build_dataset(
            dict(
                type='SingleViewDataset',
                data_source=dict(type='Shards', data_prefix=str(hundred_million)),
                pipeline=[],
                prefetch=True))
        loader = build_dataloader(
            dataset, samples_per_gpu=64, workers_per_gpu=0, dist=False, seed=0, sampler=sampler, drop_last=True)
        seen = []
        for start in (0, len(loader) // 2, len(loader) - 1):
            loader.set_epoch(1, start)
            seen += next(iter(loader.batch_sampler))
        spawned = pickle.dumps(loader.loader.dataset)
        assert tracemalloc.get_traced_memory()[1] < limit * 2**20
    finally:
        tracemalloc.stop()
    assert len(spawned) < 200 * SHARDS and len(pickle.loads(spawned).dataset) == SAMPLES == len(dataset)
    drawn = {idx for _, idx in seen}
    assert len(drawn) == 3 * 64 and (sampler is None or 'shuffle' in sampler or max(drawn) > SAMPLES // 10)

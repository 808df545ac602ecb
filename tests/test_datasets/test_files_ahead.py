import threading
import time

import numpy as np
import pytest

from mmssl.datasets import ConcatDataset, SingleViewDataset, build_dataloader
from mmssl.utils.errors import ConfigError


def photos(folder, **source):
    return SingleViewDataset(
        dict(type='Folder', data_prefix=str(folder), **source), [dict(type='CenterCrop', size=8)], prefetch=True)


def loader(data, workers=0, **options):
    return build_dataloader(data, samples_per_gpu=4, workers_per_gpu=workers, dist=False, seed=3, **options)


def readers():
    return [thread for thread in threading.enumerate() if thread.name == 'read ahead']


@pytest.mark.parametrize('workers', [0, 2])
def test_the_batches_are_the_same(photo_folder, workers):
    for start in (0, 2):
        plain, ahead = loader(photos(photo_folder)), loader(photos(photo_folder), workers, read_ahead=6)
        for each in (plain, ahead):
            each.set_epoch(1, start)
        for one, two in zip(plain, ahead, strict=True):
            assert one['idx'].tolist() == two['idx'].tolist() and np.array_equal(one['img'], two['img'])
    assert not readers()


def test_each_file_is_asked_for_once_and_not_too_soon(photo_folder):
    data = photos(photo_folder)
    asked, source = [], data.data_source
    source.will_read = asked.append
    batches = loader(data, read_ahead=8)
    asked.clear()
    order = list(batches.sampler)
    found = iter(batches)
    for done in range(0, 24, 4):
        assert len(next(found)['idx']) == 4
        most, end = min(24, done + 4 + 8), time.monotonic() + 10
        while len(asked) < most and time.monotonic() < end:
            time.sleep(0.001)
        # each thread may hold one that it has not yet asked for, so the order is that of the sampler but for these
        assert sorted(asked) == sorted(order[:len(asked)]) and len(asked) == most
    found.close()
    assert not readers()


def test_threads_end_with_the_loop(photo_folder):
    data = photos(photo_folder)
    for batch in loader(data, read_ahead=4):
        assert readers()
        break
    del batch
    found = iter(loader(data, read_ahead=4))
    next(found)
    found.close()
    assert not readers()


def test_what_cannot_be_read_ahead(photo_folder):
    digits = SingleViewDataset(dict(type='Digits'), [], prefetch=True)
    files = photos(photo_folder)
    for data, options, words in [(digits, {}, 'the images of Digits are none'),
                                 (ConcatDataset([files, digits]), {}, 'the images of Digits are none'),
                                 (SingleViewDataset(dict(type='Digits', subset=dict(num=9)), [],
                                                    prefetch=True), {}, 'the images of Digits are none'),
                                 (list(range(9)), {}, 'the images of list are none'),
                                 (photos(photo_folder, file_client_args=dict(backend='http')), {}, 'Folder are none'),
                                 (files, dict(read_ahead=0), 'an integer of at least 1, got 0'),
                                 (files, dict(sampler=range(24)), r'range has no iterate\(start\)')]:
        with pytest.raises(ConfigError, match=words):
            loader(data, **dict(dict(read_ahead=4), **options))
    part = photos(photo_folder, subset=dict(num=5))  # by the numbers of the whole
    asked = []
    part.data_source.source.will_read = asked.append
    batches = loader(part, read_ahead=9, shuffle=False)
    asked.clear()
    assert sum(len(batch['idx']) for batch in batches) == 5
    assert set(asked) <= set(part.data_source.indices.tolist())

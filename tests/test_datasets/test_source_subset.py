# Copyright (c) mmssl contributors. All rights reserved.
import functools
import inspect
import pickle

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import (DATASOURCES, MultiViewDataset, SampleDataset, SingleViewDataset, build_dataloader,
                            build_dataset, build_datasource)
from mmssl.datasets.pack import pack_images
from mmssl.datasets.source_subset import _BY_NUMBER, SourceSubset
from mmssl.utils.errors import BrokenImageError, ConfigError

DIGITS = dict(type='Digits')  # 1437 images, 10 classes of 143 to 146


@functools.lru_cache
def whole_digits():
    return build_datasource(DIGITS)


def digits(**subset):
    return SourceSubset(whole_digits(), **subset)


def test_a_seeded_number_or_share():
    whole = whole_digits()
    for subset, size in ((dict(num=100), 100), (dict(share=0.1), 144), (dict(share=1.), 1437), (dict(num=1), 1)):
        part = digits(**subset)
        assert len(part) == size == len(part.labels) == len(part.samples) == len(part.data_infos)
        assert (np.diff(part.indices) > 0).all()
        np.testing.assert_array_equal(part.indices, digits(**subset).indices)
        for i in {0, size - 1, size // 2}:
            n = int(part.indices[i])
            np.testing.assert_array_equal(part.get_array(i), whole.get_array(n))
            assert part.get_cat_ids(i) == whole.get_cat_ids(n) == part.labels[i] == part.get_gt_labels()[i]
            assert part.get_filename(i) == whole.get_filename(n) and part.data_infos[i]['gt_label'] == part.labels[i]
    assert (digits(num=100, seed=1).indices != digits(num=100).indices).any()
    # evenly drawn: each place of the set is met about as often
    counts = np.bincount(np.concatenate([digits(num=143, seed=s).indices for s in range(60)]) // 144, minlength=10)
    assert np.abs(counts[:9] - 143 * 60 * 144 / 1437).max() < 5 * 30


def test_one_seed_and_another_skip_share_no_sample():
    parts = [digits(num=900), digits(num=437, skip=900), digits(num=100, skip=1337)]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.indices for part in parts])), np.arange(1437))
    parts = [digits(share=0.7), digits(share=0.3, skip=0.7)]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.indices for part in parts])), np.arange(1437))


def test_as_many_of_each_class():
    for num in (10, 14, 1000):
        counts = np.bincount(digits(num=num, balanced=True).labels).tolist()
        assert counts == [num // 10 + (c < num % 10) for c in range(10)]
    with pytest.raises(ConfigError, match='class 0 has 136 samples, and 144 of it are asked for: take fewer'):
        digits(num=1433, balanced=True)
    with pytest.raises(ConfigError, match=r'class 0 has 136 samples, and 140 of it .* \(135 of them come before'):
        digits(num=50, balanced=True, skip=1350)
    # train and val of odd sizes, of one seed
    parts = [digits(num=333, balanced=True), digits(num=447, balanced=True, skip=333)]
    assert len(np.unique(np.concatenate([part.indices for part in parts]))) == 780
    labels = np.concatenate([part.labels for part in parts])
    assert np.bincount(labels).tolist() == [78] * 10
    # samples without a label are no part
    source = build_datasource(
        dict(DIGITS, labels=[-1] * 700 + [3] * 37 + [5] * 700, subset=dict(num=60, balanced=True)))
    assert np.bincount(source.labels).tolist() == [0, 0, 0, 30, 0, 30]
    share = build_datasource(
        dict(DIGITS, labels=[-1] * 1400 + [3] * 17 + [5] * 20, subset=dict(share=0.5, balanced=True)))
    assert len(share) == 18


def test_classes_of_one_choice_have_choices_of_their_own():
    """The rank in class 3 says nothing about that in class 4."""
    source = build_datasource(dict(DIGITS, labels=[0, 1] * 718 + [0], subset=dict(num=700, balanced=True)))
    first, second = (set((source.indices[source.labels == c] // 2).tolist()) for c in (0, 1))
    assert 120 < len(first & second) < 220  # a chance of a half for each: 170


def test_labels_of_several_kinds():
    targets = np.random.default_rng(0).integers(-1, 2, (1437, 4))
    source = build_datasource(dict(DIGITS, labels=targets.tolist(), subset=dict(num=50)))
    np.testing.assert_array_equal(source.targets, targets[source.indices])
    data = SingleViewDataset(source, [], prefetch=True)
    np.testing.assert_array_equal(data[7]['label'], targets[source.indices[7]])
    assert source.get_cat_ids(7) == np.flatnonzero(targets[source.indices[7]] == 1).tolist()
    with pytest.raises(ConfigError, match='several labels an image, and one is needed here'):
        SourceSubset(source, num=10, balanced=True)


def test_every_data_set_takes_it():
    data = build_dataset(
        dict(type='SampleDataset', data_source=dict(DIGITS, subset=dict(num=30)), pipeline=[], prefetch=True))
    assert isinstance(data, SampleDataset) and len(data) == 30 and data.CLASSES == tuple('0123456789')
    views = [MultiViewDataset(dict(DIGITS, subset=dict(num=40)), [2], [[dict(type='RandomResizedCrop', size=8)]], True)]
    views.append(pickle.loads(pickle.dumps(views[0])))
    seen = []
    for workers, data in ((0, views[0]), (2, views[0]), (0, views[1])):
        loader = build_dataloader(data, samples_per_gpu=8, workers_per_gpu=workers, dist=False, seed=3)
        seen.append([[batch['idx'].tolist(), batch['img'][1].sum().item()] for batch in loader])
    assert seen[0] == seen[1] == seen[2] and sum((idx for idx, _ in seen[0]), []) != list(range(40))


def test_sources_side_by_side():
    """Image i of one is image i of the other, and labels are of the whole."""
    sources = {name: dict(DIGITS, subset=dict(num=20)) for name in 'ab'}
    data = SampleDataset(sources, [], prefetch=True, labels=dict(number=np.arange(1437)))
    indices = data.data_sources[1].indices
    for i in (0, 19):
        sample = data[i]
        np.testing.assert_array_equal(sample['img']['a'], sample['img']['b'])
        assert sample['label'] == dict(number=indices[i])
    for other in (dict(num=20, seed=1), dict(num=20, balanced=True)):
        with pytest.raises(ConfigError, match='the subsets of the data sources a and b take different images'):
            SampleDataset(dict(sources, b=dict(DIGITS, subset=other)), [])


def test_files_in_a_subset(photo_folder, tmp_path):
    source = dict(type='ImageNet', data_prefix=str(photo_folder))
    part, whole = build_datasource(dict(source, subset=dict(num=6, balanced=True))), build_datasource(source)
    assert part.CLASSES == whole.CLASSES and part.folder_to_idx == whole.folder_to_idx
    for i, n in enumerate(part.indices):
        assert part.get_bytes(i) == whole.get_bytes(n) and part.samples[i] == whole.samples[n]
        assert isinstance(part.get_img(i), Image.Image)
    list(part.samples)
    (tmp_path / 'a').mkdir()
    for i in range(3):
        (tmp_path / 'a' / f'{i}.jpg').write_text('no')
    broken = build_datasource(dict(type='Folder', data_prefix=str(tmp_path), subset=dict(num=2)))
    with pytest.raises(BrokenImageError, match=rf'{broken.get_filename(1)}'):
        broken.get_array(1)


def test_each_method_that_takes_a_number_takes_that_of_the_subset():
    """A method that is missing in the list would be asked for another image."""
    for name in DATASOURCES.names():
        for method, function in inspect.getmembers(DATASOURCES.get(name), inspect.isfunction):
            numbered = list(inspect.signature(function).parameters)[1:2] == ['idx']
            assert not numbered or method.startswith('_') or method in _BY_NUMBER, (name, method)


def test_a_subset_is_packed(photo_folder, tmp_path):
    part = build_datasource(dict(type='ImageNet', data_prefix=str(photo_folder), subset=dict(num=4, balanced=True)))
    pack_images(part, str(tmp_path / 'shards'), workers=0)
    packed = build_datasource(dict(type='Shards', data_prefix=str(tmp_path / 'shards')))
    assert [packed.get_bytes(i) for i in range(4)] == [part.get_bytes(i) for i in range(4)]
    assert packed.labels.tolist() == part.labels.tolist() and packed.CLASSES == part.CLASSES
    some = build_datasource(dict(type='Shards', data_prefix=str(tmp_path / 'shards'), subset=dict(num=2)))
    assert some.get_bytes(1) == packed.get_bytes(some.indices[1]) and some.blocks.tolist() == [2]


class Others:
    """A source of other origin, with a `subset` of its own."""
    CLASSES = None

    def __init__(self, subset=0):
        self.subset = subset

    def __len__(self):
        return 9

    def get_img(self, idx):
        return Image.new('L', (4, 4), idx)


class Own(Others):
    """One with blocks, and no argument of that name."""
    blocks = np.array([4, 5, 9])

    def __init__(self):
        pass


def test_sources_of_other_origin():
    assert build_datasource(dict(type=Others, subset=dict(num=3))).subset == dict(num=3)
    part = build_datasource(dict(type=Own, subset=dict(num=4)))
    assert [np.asarray(part.get_img(i))[0, 0] for i in range(4)] == part.indices.tolist()
    assert part.blocks.tolist() == [(part.indices < end).sum() for end in (4, 5, 9)] and not hasattr(part, 'get_array')
    with pytest.raises(ConfigError, match='balanced=True needs labels, and Own has none'):
        build_datasource(dict(type=Own, subset=dict(num=4, balanced=True)))
    assert len(build_datasource(dict(type=Own, subset=None))) == 9


@pytest.mark.parametrize('subset, message', [
    (dict(), 'either num or share, got num=None and share=None'),
    (dict(num=5, share=0.5), 'either num or share'),
    (dict(num=1438), '1438 samples are asked for, there are 1437'),
    (dict(num=1000, skip=500), '1000 samples are asked for behind 500 others, there are 1437'),
    (dict(num=0), 'num of a subset is an integer of at least 1, got 0'),
    (dict(num=1, skip=-1), 'skip of a subset is a number of samples'),
    (dict(num=1, skip=1.), 'or a share below 1, got 1.0'),
    (dict(share=0.0001), 'share=0.0001 of 1437 samples is none'),
    (dict(share=1.5), 'above 0 and at most 1, got 1.5'),
    (dict(num=9, balanced=True), 'one of each class at least: 9 samples are asked for, there are 10 classes'),
    (dict(numb=9), "takes no argument 'numb' .*did you mean 'num'"),
    (dict(num='9'), 'num must be int'),
    (7, 'subset of a data source is a dict, such as .*got 7'),
])
def test_what_no_subset_has(subset, message):
    with pytest.raises(ConfigError, match=message) as found:
        build_dataset(dict(type='SingleViewDataset', data_source=dict(DIGITS, subset=subset), pipeline=[]))
    assert 'data_source' in str(found.value)


def test_a_long_order_is_computed_where_it_is_looked_at():
    source = build_datasource(dict(type='Synthetic', num_images=300_000, num_classes=2))
    parts = [SourceSubset(source, num=20_000), SourceSubset(source, share=0.1, skip=20_000)]
    assert len(np.unique(np.concatenate([part.indices for part in parts]))) == 50_000
    assert abs(parts[1].indices.mean() / 150_000 - 1) < 0.02
    assert 'Synthetic' in DATASOURCES.names()

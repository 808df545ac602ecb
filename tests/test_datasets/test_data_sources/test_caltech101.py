"""Caltech-101's layout and its split."""
import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import build_datasource
from mmssl.utils.errors import ConfigError


@pytest.fixture(scope='module')
def root(photographs, tmp_path_factory):
    root = tmp_path_factory.mktemp('caltech')
    for i, (name, count) in enumerate([('BACKGROUND_Google', 3), ('Faces', 9), ('accordion', 7), ('zebra', 8)]):
        (root / '101_ObjectCategories' / name).mkdir(parents=True)
        for j in range(count):
            Image.fromarray(photographs[j % 2][10 * i:][:20, j:j + 30]).save(
                root / f'101_ObjectCategories/{name}/image_{j + 1:04d}.jpg')
    return root


def source(root, **options):
    return build_datasource(dict(type='Caltech101', data_prefix=str(root), **options))


def test_splits(root):
    train, test = (source(root, train_per_class=5, test_mode=mode) for mode in (False, True))
    assert train.CLASSES == ('Faces', 'accordion', 'zebra') == test.CLASSES
    assert np.bincount(train.labels).tolist() == [5, 5, 5] and np.bincount(test.labels).tolist() == [4, 2, 3]
    assert len({*train.samples} | {*test.samples}) == 24
    for part in (train, test):
        assert [part.CLASSES[label] for label in part.labels] == [name.split('/')[-2] for name in part.samples]
        assert part.get_array(len(part) - 1).shape == (20, 30, 3)
    again, other = (source(root, train_per_class=5, seed=seed) for seed in (0, 1))
    assert list(again.samples) == list(train.samples) != list(other.samples)
    inside = source(root / '101_ObjectCategories', train_per_class=5)
    assert [name.split('/')[-1] for name in inside.samples] == [name.split('/')[-1] for name in train.samples]


def test_errors(root, tmp_path):
    with pytest.raises(ConfigError, match='the class accordion has 7 images; with train_per_class=7 none is left'):
        source(root, train_per_class=7)
    with pytest.raises(ConfigError, match='got 0'):
        source(root, train_per_class=0)
    with pytest.raises(FileNotFoundError, match='data.caltech.edu'):
        source(tmp_path)

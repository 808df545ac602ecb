# Copyright (c) mmssl contributors. All rights reserved.
import os
import pickle
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from mmssl.utils import data_files, load_file, save_file
from mmssl.utils.errors import ConfigError
from mmssl.utils.mapped import MappedArray

TABLE = dict(names=['a b', "l'été.jpg"], labels=[3, -1], share=0.1, nothing=None)


@pytest.mark.parametrize('name, data', [
    ('x.npy', np.arange(6, dtype=np.uint16).reshape(2, 3)),
    ('x.npy', np.array(['é.jpg', 'b'])),
    ('x.npz', dict(images=np.array(['a', 'b']), labels=np.arange(2))),
    ('x.pkl', dict(TABLE, array=np.eye(2), number=np.float32(2), pair=(1, 'a'))),
    ('X.PICKLE', [b'bytes']),
    ('x.json', TABLE),
    ('x.json', [1, 2]),
    ('x.yaml', TABLE),
    ('x.txt', ['one', 'two words', os.fsdecode(b'\xff.jpg')]),
])
def test_what_is_saved_is_loaded(tmp_path, name, data):
    path = tmp_path / "a folder's" / name
    save_file(data, path)
    np.testing.assert_equal(load_file(path), data)
    assert os.listdir(path.parent) == [name]  # no temporary file


def test_an_array_stays_in_its_file(tmp_path, caplog, monkeypatch):
    save_file(range(1000), tmp_path / 'x.npy')
    mapped = load_file(tmp_path / 'x.npy', mmap_mode='r')
    assert isinstance(mapped, MappedArray) and mapped.sum() == 499_500 and not caplog.records

    def refuse(path):
        raise OSError('no such device')

    monkeypatch.setattr(data_files, 'map_array', refuse)
    monkeypatch.setattr(data_files.logging.getLogger('mmssl'), 'propagate', True)
    plain = load_file(tmp_path / 'x.npy', mmap_mode='r')
    assert type(plain) is np.ndarray and plain.sum() == 499_500
    assert 'x.npy cannot be mapped (no such device): it is read as a whole, 0 MB' in caplog.text


def test_paths_come_back_as_texts(tmp_path):
    save_file([Path('/a b/c.jpg'), Path('d.jpg'), PurePosixPath('e/f')], tmp_path / 'x.pkl')
    assert load_file(tmp_path / 'x.pkl') == ['/a b/c.jpg', 'd.jpg', 'e/f']


class Evil:

    def __reduce__(self):
        return os.system, ('false', )


def test_no_file_runs_code(tmp_path):
    for name, values in (('x.pkl', [Evil()]), ('y.npy', np.array([Evil(), 1], object))):
        if name == 'x.pkl':
            (tmp_path / name).write_bytes(pickle.dumps(values))
        else:
            np.save(tmp_path / name, values, allow_pickle=True)
        for mode in (None, 'r')[:1 + (name == 'y.npy')]:
            with pytest.raises(ConfigError, match=rf'{name} cannot be read as .*system, and loading it could run'):
                load_file(tmp_path / name, mmap_mode=mode)
    np.save(tmp_path / 'z.npy', np.array([['a', 3], ['bcd', 4]], object), allow_pickle=True)
    np.testing.assert_array_equal(load_file(tmp_path / 'z.npy', 'r'), np.array([['a', 3], ['bcd', 4]], object))


@pytest.mark.parametrize('name, content, message', [
    ('a.npy', b'\x93NUMPY\x01\0', 'a.npy cannot be read as .npy: '),
    ('a.pkl', b'', 'a.pkl cannot be read as .pkl: EOFError'),
    ('a.json', b'{', 'a.json cannot be read as .json: '),
    ('a.npz', b'PK', 'a.npz cannot be read as .npz: '),
    ('a.csv', b'', 'a.csv: no kind of file that is known here; there are: .json, .npy'),
])
def test_damaged_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_file(tmp_path / name)


@pytest.mark.parametrize('name, data, message', [
    ('a.npy', ['a', None], 'array of Python objects'),
    ('a.npy', [[1], [1, 2]], 'makes no array'),
    ('a.npz', [1], 'a dict of arrays by name, got list'),
    ('a.pkl', [Path], 'load_file takes them back: it holds an object of type pathlib.Path'),
    ('a.txt', ['a', 'b\nc'], r"each one line .* got 'b\\nc'"),
    ('a.txt', 'abc', 'a list of texts'),
])
def test_data_that_do_not_fit(tmp_path, name, data, message):
    with pytest.raises(ConfigError, match=message):
        save_file(data, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_wrong_ways_of_loading(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file: .*absent.npy'):
        load_file(tmp_path / 'absent.npy')
    with pytest.raises(ConfigError, match="'r' .* or None, got 'w'"):
        load_file(tmp_path / 'absent.npy', 'w')
    with pytest.raises(ConfigError, match='only a .npy file can be mapped'):
        load_file(tmp_path / 'absent.pkl', 'r')

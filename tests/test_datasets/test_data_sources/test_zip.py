"""Zip archives and LMDB in the place of folders."""
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import Folder, ImageList, ImageNet, build_dataloader, build_dataset, build_datasource
from mmssl.datasets.data_sources.zip_folder import ZipFolder, find_archive
from mmssl.utils.errors import BrokenImageError, ConfigError


def write_zip(path, root, method=zipfile.ZIP_STORED, below=''):
    with zipfile.ZipFile(path, 'w') as file:
        for here, _, names in os.walk(root):
            for number, name in enumerate(sorted(names)):
                source = Path(here, name)
                file.write(source, below + str(source.relative_to(root)), zipfile.ZIP_STORED if number % 3 else method)
        file.writestr('__MACOSX/china/._00.jpg', b'no image')
    return str(path)


@pytest.fixture(scope='module')
def archive(photo_folder, tmp_path_factory):
    """The folder of photographs as an archive, in which every third member is deflated."""
    return write_zip(tmp_path_factory.mktemp("O'Hara zip") / 'photos.zip', photo_folder, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize('kind', [Folder, ImageNet])
def test_an_archive_reads_as_the_folder(archive, photo_folder, kind):
    folder, source = kind(str(photo_folder)), kind(archive)
    assert list(source.samples) == list(folder.samples) and source.labels.tolist() == folder.labels.tolist()
    assert source.CLASSES == folder.CLASSES and len(source) == 24
    for i in range(24):
        assert source.get_bytes(i) == folder.get_bytes(i)
    assert (source.get_array(5) == folder.get_array(5)).all()
    assert source.get_filename(5) == f'{archive}/{folder.samples[5]}'
    assert source.zip_folder._tree is None
    again = pickle.loads(pickle.dumps(source))
    assert again.get_bytes(7) == folder.get_bytes(7)


def test_folders_in_an_archive_and_lists(archive, photo_folder, tmp_path, monkeypatch):
    inner = write_zip(tmp_path / 'inner.ZIP', photo_folder, below='photos/train/')
    assert list(ImageNet(f'{inner}/photos/train').samples) == list(ImageNet(str(photo_folder)).samples)
    assert ImageNet(archive, classes=['flower']).labels.tolist() == [0] * 12
    (tmp_path / 'list.txt').write_text('flower/03.jpg 4\nchina/00.jpg 1\ngone.jpg 2\n')
    source = ImageList(archive, ann_file=str(tmp_path / 'list.txt'))
    assert source.labels.tolist() == [4, 1, 2]
    assert source.get_bytes(0) == (photo_folder / 'flower/03.jpg').read_bytes()
    with pytest.raises(BrokenImageError, match='photos.zip/gone.jpg: there is no such member'):
        source.get_array(2)
    monkeypatch.chdir(Path(archive).parent)
    assert Folder('photos.zip/china').get_bytes(1) == (photo_folder / 'china/01.jpg').read_bytes()
    assert find_archive('photos.zip/china')[1] == 'china' and find_archive('elsewhere.zip/x') == (None, '')

    (tmp_path / 'list.txt').write_text('a.jpg 4\nb.jpg 1\n')
    with pytest.raises(FileNotFoundError, match='2 images are listed in .*neither the first nor the last is there'):
        ImageList(archive, ann_file=str(tmp_path / 'list.txt'))
    with pytest.raises(FileNotFoundError, match='no such folder: chna in the archive'):
        Folder(f'{archive}/chna')


def test_arrays_in_an_archive_keep_their_depth(tmp_path):
    tile = np.arange(13 * 30 * 40, dtype=np.uint16).reshape(30, 40, 13)
    np.save(tmp_path / 'tile.npy', tile)
    with zipfile.ZipFile(tmp_path / 'tiles.zip', 'w') as file:
        file.write(tmp_path / 'tile.npy', 'tile.npy')
    source = Folder(str(tmp_path / 'tiles.zip'), depth='stored', extensions=['.npy'])
    np.testing.assert_array_equal(source.get_array(0), tile, strict=True)
    with pytest.raises(AttributeError, match='Folder reads no files on disk'):  # to be asked for ahead
        source.will_read(0)


def test_names_that_lead_out_of_an_archive_or_nowhere(tmp_path):
    path = str(tmp_path / 'odd.zip')
    names = {'/etc/a.png': 'etc/a.png', '../b.png': 'b.png', './c//d.png': 'c/d.png', 'x/../e.png': 'x/e.png'}
    with zipfile.ZipFile(path, 'w') as file:
        for name in names:
            file.writestr(name, name.encode())
    source = Folder(path)
    assert sorted(source.samples) == sorted(names.values())
    found = {source.samples[i]: source.get_bytes(i).decode() for i in range(4)}
    assert {name: found[cleaned] for name, cleaned in names.items()} == {name: name for name in names}


def test_workers_read_the_same_from_an_archive(archive):
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='ImageNet', data_prefix=archive),
            pipeline=[dict(type='RandomResizedCrop', size=16)],
            prefetch=True))
    dataset[0]  # the map is open when the workers are forked
    epochs = []
    for workers in (0, 2):
        loader = build_dataloader(dataset, samples_per_gpu=5, workers_per_gpu=workers, dist=False, seed=3)
        epochs.append([(batch['idx'].tolist(), batch['img'].tolist()) for batch in loader])
    assert epochs[0] == epochs[1] and sorted(sum((e[0] for e in epochs[0]), [])) == list(range(24))


def test_damaged_members_are_broken_and_others_are_not(tmp_path):
    path, payload = tmp_path / 'damaged.zip', os.urandom(900) + bytes(90000)
    with zipfile.ZipFile(path, 'w') as file:
        for name, method in dict(stored=0, deflated=8, checked=0, bomb=8, bz=12, locked=0, whole=8, odd=0).items():
            file.writestr(name, payload, method)
        members = {m.filename: m for m in file.infolist()}
    content = bytearray(path.read_bytes())

    def table(name, field):
        """Place of a field of a member in the table of contents, which lies before the end of 22 bytes."""
        later = list(members)[list(members).index(name):]
        return len(content) - 22 - sum(46 + len(other) for other in later) + field

    content[members['stored'].header_offset + 30 + len('stored') + 7] ^= 1
    content[members['deflated'].header_offset + 30 + len('deflated') + 7] ^= 255
    content[table('bomb', 24):table('bomb', 28)] = (500).to_bytes(4, 'little')  # it says that it is small
    content[table('locked', 8)] |= 1
    content[members['odd'].header_offset] = 0
    path.write_bytes(content)
    archive = ZipFolder(str(path))
    for name, words in dict(
            stored='check sum',
            deflated='damaged',
            bomb='unpacks to more than 500 bytes',
            bz='method 12',
            locked='encrypted',
            odd='no header').items():
        with pytest.raises(BrokenImageError, match=f'damaged.zip/{name}: .*{words}'):
            archive.read(name)
    assert archive.read('whole') == archive.read('checked') == payload and zlib.crc32(payload) in archive._checks

    path.write_bytes(content[:-30])
    with pytest.raises(ConfigError, match='damaged.zip is no whole zip archive'):
        build_datasource(dict(type='Folder', data_prefix=str(path)))


def test_an_lmdb_in_the_place_of_a_folder(photo_folder, tmp_path):
    lmdb = pytest.importorskip('lmdb')
    keys = [f'{name}/{i:02d}.jpg' for name in ('flower', 'china') for i in range(3)]
    with lmdb.open(str(tmp_path / 'photos.lmdb'), map_size=2**30) as base, base.begin(write=True) as entries:
        for key in keys:
            entries.put(key.encode(), (photo_folder / key).read_bytes())
    (tmp_path / 'list.txt').write_text(''.join(f'{key} {i}\n' for i, key in enumerate(keys)) + 'gone.jpg 0\n')
    cfg = dict(
        type='ImageList',
        ann_file=str(tmp_path / 'list.txt'),
        file_client_args=dict(backend='lmdb', db_path=str(tmp_path / 'photos.lmdb')))
    source = build_datasource(cfg)
    assert [source.get_bytes(i) for i in range(6)] == [(photo_folder / key).read_bytes() for key in keys]
    assert np.array_equal(pickle.loads(pickle.dumps(source)).get_array(4), source.get_array(4))
    with pytest.raises(BrokenImageError, match='gone.jpg: there is no such key in .*photos.lmdb'):
        source.get_array(6)
    with pytest.raises(FileNotFoundError, match='neither the first nor the last is there'):
        build_datasource(dict(cfg, data_prefix='elsewhere'))
    cfg['file_client_args'] = dict(backend='lmbd')
    with pytest.raises(ConfigError, match="the backend 'lmbd', which mmcv does not know; did you mean 'lmdb'"):
        build_datasource(cfg)
    cfg['file_client_args'] = dict(backend='lmdb')
    with pytest.raises(ConfigError, match="{'backend': 'lmdb'} make no backend of mmcv: .*'db_path'"):
        build_datasource(cfg)
    cfg['file_client_args'] = dict(backend='lmdb', db_path=str(tmp_path / 'absent.lmdb'))
    with pytest.raises(ConfigError, match='the LMDB .*absent.lmdb cannot be read: .*No such file'):
        build_datasource(cfg)


def test_views_of_large_photographs_are_those_of_the_folder(photographs, tmp_path):
    """The same crops, drawn before the image is decoded, from a folder, an archive and a table."""
    pa = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    (tmp_path / 'folder').mkdir()
    for number, photo in enumerate(photographs):
        Image.fromarray(photo).resize((1600, 1200)).save(tmp_path / f'folder/{number}.jpg', quality=90)
    files = sorted((tmp_path / 'folder').iterdir())
    parquet.write_table(pa.table(dict(image=[file.read_bytes() for file in files])), tmp_path / 'photos.parquet')
    places = dict(
        Folder=(str(tmp_path / 'folder'), write_zip(tmp_path / 'photos.zip', tmp_path / 'folder')),
        Parquet=(str(tmp_path / 'photos.parquet'), ))
    views = []
    for kind, prefixes in places.items():
        for prefix in prefixes:
            dataset = build_dataset(
                dict(
                    type='SingleViewDataset',
                    data_source=dict(type=kind, data_prefix=prefix),
                    pipeline=[dict(type='RandomResizedCrop', size=96, scale=(0.5, 1.0))],
                    prefetch=True))
            loader = build_dataloader(dataset, samples_per_gpu=2, workers_per_gpu=0, dist=False, seed=1, shuffle=False)
            views.append(next(iter(loader))['img'])
    assert views[0].shape == (2, 3, 96, 96) and len(views) == 3
    assert (views[0] == views[1]).all() and (views[0] == views[2]).all()
    whole = Image.open(files[0])
    source = Folder(places['Folder'][1])
    assert np.abs(source.get_array(0).astype(int) - np.asarray(whole)).mean() < 2

"""Parquet files as data sets of Hugging Face lie on disk."""
import io
import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import DATASOURCES, build_dataloader, build_dataset, build_datasource
from mmssl.datasets.data_sources import Arrow, Parquet
from mmssl.datasets.data_sources.tables import split_of
from mmssl.utils.errors import BrokenImageError, ConfigError

pa = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')


def picture(number):
    """A grey PNG file, whose value is its number."""
    file = io.BytesIO()
    Image.new('RGB', (6, 5), (number % 256, ) * 3).save(file, 'PNG')
    return file.getvalue()


def write(path, numbers, labels=None, features=None, column='image', rows=3, **further):
    """A file as the library datasets writes it: struct<bytes, path>, with the features in the schema."""
    image = pa.array([dict(bytes=picture(n), path=f'{n}.png') for n in numbers],
                     pa.struct([('bytes', pa.binary()), ('path', pa.string())]))
    table = {column: image, 'caption': pa.array(['x' * 50] * len(image)), **further}
    if labels is not None:
        table['label'] = pa.array(labels, pa.int64())
    table = pa.table(table)
    if features is not None:
        table = table.replace_schema_metadata({'huggingface': json.dumps(dict(info=dict(features=features)))})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows)


FEATURES = dict(
    image=dict(_type='Image'),
    caption=dict(dtype='string', _type='Value'),
    label=dict(names=['cat', 'dog', 'owl'], _type='ClassLabel'))


@pytest.fixture
def animals(tmp_path):
    """23 images in 3 files of the split train, 5 in one of test."""
    root = tmp_path / "O'Hara data"
    for number, images in enumerate((range(0, 10), range(10, 17), range(17, 23))):
        write(root / 'data' / f'train-{number:05d}-of-00003.parquet', images, [n % 3 for n in images], FEATURES)
    write(root / 'data' / 'test-00000-of-00001.parquet', range(100, 105), [0] * 5, FEATURES)
    return root


def values(source):
    return [int(source.get_array(i)[0, 0, 0]) for i in range(len(source))]


def test_images_labels_and_classes_come_in_the_order_of_the_files(animals):
    source = Parquet(str(animals), split='train')
    assert values(source) == list(range(23))
    assert source.CLASSES == ('cat', 'dog', 'owl')
    np.testing.assert_array_equal(source.labels, np.arange(23) % 3)
    assert source.blocks.tolist() == [3, 6, 9, 10, 13, 16, 17, 20, 23] and source.blocks.dtype == np.int64
    assert source.get_filename(18).endswith('train-00002-of-00003.parquet, row 1')
    assert source.get_bytes(18) == picture(18)

    assert values(Parquet(str(animals / 'data' / 'train-00001-of-00003.parquet'))) == list(range(10, 17))
    assert values(Parquet(str(animals / 'data' / 'train-0000[01]*'))) == list(range(17))

    owls = Parquet(str(animals), split='train', classes=['owl', 'cat'])
    assert values(owls) == [n for n in range(23) if n % 3 != 1]
    assert owls.labels.tolist() == [0 if n % 3 == 2 else 1 for n in values(owls)]
    assert owls.blocks.tolist() == [2, 4, 6, 7, 9, 11, 13, 15]


def test_memory_and_open_files_are_bounded(animals, monkeypatch):
    source = Parquet(str(animals), split='train', cache_mb=0.0001)
    for idx in np.random.default_rng(0).permutation(23):
        assert source.get_array(int(idx))[0, 0, 0] == idx
        assert len(source._groups) == 1
    monkeypatch.setattr('mmssl.datasets.data_sources.tables._OPEN_FILES', 1)
    source = Parquet(str(animals), split='train')
    assert values(source) == list(range(23)) and len(source._files) == 1 and len(source._groups) == 9
    assert len(pickle.dumps(source)) < 3000 and values(pickle.loads(pickle.dumps(source))) == list(range(23))


@pytest.mark.long
def test_workers_forked_from_a_process_with_open_files_read_the_same(animals):
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Parquet', data_prefix=str(animals), split='train'),
            pipeline=[dict(type='RandomResizedCrop', size=4)],
            prefetch=True))
    values(dataset.data_source)
    epochs = []
    for workers in (0, 2):
        loader = build_dataloader(dataset, samples_per_gpu=4, workers_per_gpu=workers, dist=False, seed=3)
        epochs.append([(batch['idx'].tolist(), batch['label'].tolist(), batch['img'].tolist()) for batch in loader])
    assert epochs[0] == epochs[1] and sorted(sum((e[0] for e in epochs[0]), [])) == list(range(23))


def test_a_file_that_is_written_anew_under_way(animals):
    """Its images would come with the labels of those that were there."""
    source = Parquet(str(animals), split='train')
    assert values(source) == list(range(23))  # the files are open from here on
    path = animals / 'data' / 'train-00001-of-00003.parquet'
    write(path.with_name('new'), range(50, 52), [0, 1], FEATURES)
    os.replace(path.with_name('new'), path)
    assert source.get_array(12)[0, 0, 0] == 12
    worker = pickle.loads(pickle.dumps(source))
    assert worker.get_array(9)[0, 0, 0] == 9
    for idx in (10, 16):
        with pytest.raises(BrokenImageError, match='train-00001-of-00003.parquet has changed since the start'):
            worker.get_array(idx)
    write(path, range(2), None, label=pa.array([1, 2**63], pa.uint64()))
    with pytest.raises(ConfigError, match="00001-of-00003.parquet: a label in the column 'label' is too large"):
        Parquet(str(path))


def test_a_full_shuffle_is_told_and_blocks_are_read_once(animals, monkeypatch, warnings_of_data):
    monkeypatch.setattr('mmssl.datasets.data_sources.parquet._SEEN', 20)
    cfg = dict(
        type='SingleViewDataset',
        data_source=dict(type='Parquet', data_prefix=str(animals), split='train', cache_mb=0.0008),  # one group
        pipeline=[],
        prefetch=True)
    reads = {}
    for sampler in (None, dict(type='BlockShuffleSampler', window=1)):
        dataset = build_dataset(cfg)
        loader = build_dataloader(
            dataset, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=3, sampler=sampler, shuffle=True)
        assert sorted(sum((batch['idx'].tolist() for batch in loader), [])) == list(range(23))
        reads[sampler is None] = dataset.data_source._reads
        assert len(warnings_of_data) == 1
    assert reads[False] == 9 and reads[True] > 15
    assert 'of 20 images a whole row group of about' in warnings_of_data[0]


@pytest.mark.parametrize('path, split', [
    ('data/train-00000-of-00010.parquet', 'train'),
    ('data/train-00000-of-00010-0a1b2c3d.parquet', 'train'),
    ('valid-00000-of-00001.parquet', 'validation'),
    ('unsupervised-00000-of-00001.parquet', 'unsupervised'),
    ('validation_matched-00000-of-00001.parquet', 'validation_matched'),
    ('default/test/0000.parquet', 'test'),
    ('train.parquet', 'train'),
    ('trainer.parquet', ''),
    ('my set/train/data-00000-of-00002.arrow', 'train'),
    ('data-00000-of-00002.arrow', ''),
    ('0.0.0/0a1b/cifar10-test.arrow', 'test'),
    ('0.0.0/0a1b/cifar10-train-00001-of-00002.arrow', 'train'),
    ('part_17.parquet', ''),
])
def test_splits_follow_from_names(path, split):
    assert split_of(path) == split


def test_other_columns(tmp_path):
    plain = pa.table(
        dict(
            jpeg=pa.array([picture(1), None, picture(3)], pa.binary()),
            kind=pa.array(['owl', 'cat', None]),
            category=pa.array(['owl', 'cat', None]).dictionary_encode(),
            fine=pa.array([1, 2, 3])))
    parquet.write_table(plain, tmp_path / 'plain.parquet')
    source = Parquet(str(tmp_path / 'plain.parquet'))
    assert source.labels.tolist() == [-1, -1, -1] and source.CLASSES is None
    with pytest.raises(BrokenImageError, match='plain.parquet, row 1.*null'):
        source.get_array(1)
    words = Parquet(str(tmp_path), label_column='kind')
    assert words.labels.tolist() == [1, 0, -1] and words.CLASSES == ('cat', 'owl')
    assert Parquet(str(tmp_path), label_column='category').labels.tolist() == [1, 0, -1]
    assert Parquet(str(tmp_path), label_column='fine').labels.tolist() == [1, 2, 3]

    (tmp_path / 'photo.png').write_bytes(picture(7))
    beside = pa.array(
        [dict(bytes=None, path='photo.png'), dict(bytes=None, path='absent.png')],
        pa.struct([('bytes', pa.binary()), ('path', pa.string())]))
    parquet.write_table(pa.table(dict(image=beside)), tmp_path / 'beside.parquet')
    source = Parquet(str(tmp_path / 'beside.parquet'))
    assert source.get_array(0)[0, 0, 0] == 7
    with pytest.raises(BrokenImageError, match='absent.png'):
        source.get_array(1)


def test_what_is_wrong_is_named(animals, tmp_path):

    def refuse(words, **arguments):
        with pytest.raises((ConfigError, FileNotFoundError), match=words):
            build_datasource(dict(dict(type='Parquet', data_prefix=str(animals)), **arguments))

    refuse(r"holds 'test' \(1 files\), 'train' \(3 files\): name one")
    refuse("did you mean 'train'", split='trian')
    refuse('no files .*parquet', data_prefix=str(tmp_path / 'nowhere'))
    refuse("no column of images 'caption'; it is of the type string", split='train', column='caption')
    refuse("no column 'lable'.*did you mean 'label'", split='train', label_column='lable')
    (animals / 'data' / 'train-00001-of-00003.parquet').unlink()
    refuse('1 of 3 files are absent, such as number 1', split='train')

    two = dict(FEATURES, second=dict(_type='Image'))
    write(tmp_path / 'two' / 'a.parquet', range(2), [0, 1], two, second=pa.array([b'1', b'2']))
    refuse('2 columns of images: image, second', data_prefix=str(tmp_path / 'two'))
    write(tmp_path / 'cifar' / 'a.parquet', range(2), None, {
        name: dict(_type='ClassLabel', names=['a'])
        for name in ('fine', 'coarse')
    }, fine=pa.array([0, 0]), coarse=pa.array([0, 0]))  # yapf: disable
    refuse('several labels: fine, coarse', data_prefix=str(tmp_path / 'cifar'))
    write(tmp_path / 'mixed' / 'a.parquet', range(2), [0, 1])
    write(tmp_path / 'mixed' / 'b.parquet', range(2), None)
    refuse("'label' is int64 in .*a.parquet and absent in .*b.parquet", data_prefix=str(tmp_path / 'mixed'))
    damaged = tmp_path / 'mixed' / 'b.parquet'
    damaged.write_bytes(damaged.read_bytes()[:-20])
    refuse('b.parquet is no whole Parquet file', data_prefix=str(tmp_path / 'mixed'))


def test_a_damaged_group_breaks_its_images_alone(animals):
    path = animals / 'data' / 'test-00000-of-00001.parquet'
    place = parquet.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[place:place + 40] = os.urandom(40)
    path.write_bytes(content)
    source = Parquet(str(animals), split='test')
    for idx in range(3):
        with pytest.raises(BrokenImageError, match=f'test-00000-of-00001.parquet, row {idx}'):
            source.get_array(idx)
    assert source.get_array(3)[0, 0, 0] == 103


@pytest.mark.parametrize('mark', [
    dict(_type='Sequence', feature=dict(_type='ClassLabel', names=['cat', 'dog', 'owl'])),
    [dict(_type='ClassLabel', names=['cat', 'dog', 'owl'])],
    dict(_type='Value'),
])
def test_lists_of_labels(tmp_path, mark):
    lists = pa.array([[2, 0], [], None, [1, 1], [2]], pa.list_(pa.int64()))
    write(tmp_path / 'a.parquet', range(5), None, dict(kinds=mark), kinds=lists)
    cfg = dict(type='Parquet', data_prefix=str(tmp_path), label_column='kinds')
    source = build_datasource(cfg)
    assert source.targets.tolist() == [[1, 0, 1], [0, 0, 0], [-1, -1, -1], [0, 1, 0], [0, 0, 1]]
    assert source.get_cat_ids(0) == [0, 2] and source.multi_label
    dataset = build_dataset(dict(type='SingleViewDataset', data_source=cfg, pipeline=[], prefetch=True))
    assert dataset[3]['label'].tolist() == [0, 1, 0] and dataset.num_classes == 3
    if mark != dict(_type='Value'):
        assert source.CLASSES == ('cat', 'dog', 'owl')
        some = build_datasource(dict(cfg, classes=['owl', 'cat']))
        assert some.targets.tolist() == [[1, 1], [0, 0], [-1, -1], [0, 0], [1, 0]]
    else:
        write(tmp_path / 'b.parquet', range(2), kinds=pa.array([[3], [10**9]]))
        with pytest.raises(ConfigError, match="'kinds' have the class 1000000000: .* at most 1048576"):
            build_datasource(dict(cfg, data_prefix=str(tmp_path / 'b.parquet')))
        (tmp_path / 'b.parquet').unlink()
    write(tmp_path / 'a.parquet', range(1), None, dict(kinds=mark), kinds=pa.array([[-3]]))
    with pytest.raises(ConfigError, match="lists of 'kinds' are 0 to .*, got -3"):
        build_datasource(cfg)


@pytest.mark.parametrize('form', ['stream', 'file'])
def test_arrow_files_read_as_the_tables_that_they_hold(animals, tmp_path, form):
    """The form of save_to_disk: a folder a split, and files of record batches."""
    for number in range(3):
        table = parquet.read_table(animals / f'data/train-{number:05d}-of-00003.parquet').combine_chunks()
        path = tmp_path / f'saved/train/data-{number:05d}-of-00003.arrow'
        path.parent.mkdir(parents=True, exist_ok=True)
        new = pa.ipc.new_stream if form == 'stream' else pa.ipc.new_file
        with new(str(path), table.schema) as file:
            file.write_table(table, max_chunksize=4)
    (path.parent / 'cache-0a1b.arrow').write_bytes(b'what a map made')
    source, other = Arrow(str(tmp_path / 'saved')), Parquet(str(animals), split='train')
    assert source.labels.tolist() == other.labels.tolist() and source.CLASSES == other.CLASSES
    assert source.blocks.tolist() == [4, 8, 10, 14, 17, 21, 23]
    order = np.random.default_rng(0).permutation(23).tolist()
    assert [source.get_bytes(i) for i in order] == [other.get_bytes(i) for i in order]
    assert source.get_filename(18).endswith('data-00002-of-00003.arrow, row 1')
    assert len(pickle.dumps(source)) < 3000 and values(pickle.loads(pickle.dumps(source))) == list(range(23))
    with pytest.raises(ConfigError, match='cache_mb must be 0 or more, got -1'):
        Parquet(str(tmp_path), cache_mb=-1)
    with pytest.raises(ConfigError, match='Arrow takes no argument .cache_mb'):
        build_datasource(dict(type='Arrow', data_prefix=str(tmp_path / 'saved'), cache_mb=3))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConfigError, match='data-00002-of-00003.arrow is no whole Arrow file'):
        build_datasource(dict(type='Arrow', data_prefix=str(tmp_path / 'saved')))


def test_registered_under_its_name():
    assert DATASOURCES.get('Parquet') is Parquet

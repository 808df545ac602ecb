import gzip
import os
import pickle
import re
import time

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import (CIFAR10, CIFAR100, BaseDataSource, BrokenImageError, CompactStrings, Digits, FashionMNIST,
                            Folder, ImageList, ImageNet, ImageNet21k, SingleViewDataset, build_datasource)
from mmssl.datasets.data_sources.imagenet import compact
from mmssl.evaluation import extract_features
from mmssl.utils.errors import ConfigError


def test_compact_strings():
    names = ['a/1.jpg', '', 'ü/ß 2.png', os.fsdecode(b'\xff.jpg')]
    strings = CompactStrings(iter(names))
    assert list(strings) == names and len(strings) == 4 and strings[-1] == names[-1]
    assert list(CompactStrings([])) == []
    with pytest.raises(IndexError):
        strings[4]


def test_a_million_samples_are_compact():
    """100 million samples must fit: no list of dicts, and little to pickle for a worker."""
    names, labels = compact((f'n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG', i % 1000) for i in range(10**6))
    assert labels.dtype == np.int32 and (names.nbytes + labels.nbytes) / 10**6 < 50
    source = ImageNet.__new__(ImageNet)
    source.samples, source.labels, source.data_prefix = names, labels, 'root'
    start = time.perf_counter()
    data = pickle.dumps(source, protocol=5)
    again = pickle.loads(data)
    assert time.perf_counter() - start < 1 and len(data) < 60 * 10**6
    assert again.get_filename(123456) == 'root/n00000456/n00000456_123456.JPEG' and again.get_cat_ids(123456) == 456


def test_imagenet_folders(photo_folder):
    source = build_datasource(dict(type='ImageNet', data_prefix=str(photo_folder)))
    assert len(source) == 24 and source.CLASSES == ('china', 'flower')
    assert source.class_to_idx == source.folder_to_idx == dict(china=0, flower=1)
    np.testing.assert_array_equal(source.get_gt_labels(), [0] * 12 + [1] * 12)
    assert source.get_filename(13) == f'{photo_folder}/flower/01.jpg' and source.get_cat_ids(13) == 1
    np.testing.assert_allclose(
        source.get_array(13).astype(int), np.array(Image.open(f'{photo_folder}/flower/01.jpg')), atol=1)
    info = source.data_infos[13]
    assert info['img_info'] == dict(filename='flower/01.jpg') and info['gt_label'] == 1 and info['idx'] == 13
    assert len(source.data_infos) == 24 and info['img_prefix'] == str(photo_folder)


def test_annotation_file(photo_folder, tmp_path):
    ann = tmp_path / 'train.txt'
    ann.write_text('flower/01.jpg 1\n\nchina/00.jpg 0\n')
    names = tmp_path / 'names.txt'
    names.write_text('China\nA flower\n')
    source = ImageNet(str(photo_folder), ann_file=str(ann), classes=str(names), color_type='grayscale')
    assert source.labels.tolist() == [1, 0] and source.CLASSES == ['China', 'A flower']
    assert source.get_array(0).shape == (200, 260, 1)
    with pytest.raises(ConfigError, match='label 1 is there, but only 1 classes'):
        ImageNet(str(photo_folder), ann_file=str(ann), classes=['one'])
    with pytest.raises(FileNotFoundError, match='absent.txt'):
        ImageNet(str(photo_folder), ann_file=str(tmp_path / 'absent.txt'))
    for line in ('china/00.jpg', 'china/00.jpg one', 'china/00.jpg -3'):
        ann.write_text('flower/01.jpg 1\n' + line)
        with pytest.raises(ValueError, match='train.txt, line 2.*' + line.split()[-1]):
            ImageNet(str(photo_folder), ann_file=str(ann))


@pytest.mark.parametrize('arguments, message', [
    (dict(color_type='colour'), 'color_type must be one of'),
    (dict(channel_order='gbr'), 'channel_order must be one of'),
    (dict(classes=3), 'classes must be a file name or a list'),
    (dict(classes=[]), r'classes=\[\] names no class'),
    (dict(ann_file=['a.txt']), 'ann_file of ImageNet must be one file name'),
])
def test_wrong_arguments(photo_folder, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ImageNet(str(photo_folder), **arguments)


def test_imagenet21k(photo_folder, tmp_path):
    (tmp_path / 'a' / 'deeper').mkdir(parents=True)
    for name in ('a/1.jpg', 'a/deeper/2.jpg'):
        (tmp_path / name).write_bytes((photo_folder / 'china' / '00.jpg').read_bytes())
    assert list(ImageNet21k(str(tmp_path)).samples) == ['a/1.jpg']
    assert list(ImageNet21k(str(tmp_path), recursion_subdir=True).samples) == ['a/1.jpg', 'a/deeper/2.jpg']
    ann = tmp_path / 'multi.txt'
    ann.write_text('a/1.jpg 5,7,9\na/deeper/2.jpg 4\n')
    source = ImageNet21k(str(tmp_path), ann_file=str(ann), multi_label=True)
    assert [source.get_cat_ids(i) for i in range(2)] == [[5, 7, 9], [4]]
    # the first label alone was kept, without a word
    data = SingleViewDataset(source, [])
    assert data[0]['label'].dtype == np.int8 and np.flatnonzero(data[0]['label']).tolist() == [5, 7, 9]
    assert data[1]['label'].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    for needs_one in (source.get_gt_labels, lambda: data.gt_labels, lambda: data.evaluate({})):
        with pytest.raises(ConfigError, match='several labels an image, and one is needed'):
            needs_one()
    with pytest.raises(ConfigError, match='one label an image, this data set gives a vector of 10: set multi_label=F'):
        extract_features(None, data, layers='pixels', img_norm_cfg=dict(mean=[0.5], std=[0.5]))
    with pytest.raises(ConfigError, match='label 9 is there, but only 9 classes'):
        ImageNet21k(str(tmp_path), list('abcdefghi'), str(ann), multi_label=True)
    for line in ('a/1.jpg 5,x', 'a/1.jpg 5,', 'a/1.jpg', 'a/1.jpg 5,-1'):
        ann.write_text('a/1.jpg 5\n' + line)
        with pytest.raises(ConfigError, match='multi.txt, line 2: .*class ids separated by commas.*' + line):
            ImageNet21k(str(tmp_path), ann_file=str(ann), multi_label=True)
    with pytest.raises(ConfigError, match='needs an ann_file'):
        ImageNet21k(str(tmp_path), multi_label=True)


def test_image_list(photo_folder, tmp_path):
    """Pitfall: unlabelled data needed fake class folders."""
    (tmp_path / 'a.txt').write_text('china/00.jpg 4\nmy photo.jpg\n')
    (tmp_path / 'b.txt').write_text('flower/00.jpg\nwith space 2.jpg 3\nx.jpg -1\n')
    source = ImageList(str(photo_folder), ann_file=[str(tmp_path / 'a.txt'), str(tmp_path / 'b.txt')])
    assert list(source.samples) == ['china/00.jpg', 'my photo.jpg', 'flower/00.jpg', 'with space 2.jpg', 'x.jpg']
    assert source.labels.tolist() == [4, -1, -1, 3, -1]
    assert source.get_array(2).shape == (200, 260, 3)
    with pytest.raises(BrokenImageError, match='my photo.jpg'):
        source.get_array(1)
    assert len(ImageList(str(photo_folder), ann_file=str(tmp_path / 'a.txt'))) == 2
    with pytest.raises(ConfigError, match='needs ann_file'):
        ImageList(str(photo_folder))


def test_folder_in_place_of_a_list(photo_folder):
    config = dict(type='Folder', data_prefix=str(photo_folder), ann_file=None)
    assert len(build_datasource(config)) == 24
    with pytest.raises(ConfigError, match="set ann_file=None instead of 'train.txt'"):
        build_datasource(dict(config, ann_file='train.txt'))


def test_folder(photo_folder, tmp_path):
    """Pitfall: unlabelled data needed fake class folders."""
    jpeg = (photo_folder / 'china' / '00.jpg').read_bytes()
    for name in ('b.JPG', 'a.jpeg', 'deep/er/c.jpg', 'deep/a.Png', '.hidden.jpg', '.cache/x.jpg', 'notes.txt'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg)
    (tmp_path / 'deep' / 'round').symlink_to(tmp_path)
    source = Folder(str(tmp_path))
    assert list(source.samples) == ['a.jpeg', 'b.JPG', 'deep/a.Png', 'deep/er/c.jpg']
    assert source.labels.tolist() == [-1] * 4 and source.CLASSES is None
    assert source.get_array(3).shape == (200, 260, 3)
    # links that lead round and round, to themselves, to nowhere
    (tmp_path / 'deep' / 'er' / 'up').symlink_to('../../other')
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'again').symlink_to('../deep')
    for name, target in (('loop', 'loop'), ('loop.jpg', 'loop.jpg'), ('absent.jpg', 'nowhere')):
        (tmp_path / 'other' / name).symlink_to(target)
    links = [name for name in Folder(str(tmp_path)).samples if 'other' in name]
    assert 'other/loop.jpg' in links and 'other/absent.jpg' in links and len(links) < 10
    for name in ('loop', 'absent'):
        with pytest.raises(BrokenImageError, match=f'other/{name}.jpg'):
            Folder(str(tmp_path / 'other')).get_array(['absent', 'loop'].index(name))
    (tmp_path / 'empty').mkdir()
    for kind in (Folder, ImageNet):
        with pytest.raises(FileNotFoundError, match=f'{tmp_path}/empty'):
            kind(str(tmp_path / 'empty'))
        with pytest.raises(FileNotFoundError, match=f'no such folder: {tmp_path}/absent'):
            kind(str(tmp_path / 'absent'))
    # images beside each other, without class folders
    with pytest.raises(FileNotFoundError, match='data source Folder'):
        ImageNet(str(photo_folder / 'china'))


def test_what_is_passed_over_is_said(photo_folder, tmp_path, warnings_of_data):
    """HEIC files, raw files and images without a class were left out without a word."""
    (tmp_path / 'a').mkdir()
    for name in ('a/1.heic', 'a/2.HEIC', 'a/3.nef'):
        (tmp_path / name).touch()
    for kind in (Folder, ImageNet):
        with pytest.raises(
                FileNotFoundError, match=r'3 files in .* \(2 .heic, 1 .nef\): "pip install pillow-heif".* converted'):
            kind(str(tmp_path))
    (tmp_path / 'a/4.jpg').write_bytes((photo_folder / 'china/00.jpg').read_bytes())
    (tmp_path / '5.png').touch()
    assert len(Folder(str(tmp_path))) == 2 and len(ImageNet(str(tmp_path))) == 1
    assert [message.split(' (')[0].split(' and ')[0] for message in warnings_of_data] == [
        f'3 files in {tmp_path} were passed over',
        f'1 images lie beside the class folders in {tmp_path}',
        f'3 files in {tmp_path} were passed over',
    ]


@pytest.mark.parametrize('kind', [ImageNet, ImageList])
@pytest.mark.parametrize('line, message', [
    ('china/01.jpg,1', 'which has a comma'),
    ('china/01.jpg; 1', 'which has a comma or semicolon'),
    ('china/01.jpg flower', "'flower' is no class id"),
    ('china/01.jpg 0.5', "'0.5' is no class id"),
    ('china/01.jpg 99999999999', 'class ids are 0 to 2147483647.*99999999999'),
    ('china/01.jpg -3', 'class ids are 0 to'),
    ('china/01\0.jpg 0', 'NUL byte'),
])
def test_lines_that_are_no_name_and_class_id(photo_folder, tmp_path, kind, line, message):
    """Of a CSV file, whole lines were taken for file names, all of them broken."""
    path = tmp_path / 'list.txt'
    path.write_text('china/00.jpg 0\n' + line)
    with pytest.raises(ConfigError, match=f'list.txt, line 2: .*{message}'):
        kind(str(photo_folder), ann_file=str(path))


@pytest.mark.parametrize('kind', [ImageNet, ImageList])
def test_lists_of_other_editors(photo_folder, tmp_path, kind):
    """A byte-order mark, tabs, Windows' line ends, names in Latin-1; an empty list, and one of another folder."""
    path = tmp_path / 'list.txt'
    path.write_bytes(b'\xef\xbb\xbfchina/00.jpg\t1\r\n\r\nk\xe4fer, 1.jpg 0\r\n')
    source = kind(str(photo_folder), ann_file=str(path))
    assert list(source.samples) == ['china/00.jpg', os.fsdecode(b'k\xe4fer, 1.jpg')] and list(source.labels) == [1, 0]
    path.write_text('\n')
    with pytest.raises(ConfigError, match=f'{kind.__name__} found no sample: ann_file .*list.txt names none'):
        kind(str(photo_folder), ann_file=str(path))
    path.write_text('00.jpg 1\n01.jpg 0\n')
    with pytest.raises(
            FileNotFoundError, match=f'2 images are listed in .*there is no {photo_folder}/00.jpg.*data_pre'):
        kind(str(photo_folder), ann_file=str(path))
    assert len(kind(photo_folder / 'china', ann_file=str(path))) == 2
    for prefix in (['a', 'b'], 2021):
        with pytest.raises(ConfigError, match=f'data_prefix must be a folder, got {re.escape(repr(prefix))}'):
            kind(prefix, ann_file=str(path))


def test_source_written_for_mmselfsup(photo_folder):
    """`load_annotations` may return the list of dicts that MMSelfSup's tutorials show."""

    class Mine(BaseDataSource):

        def load_annotations(self):
            return [
                dict(img_prefix=self.data_prefix, img_info=dict(filename=f'china/0{i}.jpg'), gt_label=np.array(i))
                for i in range(3)
            ]

    source = Mine(str(photo_folder))
    assert len(source) == 3 and source.get_gt_labels().tolist() == [0, 1, 2]
    assert source.data_infos[1]['img_info']['filename'] == 'china/01.jpg'
    assert source.get_filename(1) == f'{photo_folder}/china/01.jpg' and source.get_array(1).shape == (200, 260, 3)


def write_cifar(folder, names, key, num_labels):
    folder.mkdir()
    rng = np.random.default_rng(0)
    batches = {}
    for name in names:
        data = rng.integers(256, size=(4, 3072), dtype=np.uint8)
        batches[name] = {b'data': data, key: rng.integers(num_labels, size=4).tolist(), b'batch_label': b'x'}
        (folder / name).write_bytes(pickle.dumps(batches[name], protocol=2))
    return batches


def test_cifar(tmp_path):
    batches = write_cifar(tmp_path / 'cifar-10-batches-py', [*CIFAR10.train_list, *CIFAR10.test_list], b'labels', 10)
    source = CIFAR10(str(tmp_path))
    assert len(source) == 20 and len(CIFAR10(str(tmp_path), test_mode=True)) == 4
    second = batches['data_batch_2']
    np.testing.assert_array_equal(source.get_array(5), second[b'data'][1].reshape(3, 32, 32).transpose(1, 2, 0))
    assert source.get_cat_ids(5) == second[b'labels'][1] and len(source.CLASSES) == 10
    grey = CIFAR10(str(tmp_path), color_type='grayscale').get_array(5)[..., 0]
    reference = Image.fromarray(source.get_array(5)).convert('L')
    np.testing.assert_allclose(grey.astype(int), np.array(reference), atol=1)
    # what a step does to an image in place stays out of the data set
    source.get_array(5)[:] = 0
    assert source.get_array(5).any()

    write_cifar(tmp_path / 'cifar-100-python', ['train', 'test'], b'fine_labels', 100)
    source = CIFAR100(str(tmp_path / 'cifar-100-python'))
    assert len(source) == 4 and len(set(source.CLASSES)) == 100


def test_cifar_absent_or_harmful(tmp_path):
    with pytest.raises(FileNotFoundError, match='tar -xzf cifar-100-python.tar.gz'):
        CIFAR100(str(tmp_path))
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()

    class Harm:

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'harm'), )

    for data in (pickle.dumps({b'data': Harm()}), b'no pickle', pickle.dumps([])):
        (folder / 'test_batch').write_bytes(data)
        with pytest.raises(ValueError, match='test_batch is no batch of CIFAR10'):
            CIFAR10(str(tmp_path), test_mode=True)
    assert not (tmp_path / 'harm').exists()


def test_digits():
    from sklearn.datasets import load_digits
    digits = load_digits()
    parts = {split: Digits(split=split) for split in ('train', 'test', 'all')}
    assert {k: len(v) for k, v in parts.items()} == dict(train=1437, test=360, all=1797)
    np.testing.assert_array_equal(parts['all'].labels, digits.target)
    np.testing.assert_array_equal(parts['test'].samples, parts['all'].samples[::5])
    np.testing.assert_array_equal(parts['train'].samples[:5], parts['all'].samples[[1, 2, 3, 4, 6]])
    img = parts['all'].get_array(7)
    assert img.shape == (8, 8, 3) and img.dtype == np.uint8 and parts['all'].samples.max() == 255
    np.testing.assert_allclose(img[..., 0], digits.images[7] / 16 * 255, atol=0.5)
    assert Digits(color_type='grayscale', num_images=5).get_array(4).shape == (8, 8, 1)
    assert len(Digits(test_mode=True)) == 360
    for arguments in (dict(split='val'), dict(num_images=0), dict(num_images=1438)):
        with pytest.raises(ConfigError):
            Digits(**arguments)


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>u4').tobytes() + array.tobytes()


@pytest.mark.parametrize('below, packed', [('.', False), ('FashionMNIST/raw', False),
                                           ('usr/share/datasets/fashion-mnist', True)])
def test_fashion_mnist(tmp_path, below, packed):
    rng = np.random.default_rng(0)
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, n in (('train', 6), ('t10k', 3)):
        for name, array in ((f'{part}-images-idx3-ubyte', rng.integers(256, size=(n, 28, 28), dtype=np.uint8)),
                            (f'{part}-labels-idx1-ubyte', rng.integers(10, size=n, dtype=np.uint8))):
            arrays[name] = array
            data = idx_bytes(array)
            (folder / (name + '.gz' * packed)).write_bytes(gzip.compress(data) if packed else data)
    source = FashionMNIST(str(tmp_path), color_type='grayscale')
    np.testing.assert_array_equal(source.get_array(5)[..., 0], arrays['train-images-idx3-ubyte'][5])
    np.testing.assert_array_equal(source.labels, arrays['train-labels-idx1-ubyte'])
    assert len(FashionMNIST(str(tmp_path), test_mode=True)) == 3 and len(FashionMNIST(str(tmp_path), split='all')) == 9
    assert FashionMNIST(str(tmp_path), num_images=2).get_array(1).shape == (28, 28, 3)


def test_fashion_mnist_absent_or_torn(tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, 'installed', 'nowhere')
    with pytest.raises(FileNotFoundError, match='apt-get install dataset-fashion-mnist'):
        FashionMNIST(str(tmp_path))
    for data in (b'', b'\0\0\x08\3abc', idx_bytes(np.zeros((2, 28, 28), np.uint8))[:-1]):
        (tmp_path / 'train-images-idx3-ubyte').write_bytes(data)
        with pytest.raises(ValueError, match='no complete IDX file'):
            FashionMNIST(str(tmp_path))

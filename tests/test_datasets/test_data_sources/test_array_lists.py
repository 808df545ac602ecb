# Copyright (c) mmssl contributors. All rights reserved.
import pickle
from pathlib import Path

import numpy as np
import pytest

from mmssl.datasets import ImageList, ImageNet, SampleDataset, SingleViewDataset
from mmssl.datasets.data_sources.labels import read_labels
from mmssl.datasets.data_sources.lists import ArrayStrings
from mmssl.utils import save_file
from mmssl.utils.errors import ConfigError

NAMES = ['a/é 1.jpg', 'b.jpg', 'a/c.jpg', "d's.jpg"]
LABELS = [2, 0, -1, 2]


class Listed(ImageList):
    """The files of these tests need not exist."""

    def _check_files(self):
        pass


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def structured(dtype):
    rows = np.zeros(4, [('number', 'f4'), ('path', dtype), ('label', 'i8')])
    rows['path'], rows['label'] = [n.encode() for n in NAMES] if dtype[0] == 'S' else NAMES, LABELS
    return rows


@pytest.mark.parametrize('file, data, labels', [
    ('x.npy', np.array(NAMES), [-1] * 4),
    ('x.npy', np.array([n.encode() for n in NAMES]), [-1] * 4),
    ('x.npy', structured('U20'), LABELS),
    ('x.npy', structured('S20'), LABELS),
    ('x.npy', np.array([NAMES, LABELS]).T, LABELS),
    ('x.pkl', NAMES, [-1] * 4),
    ('x.pkl', [n.encode() for n in NAMES], [-1] * 4),
    ('x.pkl', np.array(NAMES), [-1] * 4),
    ('x.pkl', (NAMES, LABELS), LABELS),
    ('x.pickle', [NAMES, np.array(LABELS)], LABELS),
    ('x.pkl', list(zip(NAMES, LABELS)), LABELS),
    ('x.json', dict(paths=NAMES, labels=LABELS, comment='any'), LABELS),
    ('x.json', dict(zip(NAMES, [2, 0, None, 2])), LABELS),
    ('x.npz', dict(paths=np.array(NAMES), labels=np.array(LABELS)), LABELS),
])
def test_a_list_of_any_form(here, file, data, labels):
    save_file(data, file)
    source = Listed(ann_file=file, data_prefix='photos')
    assert list(source.samples) == NAMES and len(source) == 4
    assert source.get_filename(3) == "photos/d's.jpg"
    assert source.labels.tolist() == labels
    copied = pickle.loads(pickle.dumps(source))
    assert list(copied.samples) == NAMES and copied.labels.tolist() == source.labels.tolist()


@pytest.mark.parametrize(
    'file, text, labels, words',
    [
        ('x.csv', "a/é 1.jpg,2\nb.jpg,0\na/c.jpg,-1\nd's.jpg,2\n", LABELS, None),
        ('x.csv', '\ufeff"path","label"\r\n"a/é 1.jpg","2"\r\n"b.jpg","0"\r\na/c.jpg,\r\n"d\'s.jpg",2\r\n', LABELS,
         None),
        ('x.csv', "species;filename\nox;a/é 1.jpg\nant;b.jpg\n;a/c.jpg\nox;d's.jpg\n", [1, 0, -1, 1], ('ant', 'ox')),
        ('x.csv', "id,File,label\n1,a/é 1.jpg,2\n2,b.jpg,0\n3,a/c.jpg,-1\n4,d's.jpg,2\n", LABELS, None),
        ('x.tsv', "a/é 1.jpg\t2\nb.jpg\t0\na/c.jpg\nd's.jpg\t2\n", LABELS, None),
        ('x.tsv', "path\na/é 1.jpg\nb.jpg\na/c.jpg\nd's.jpg\n", [-1] * 4, None),
        ('x.csv', "a/é 1.jpg 2\nb.jpg 0\na/c.jpg\nd's.jpg 2\n", LABELS, None),  # no table: a space before the label
    ])
def test_a_table(here, file, text, labels, words):
    Path(file).write_text(text, encoding='utf-8')
    source = Listed(ann_file=file, data_prefix='photos')
    assert list(source.samples) == NAMES and source.labels.tolist() == labels
    assert source.found_classes == words


@pytest.mark.parametrize('text, message', [
    ('a, b.jpg,1\nb.jpg,1', "x.csv: which column holds the names .* There are no headings, and 3 cells a line"),
    ('a.jpg,1\nb, c.jpg,1', "x.csv, line 2: 3 cells, where the first line has 2; names that hold ',' stand in quotes"),
    ('path,width,height\na.jpg,1,2', 'There are the columns path, width, height: call them path and label'),
    ('path,label', 'x.csv lists no image'),
])
def test_a_table_that_cannot_be_read(here, text, message):
    Path('x.csv').write_text(text)
    with pytest.raises(ConfigError, match=message):
        Listed(ann_file='x.csv')


def test_labels_in_a_text(here):
    Path('l.txt').write_text('2\n0\n-1\n2\n')
    assert Listed(ann_file=save_names(), labels='l.txt').labels.tolist() == LABELS
    Path('l.txt').write_text('ox\nant\nox\nbee\n')
    source = Listed(ann_file='n.json', labels='l.txt')
    assert source.labels.tolist() == [2, 0, 2, 1]


def save_names():
    save_file(NAMES, 'n.json')
    return 'n.json'


def test_two_names_are_no_names_and_labels(here):
    save_file(NAMES[:2], 'x.pkl')
    assert list(Listed(ann_file='x.pkl').samples) == NAMES[:2]
    for two in ((NAMES[:2], LABELS[:2]), list(zip(NAMES[:2], LABELS[:2]))):
        save_file(two, 'x.pkl')
        assert list(Listed(ann_file='x.pkl').samples) == NAMES[:2]
        assert Listed(ann_file='x.pkl').labels.tolist() == LABELS[:2]


def test_names_stay_in_their_file(here):
    """An array of objects is read as a whole, without running code."""
    np.save('o.npy', np.array(NAMES, object), allow_pickle=True)
    assert list(Listed(ann_file='o.npy').samples) == NAMES
    save_file(np.array([f'folder/{i:08d}.jpg' for i in range(20_000)]), 'x.npy')
    source = Listed(ann_file='x.npy', labels=np.arange(20_000))
    assert isinstance(source.samples, ArrayStrings)
    assert len(pickle.dumps(source.samples)) < 500 and source.samples[-1] == 'folder/00019999.jpg'
    with pytest.raises(IndexError):
        source.samples[20_000]
    unlabelled = Listed(ann_file='x.npy')
    assert len(pickle.dumps(unlabelled)) < 2000 and unlabelled.labels.max() == -1
    assert unlabelled.data_infos[7]['img_info'] == dict(filename='folder/00000007.jpg')


def test_folders_of_another_machine(here):
    whole = [f'/elsewhere/train/{name}' for name in NAMES]
    save_file(np.array(whole), 'x.npy')
    save_file(whole, 'x.pkl')
    save_file(whole, 'x.txt')
    for file in ('x.npy', 'x.pkl', 'x.txt'):
        for prefix, name in (('/elsewhere', 'data/train/b.jpg'), ('/elsewhere/train/', 'data/b.jpg')):
            assert Listed(ann_file=file, data_prefix='data', remove_prefix=prefix).get_filename(1) == name
        for prefix in ('/else', '/elsewhere/val'):
            with pytest.raises(
                    ConfigError, match=f"remove_prefix is '{prefix}', but the name '/elsewhere/train/a/é 1.jp"):
                Listed(ann_file=file, remove_prefix=prefix).samples[0]


def test_words_as_labels(here, caplog):
    words = ['oak', 'beech', None, 'oak']
    save_file((NAMES, words), 'x.pkl')
    source = Listed(ann_file='x.pkl')
    assert source.labels.tolist() == [1, 0, -1, 1] and source.CLASSES == ('beech', 'oak')
    # names select and order, as those of folders
    assert list(Listed(ann_file='x.pkl', classes=['oak']).samples) == [NAMES[0], NAMES[3]]
    # labels in a file of their own
    save_file(np.array(['oak', 'beech', '', 'ash']), 'words.npy')
    source = Listed(ann_file='x.pkl', labels='words.npy')
    assert source.labels.tolist() == [2, 1, -1, 0] and source.CLASSES == ('ash', 'beech', 'oak')
    source = Listed(ann_file='x.pkl', labels='words.npy', classes=['oak', 'ash', 'beech', 'yew'])
    assert source.labels.tolist() == [0, 2, -1, 1] and source.CLASSES == ('oak', 'ash', 'beech', 'yew')
    with pytest.raises(ConfigError, match="labels has the word 'ash', which is none of classes"):
        Listed(ann_file='x.pkl', labels='words.npy', classes=['oak', 'beech'])
    with pytest.raises(ConfigError, match='words are numbered in memory: leave mmap_labels out'):
        Listed(ann_file='x.pkl', labels='words.npy', mmap_labels=True)
    assert read_labels([None, 3, 1], 3).tolist() == [-1, 3, 1]
    for bad, message in ((['a', 3, 'b'], 'all of one kind, got 3 for sample 1'), ([0.5, 1], 'got float64'),
                         (['', ''], 'none of the 2 samples has a label'), (['a'], 'got object')):
        with pytest.raises(ConfigError, match=message):
            read_labels(bad, len(bad) + (bad == ['a']))


def test_several_lists_and_several_labels(here):
    save_file((NAMES[:2], ['oak', 'beech']), 'a.pkl')
    save_file(np.array(NAMES[2:]), 'b.npy')
    save_file(dict(paths=['z.jpg'], labels=['ash']), 'c.json')
    source = Listed(ann_file=['a.pkl', 'b.npy', 'c.json'])
    assert list(source.samples) == [*NAMES, 'z.jpg'] and source.labels.tolist() == [2, 1, -1, -1, 0]
    save_file('e.jpg 4\nf.jpg'.split('\n'), 'd.txt')
    assert Listed(ann_file=['d.txt', 'b.npy']).labels.tolist() == [4, -1, -1, -1]
    with pytest.raises(ConfigError, match='labels of different kinds'):
        Listed(ann_file=['a.pkl', 'd.txt'])
    many = np.array([[1, 0, -1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    save_file(dict(paths=NAMES, labels=many), 'm.pkl')
    data = SingleViewDataset(Listed(ann_file='m.pkl'), [])
    assert data.num_classes == 3 and data._label(0).tolist() == [1, 0, -1]


def test_images_of_two_lists_side_by_side(photo_folder, here):
    """Several sources with several labels in one sample, of the files that VISSL's lists are."""
    files = sorted(str(path) for path in photo_folder.rglob('*.jpg'))[:6]
    save_file(np.array(files), 'photos.npy')
    save_file(files[::-1], 'others.pkl')
    save_file(np.arange(6), 'numbers.npy')
    save_file(list('abcabc'), 'letters.pkl')
    data = SampleDataset(
        dict(one=dict(type='ImageList', ann_file='photos.npy'), two=dict(type='ImageList', ann_file='others.pkl')), [],
        labels=dict(number='numbers.npy', letter='letters.pkl'),
        prefetch=True)
    sample = data[1]
    assert sample['label'] == dict(number=1, letter=1)
    np.testing.assert_array_equal(sample['img']['one'], data[4]['img']['two'])


def test_a_list_with_labels_is_one_of_imagenet(photo_folder, here):
    files = sorted(str(path.relative_to(photo_folder)) for path in photo_folder.rglob('*.jpg'))[:4]
    save_file(dict(zip(files, 'cdcd')), 'x.json')
    source = ImageNet(str(photo_folder), ann_file='x.json')
    assert source.CLASSES == ('c', 'd') and source.labels.tolist() == [0, 1, 0, 1] and source.get_array(2).ndim == 3
    save_file(files, 'y.pkl')
    with pytest.raises(ConfigError, match='y.pkl: ImageNet needs one label an image; .* by the data source ImageList'):
        ImageNet(str(photo_folder), ann_file='y.pkl')
    save_file(['absent.jpg'], 'z.pkl')
    with pytest.raises(FileNotFoundError, match='1 images are listed in z.pkl, but'):
        ImageList(str(photo_folder), ann_file='z.pkl')


@pytest.mark.parametrize('file, data, message', [
    ('x.npy', np.arange(3), r'int64 of the shape \(3,\): an array of names has N texts'),
    ('x.npy', np.array([['a', 'b', 'c']]), r'of the shape \(1, 3\)'),
    ('x.npy', np.array('a'), r'of the shape \(\)'),
    ('x.pkl', dict(paths=['a', 'b'], lables=[1, 2]), "holds 'lables' beside 'paths', with as many entries: labels are"),
    ('x.npy', np.zeros(2, [('x', 'U3'), ('y', 'U3')]), 'which field holds the names'),
    ('x.pkl', [], 'lists no image'),
    ('x.pkl', ['a', 3], 'entry 1 is no file name: 3. A list holds file names; or pairs'),
    ('x.pkl', [('a', 1), ('b', ), ('c', 2)], r"entry 1 is no pair of a name and a label: \('b',\)"),
    ('x.pkl', 'abc', "no list but 'abc'"),
    ('x.json', dict(a=[1], b=[2]), 'neither paths and labels nor labels by name'),
    ('x.json', dict(paths=['a', 'b'], labels=[1]), r'x.json must hold one label for each of the 2 samples'),
    ('x.json', dict(paths=['a', 'b'], labels=[1, -2]), 'got -2 for sample 1'),
])
def test_a_list_of_no_known_form(here, file, data, message):
    save_file(data, file)
    with pytest.raises(ConfigError, match=message):
        Listed(ann_file=file)

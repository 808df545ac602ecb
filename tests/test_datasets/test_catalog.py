"""Data sets by name and split."""
import json
import pickle

import numpy as np
import pytest
import yaml

from mmssl.datasets import CATALOG, Folder, ImageNet, build_dataset, build_datasource
from mmssl.datasets.catalog import SHIPPED, DatasetCatalog, absent_path, read_catalog, source_config
from mmssl.datasets.registry import DATASOURCES
from mmssl.utils.config import load_config
from mmssl.utils.errors import AbsentFileError, ConfigError, UnknownNameError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes the user's catalog; nothing else of the user's is seen, nor what others registered."""
    monkeypatch.setattr(CATALOG, '_registered', {})
    monkeypatch.delenv('MMSSL_CATALOG', raising=False)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    monkeypatch.chdir(tmp_path)

    def write(entries, path=tmp_path / 'config/mmssl/catalog.yml'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(entries))
        return path

    return write


def test_shipped_entries_are_sources_that_exist(own):
    for name, splits in read_catalog(SHIPPED).items():
        for entry in splits.values():
            assert DATASOURCES.get(entry['type']) is not None, name
    assert CATALOG.list() == ['digits']  # the only one that needs no files
    assert len(build_datasource(dict(type='Catalog', name='digits', split='test'))) == 360
    absent = {(name, split): path for name, split, path, _ in CATALOG.describe()}
    assert absent['cifar10', 'test'] == 'data/cifar10' and absent['digits', 'train'] is None


def test_recipes_look_where_the_catalog_does(own):
    base = 'configs/benchmarks/classification/_base_/datasets/'
    from conftest import ROOT
    for file, name in (('inaturalist2018', 'inaturalist2018'), ('places205', 'places205')):
        data = load_config(ROOT / base / f'{file}.py').data
        for split in ('train', 'val'):
            assert CATALOG.resolve(name, split)[0] == data[split].data_source, name


def test_own_entries_win_and_arguments_win_over_both(own, photo_folder):
    entry = dict(type='ImageNet', data_prefix=str(photo_folder))
    path = own({'photos': dict(train=entry), 'digits': dict(some=dict(type='Digits', num_images=7))})
    source = build_datasource(dict(type='Catalog', name='photos'))
    assert type(source) is ImageNet and source.CLASSES == ('china', 'flower') and len(source) == 24
    assert len(build_datasource(dict(type='Catalog', name='digits', split='some'))) == 7
    assert ('digits', 'some', None, str(path)) in CATALOG.describe()

    flowers = build_datasource(
        dict(
            type='Catalog', name='photos', data_prefix=None, ann_file=None, classes=['flower'], color_type='grayscale'))
    assert len(flowers) == 12 and flowers.get_array(0).shape[2] == 1
    other = build_datasource(dict(type='Catalog', name='imagenet', data_prefix=str(photo_folder)))
    assert len(other) == 24  # explicit paths win, whether the catalog's are there or not

    # a worker process gets the source, and asks no catalog
    dataset = build_dataset(
        dict(type='SingleViewDataset', data_source=dict(type='Catalog', name='photos'), pipeline=[], prefetch=True))
    path.unlink()
    assert pickle.loads(pickle.dumps(dataset))[13]['label'] == 1


def test_the_environment_names_a_file(own, tmp_path, photo_folder, monkeypatch):
    monkeypatch.setenv('MMSSL_CATALOG', str(tmp_path / 'vissl.json'))
    with pytest.raises(FileNotFoundError, match='no such catalog of data sets.*vissl.json'):
        CATALOG.list()
    (tmp_path / 'vissl.json').write_text(json.dumps({'mine': {'train': [str(photo_folder), '<lbl_path>']}}))
    assert CATALOG.list() == ['digits', 'mine']
    assert build_datasource(dict(type='Catalog', name='mine')).labels.tolist() == [0] * 12 + [1] * 12


def test_pairs_of_vissl(own, tmp_path, photo_folder, warnings_of_data):
    np.save(tmp_path / 'labels.npy', np.arange(24))
    lists = source_config(['images.npy', str(tmp_path / 'labels.npy')], 'train')
    assert lists == dict(type='ImageList', data_prefix=None, ann_file='images.npy', labels=str(tmp_path / 'labels.npy'))
    CATALOG.register_dict({
        'mixed': dict(train=[str(photo_folder), str(tmp_path / 'labels.npy')]),
        'flat': dict(train=[str(photo_folder / 'china')])
    })
    assert build_datasource(dict(type='Catalog', name='mixed')).labels.tolist() == list(range(24))
    assert type(build_datasource(dict(type='Catalog', name='flat'))) is Folder and not warnings_of_data
    np.save(tmp_path / 'images.npy', np.array([str(photo_folder / f'china/0{i}.jpg') for i in range(5)]))
    np.save(tmp_path / 'words.npy', np.array(['owl', 'cat', 'owl', 'cat', 'dog']))
    CATALOG.register_data('lists', dict(train=[str(tmp_path / 'images.npy'), str(tmp_path / 'words.npy')]))
    source = build_datasource(dict(type='Catalog', name='lists'))
    assert source.labels.tolist() == [2, 0, 2, 0, 1] and source.get_array(4).shape == (200, 260, 3)
    source_config([str(photo_folder), 'gone.npy'], 'train')
    assert 'gone.npy of the catalog is not there: the labels of' in warnings_of_data[-1]

    for year in (2007, 2012):
        (tmp_path / f'VOC{year}/ImageSets/Main').mkdir(parents=True)
    (tmp_path / 'coco/annotations').mkdir(parents=True)
    (tmp_path / 'coco/annotations/instances_val2014.json').touch()
    assert source_config(['VOC2007', 'VOC2007'], 'val')['split'] == 'test'
    assert source_config(['VOC2012', 'VOC2012'], 'val')['split'] == 'val'
    assert source_config(['coco', 'coco'], 'val') == dict(type='COCO', data_prefix='coco', split='val')


def test_registering_from_python(own, tmp_path):
    catalog = DatasetCatalog()
    catalog.register_data('seven', dict(train=dict(type='Digits', num_images=7)))
    catalog.register_data('seven', dict(train=dict(type='Digits', num_images=7)))  # the same again
    with pytest.raises(ConfigError, match="'seven' is registered already, by register_data"):
        catalog.register_data('seven', dict(train=dict(type='Digits', num_images=8)))
    catalog.register_json(own({'more': dict(val=dict(type='Digits'))}, tmp_path / 'more.yml'))
    assert catalog.list() == ['digits', 'seven', 'more'] and catalog.get('more') == dict(val=dict(type='Digits'))
    catalog.remove('seven')
    with pytest.raises(UnknownNameError, match="no data set 'seven'"):
        catalog.get('seven')


def test_custom_imports_register_in_every_process(own, tmp_path):
    """A config that names the module registers its sets wherever it is read."""
    (tmp_path / 'own_sets_of_a_test.py').write_text(
        'from mmssl.datasets import CATALOG\n'
        'CATALOG.register_data("eight", dict(train=dict(type="Digits", num_images=8)))')
    (tmp_path / 'config.py').write_text('custom_imports = dict(imports=["own_sets_of_a_test"])\n'
                                        'data = dict(train=dict(type="SingleViewDataset", pipeline=[], '
                                        'data_source=dict(type="Catalog", name="eight")))')
    assert len(build_dataset(load_config(tmp_path / 'config.py').data.train)) == 8


def test_what_is_wrong_is_named(own, tmp_path):

    def refuse(words, kind=ConfigError, **cfg):
        with pytest.raises(kind, match=words):
            build_dataset(dict(type='SingleViewDataset', data_source=dict(type='Catalog', **cfg), pipeline=[]))

    refuse(r"no data set 'cifar11'; did you mean 'cifar10'\? \(at data_source", name='cifar11')
    refuse(r"no split 'val' in the catalog \(mmssl\); .*test", name='cifar10', split='val')
    refuse("got name=None, split='train'; at hand are digits")
    refuse(
        r'no file data_batch_1.*\(cifar10, train in the catalog of mmssl; .*\(at data_source',
        AbsentFileError,
        name='cifar10')
    refuse("takes no argument 'num_image'.*did you mean 'num_images'", name='digits', num_image=3)
    for entries, words in ((['a'], 'is a dict of data sets by name'), ({
            'a': 3
    }, 'a dict of its splits'), ({
            'a': dict(train=dict(data_prefix='b'))
    }, "the split 'train' of a is the config")):
        path = own(entries)
        refuse(f'{path}: .*{words}', name='digits')
    path.write_text('a: [')
    refuse('catalog.yml cannot be read as .yml: ParserError', name='digits')


def test_absent_path():
    assert absent_path(dict(data_prefix=__file__, needs=['/nowhere/a', '/nowhere/b'])) == '/nowhere/a'
    assert absent_path(dict(data_prefix='s3://bucket/shards')) is None
    assert absent_path(dict(data_prefix='/nowhere/a.zip/train')) == '/nowhere/a.zip'
    assert absent_path(dict(data_prefix=__file__[:-4] + '*')) is None


def test_the_tool_lists_them(own, call_tool, tmp_path):
    own({'own': dict(train=dict(type='Digits', num_images=7))})
    lines = call_tool('tools/misc/list_datasets.py', '--count', cwd=tmp_path).stdout.splitlines()
    found = [line.split() for line in lines]
    assert found[0] == ['name', 'split', 'samples', 'from']
    assert ['digits', 'test', '360', 'mmssl'] in found and found[-1][:3] == ['own', 'train', '7']
    assert ['cifar10', 'train', 'absent:', 'data/cifar10', 'mmssl'] in found

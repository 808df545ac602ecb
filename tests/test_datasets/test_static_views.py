"""Static augmented data sets: the views of a training, whoever writes them, and read back image by image."""
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import build_dataset, build_datasource
from mmssl.datasets.data_sources import BrokenImageError
from mmssl.datasets.loader import KeyedDataset
from mmssl.datasets.shard_scan import index_shards
from mmssl.datasets.static_views import view_pipelines, write_static_views
from mmssl.utils.errors import ConfigError

VIEW = [
    dict(type='RandomResizedCrop', size=32),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),  # native
    dict(type='RandomPerspective'),  # torchvision's, which draws from a global generator
]
OTHER = [dict(type='Resize', size=16), dict(type='CenterCrop', size=16), dict(type='Solarization', p=0.5)]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def folder(photo_folder):
    return build_datasource(dict(type='ImageNet', data_prefix=str(photo_folder)))


def test_views_are_those_of_training_for_any_number_of_processes(folder, photo_folder, tmp_path):
    for workers in (0, 3):
        done = write_static_views(folder, [VIEW, OTHER], tmp_path / str(workers), 3, 5, seed=4, workers=workers)
        assert done == dict(images=10, written=10, classes=2)
    files = contents(tmp_path / '0')
    assert files == contents(tmp_path / '3') and len(files) == 10 * 4 + 1

    training = build_dataset(
        dict(type='MultiViewDataset', data_source=folder, num_views=[1, 1, 1], pipelines=[VIEW, OTHER, VIEW]))
    read = [build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path / '0'), view=v)) for v in range(4)]
    assert read[0].CLASSES == ('china', 'flower') and read[0].labels.tolist() == [0] * 5 + [1] * 5
    chosen = []
    for i, label in enumerate(read[0].labels):
        name = read[0].samples[i].replace('-0.jpg', '.jpg')
        idx = list(folder.samples).index(name)
        chosen.append(idx)
        assert folder.labels[idx] == label
        assert files[read[0].samples[i]] == (photo_folder / name).read_bytes()  # not compressed once more
        views = KeyedDataset(training, 4).__getitems__([(0, idx)])[0][0]['img']
        for v, view in enumerate(views, 1):
            np.testing.assert_array_equal(read[v].get_array(i), view)
    # drawn, not the first ones, and by the seed
    assert chosen != [*range(5), *range(12, 17)]
    write_static_views(folder, [OTHER], tmp_path / 'again', 1, 5, seed=5)
    again = build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path / 'again')))
    assert list(again.samples) != list(read[0].samples)


def test_goes_on_where_it_was(folder, tmp_path):
    arguments = folder, [OTHER], tmp_path / 'set', 2, 6
    write_static_views(*arguments)
    files = contents(tmp_path / 'set')
    lost = [name for name in files if name.endswith('-1.png')][:3]
    for name in lost:
        (tmp_path / 'set' / name).unlink()
    assert write_static_views(*arguments) == dict(images=12, written=3, classes=2)
    assert contents(tmp_path / 'set') == files
    with pytest.raises(ConfigError, match='holds a static set of seed 0, now 1'):
        write_static_views(*arguments, seed=1)
    with pytest.raises(ConfigError, match='holds a static set of pipelines'):
        write_static_views(folder, [VIEW], *arguments[2:])

    manifest = tmp_path / 'set/static_views.json'
    manifest.write_text(json.dumps(dict(json.loads(manifest.read_text()), complete=False)))
    with pytest.raises(ConfigError, match='not written to its end'):
        build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path / 'set')))
    manifest.unlink()  # a set of other origin
    source = dict(type='StaticViews', data_prefix=str(tmp_path / 'set'))
    assert len(build_datasource(dict(source, view=2, samples_per_class=4))) == 8
    with pytest.raises(ConfigError, match='samples_per_class=7, but the class china .* has 6'):
        build_datasource(dict(source, samples_per_class=7))
    with pytest.raises(ConfigError, match=r'-3\.\* is absent'):
        build_datasource(dict(source, view=3))
    (tmp_path / 'set' / lost[0]).unlink()
    with pytest.raises(ConfigError, match=lost[0].replace('.png', '')):  # for other views too: index i is one image
        build_datasource(dict(source, view=2))
    with pytest.raises(FileNotFoundError, match='sample_augmentations.py writes'):
        build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path)))


def test_images_in_memory(tmp_path):
    digits = build_datasource(dict(type='Digits', color_type='grayscale', num_images=30))
    assert write_static_views(digits, [[dict(type='Resize', size=12)]], tmp_path, 1)['images'] == 30
    for view, size in ((0, 8), (1, 12)):
        source = build_datasource(
            dict(type='StaticViews', data_prefix=str(tmp_path), view=view, color_type='grayscale'))
        assert len(source) == 30 and source.get_array(3).shape == (size, size, 1)
    originals = build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path), color_type='grayscale'))
    for i, name in enumerate(originals.samples):
        idx = int(name.split('/')[1].removesuffix('-0.png'))
        np.testing.assert_array_equal(originals.get_array(i), digits.get_array(idx))
        assert originals.labels[i] == digits.labels[idx]


def test_images_that_are_no_files_of_their_own(photo_folder, tmp_path):
    (tmp_path / 'shards').mkdir()
    with tarfile.open(tmp_path / 'shards/a.tar', 'w') as tar:
        tar.add(photo_folder / 'china/03.jpg', '03.jpg')
    index_shards(tmp_path / 'shards')
    shards = build_datasource(dict(type='Shards', data_prefix=str(tmp_path / 'shards')))
    write_static_views(shards, [OTHER], tmp_path / 'out', 1)
    original, = (tmp_path / 'out').rglob('*-0.jpg')
    assert original.read_bytes() == (photo_folder / 'china/03.jpg').read_bytes()


def test_without_classes_and_names_that_collide(photo_folder, tmp_path):
    shutil.copytree(photo_folder / 'china', tmp_path / 'in/a')
    Image.open(tmp_path / 'in/a/03.jpg').save(tmp_path / 'in/a/03.png')
    shutil.copy(tmp_path / 'in/a/00.jpg', tmp_path / 'in/a-0.jpg')
    source = build_datasource(dict(type='Folder', data_prefix=str(tmp_path / 'in')))
    assert write_static_views(source, [OTHER], tmp_path / 'out', 1, 2, quality=90)['images'] == 14
    read = [build_datasource(dict(type='StaticViews', data_prefix=str(tmp_path / 'out'), view=v)) for v in (0, 1)]
    assert (read[1].labels == -1).all() and len(read[1]) == 14
    assert all(name.endswith('.jpg') for name in read[1].samples)
    assert [n for n in read[0].samples if '03' in n] == ['a__03_4-0.jpg', 'a__03_5-0.png']
    assert 'a-0-0.jpg' in read[0].samples


@pytest.mark.parametrize('workers', [0, 2])
def test_errors(folder, photo_folder, tmp_path, workers):
    with pytest.raises(ConfigError, match='gives no image but Tensor'):
        write_static_views(folder, [[dict(type='ToTensor')]], tmp_path / 'a', workers=workers)
    for options in (dict(num_views=0), dict(images_per_class=-1), dict(quality=101)):
        with pytest.raises(ConfigError, match='1 or more'):
            write_static_views(folder, [OTHER], tmp_path / 'a', workers=workers, **options)
    shutil.copytree(photo_folder, tmp_path / 'broken')
    (tmp_path / 'broken/china/05.jpg').write_bytes(b'no image')
    broken = build_datasource(dict(type='ImageNet', data_prefix=str(tmp_path / 'broken')))
    with pytest.raises(BrokenImageError, match='05.jpg'):
        write_static_views(broken, [OTHER], tmp_path / 'b', workers=workers)


def test_pipelines_of_a_pretraining():
    tensors = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.], std=[1.])]
    multi = dict(type='MultiViewDataset', num_views=[1, 2], pipelines=[VIEW + tensors, OTHER], data_source={})
    assert view_pipelines(dict(type='RepeatDataset', times=2, dataset=multi)) == [VIEW, OTHER, OTHER]
    assert view_pipelines(dict(type='SingleViewDataset', pipeline=OTHER + tensors)) == [OTHER]
    with pytest.raises(ConfigError, match='neither pipelines nor a pipeline'):
        view_pipelines(dict(type='RelativeLocDataset'))

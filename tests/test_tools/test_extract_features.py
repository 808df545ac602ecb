"""Features in files: killed and resumed, in two processes, and taken by another tool."""
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features
from mmssl.evaluation.stored_features import files_digest, first_difference, load_features, store_features
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DATA = 'configs/benchmarks/classification/digits.py'


@pytest.fixture(scope='module')
def extract(tiny_files, call_tool):
    folder, _ = tiny_files

    def run(out, *arguments, **options):
        return call_tool('tools/extract_features.py', folder / 'tiny.py', '--checkpoint', folder / 'tiny.pth',
                         '--dataset-config', DATA, '--layers', 'stage2,pooled', '--pool-type', 'gem:3', '--splits',
                         'val', '--shard-size', 100, '--out-dir', out, '--cfg-options', 'data.samples_per_gpu=32',
                         *arguments, **options)

    return run


@pytest.fixture(scope='module')
def written(tiny_files, extract):
    extract(tiny_files[0] / 'one')
    return tiny_files[0] / 'one'


def test_files_hold_what_the_function_returns(tiny_files, written):
    _, model = tiny_files
    cfg = load_config(DATA)
    expected = extract_features(
        model, build_dataset(cfg.data.val), layers=('stage2', 'pooled'), img_norm_cfg=cfg.img_norm_cfg, pool_type='gem')
    found, settings = load_features(written, 'val')
    assert found['pooled'].flags.writeable  # in memory alone; torch warns of arrays that are not
    assert settings['shapes']['stage2'] == [360, 8] and settings['samples'] == 360 and len(settings['sha256']) == 64
    for layer in ('stage2', 'pooled'):
        np.testing.assert_allclose(found[layer], expected[layer], rtol=1e-4, atol=1e-5)
    assert (found.labels == expected.labels).all() and (found.index == np.arange(360)).all()
    assert len((written / 'val_files.txt').read_text().splitlines()) == 360
    assert sorted(p.name for p in written.iterdir()) == [
        'val.json', 'val_files.txt', 'val_index.npy', 'val_labels.npy', 'val_pooled.npy', 'val_stage2.npy'
    ]


def test_two_processes_write_the_same_bytes(tiny_files, written, extract):
    folder, _ = tiny_files
    extract(folder / 'two', processes=2)
    for path in written.glob('*.npy'):
        assert path.read_bytes() == (folder / 'two' / path.name).read_bytes(), path.name


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on(tiny_files, written, tmp_path, extract, monkeypatch):
    """Of four shards two are done when it is killed; the others alone are extracted afterwards."""
    from mmssl.evaluation import stored_features
    folder, model = tiny_files
    cfg = load_config(DATA, {'data.samples_per_gpu': 32})
    dataset, known = build_dataset(cfg.data.val), json.loads((written / 'val.json').read_text())
    settings = {
        key: known[key]
        for key in ('config', 'checkpoint', 'dataset_config', 'model', 'sha256', 'data', 'img_norm_cfg')
    }
    options = dict(
        shard_size=100, layers=('stage2', 'pooled'), batch_size=32, img_norm_cfg=cfg.img_norm_cfg, pool_type='gem:3')
    original, calls = stored_features.extract_alone, []

    def dying(model, dataset, part, **kwargs):
        calls.append(part)
        if len(calls) == 3:
            raise Killed
        return original(model, dataset, part, **kwargs)

    monkeypatch.setattr(stored_features, 'extract_alone', dying)
    with pytest.raises(Killed):
        store_features(model, dataset, tmp_path, 'val', settings, **options)
    with pytest.raises(FileNotFoundError, match='only unfinished ones'):
        load_features(tmp_path, 'val')
    with pytest.raises(ConfigError, match="pool_type is 'gem:3' there, 'average' here"):
        store_features(model, dataset, tmp_path, 'val', settings, **{**options, 'pool_type': 'average'})
    assert store_features(model, dataset, tmp_path, 'val', settings, **options) == 160
    assert calls[3:] == [range(200, 300), range(300, 360)]
    for path in written.glob('*.npy'):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert store_features(model, dataset, tmp_path, 'val', settings, **options) == 0
    done = extract(tmp_path, 'data.samples_per_gpu=16', check=False)
    assert done.returncode and 'batch_size is 32 there, 16 here' in done.stderr and 'Traceback' not in done.stderr


def test_another_tool_takes_them(tiny_files, run_tool, call_tool, tmp_path):
    folder, _ = tiny_files
    data = tmp_path / 'data.py'
    data.write_text(f"_base_ = '{ROOT / DATA}'\n"
                    'data = dict(train=dict(data_source=dict(num_images=200)))\n')
    common = [folder / 'tiny.py', '--checkpoint', folder / 'tiny.pth', '--dataset-config', data]
    run_tool('tools/extract_features.py', *common, '--out-dir', tmp_path / 'features')
    knn = ['tools/benchmarks/classification/knn_imagenet/test_knn.py', *common, '--num-knn', 5]
    call_tool(*knn, '--out', tmp_path / 'a.json')
    done = call_tool(*knn, '--features', tmp_path / 'features', '--out', tmp_path / 'b.json')
    assert 'images from' in done.stdout + done.stderr
    assert json.loads((tmp_path / 'a.json').read_text()) == json.loads((tmp_path / 'b.json').read_text())
    done = call_tool(*knn, '--features', tmp_path / 'features', '--layers', 'stage1', check=False)
    assert 'has no layer stage1 of train; there are pooled' in done.stderr
    for option, message in (('model.backbone.base_channels=8', 'model.backbone.base_channels is 4 there, 8 here'),
                            ('data.train.data_source.color_type=color',
                             "data.data_source.color_type is 'grayscale' there, 'color' here")):
        done = call_tool(*knn, '--features', tmp_path / 'features', '--cfg-options', option, check=False)
        assert f'other features of train: {message}' in done.stderr and 'Traceback' not in done.stderr


def test_other_images_of_equal_number_are_told(photo_folder, tmp_path):
    sets = []
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.jpg').symlink_to(photo_folder / 'china/00.jpg')
        source = dict(type='Folder', data_prefix=str(tmp_path / name))
        sets.append(build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[])))
    one, other = (dict(files=files_digest(dataset), data=dict(x=[1])) for dataset in sets)
    assert first_difference(one, other, other) == 'the names of the images are others'
    assert first_difference(one, dict(one), one) is None
    assert first_difference(dict(a=dict(b=1, c=2)), dict(a=dict(b=1)), ['a']) == 'a.c is 2 there, None here'


def test_bad_input(tiny_files, call_tool, tmp_path):
    folder, _ = tiny_files
    done = call_tool(
        'tools/extract_features.py', folder / 'tiny.py', '--out-dir', tmp_path, '--pool-type', 'gem:x', check=False)
    assert done.returncode == 2 and "'gem:x' is no pooling" in done.stderr


PHOTOS = """
norm = dict(type='SingleViewDataset', pipeline=[dict(type='Resize', size=(16, 16))], prefetch=True)
img_norm_cfg = dict(mean=[0.4], std=[0.3])
data = dict(samples_per_gpu=5, workers_per_gpu=0, **{{
    split: dict(norm, data_source=dict(type='ImageNet', data_prefix={0!r}, color_type='grayscale'))
    for split in ('train', 'val')}})
"""


def test_broken_images(tiny_files, photo_folder, tmp_path, call_tool, warnings_of_data):
    """They are left out of files and figures, whose rows and names stay those of each other, and are listed."""
    folder, model = tiny_files
    names = [os.fsencode(tmp_path / "it's broken/china") + name for name in (b'/03.jpg', b'/k\xe4fer.jpg')]
    for number, name in enumerate(('good', "it's broken")):
        shutil.copytree(photo_folder, tmp_path / name)
        (tmp_path / name / 'china/03.jpg').unlink()
        for path in names[:2 * number]:
            Path(os.fsdecode(path)).write_bytes(b'no image')
        (tmp_path / f'{number}.py').write_text(PHOTOS.format(str(tmp_path / name)))
    good, bad = (load_config(tmp_path / f'{number}.py') for number in (0, 1))
    options = dict(layers=('pooled', ), batch_size=5, img_norm_cfg=good.img_norm_cfg)
    # 4 samples a shard: one of them holds nothing but a broken image
    dataset = build_dataset(bad.data.val)
    assert store_features(model, torch.utils.data.ConcatDataset([dataset]), tmp_path / 'a', 'val', {}, 3,
                          **options) == 23
    found, settings = load_features(tmp_path / 'a', 'val')
    expected = extract_features(model, build_dataset(good.data.val), **options)
    np.testing.assert_allclose(found['pooled'], expected['pooled'], rtol=1e-4, atol=1e-5)
    assert (found.labels == expected.labels).all() and settings['shapes']['pooled'] == [23, 32]
    listed = (tmp_path / 'a/val_files.txt').read_bytes().splitlines()
    assert listed == [os.fsencode(dataset.data_source.get_filename(i)) for i in found.index]
    broken = json.loads((tmp_path / 'a/val_broken.json').read_text())
    assert [os.fsencode(entry['file']) for entry in broken] == names
    assert [w for w in warnings_of_data if w.startswith('2 of 25 images cannot be read')]
    # a tool: the same figures, and a list beside them
    knn = 'tools/benchmarks/classification/knn_imagenet/test_knn.py', folder / 'tiny.py', '--num-knn', 5
    for number in (0, 1):
        call_tool(*knn, '--checkpoint', folder / 'tiny.pth', '--dataset-config', tmp_path / f'{number}.py', '--out',
                  tmp_path / f'{number}.json')
    assert json.loads((tmp_path / '0.json').read_text()) == json.loads((tmp_path / '1.json').read_text())
    assert json.loads((tmp_path / '1_val_broken.json').read_text()) == broken
    assert not (tmp_path / '0_val_broken.json').exists()
    done = call_tool(*knn, '--dataset-config', tmp_path / '1.py', '--broken', 'stop', check=False)
    assert 'error: cannot read the image' in done.stderr and 'Traceback' not in done.stderr
    # a name with a line break cannot stand in a list
    Path(os.fsdecode(names[0])).rename(tmp_path / "it's broken/china/a\nb.jpg")
    with pytest.raises(ConfigError, match=r'china/a\\nb.jpg: a file name with a line break'):
        store_features(model, build_dataset(bad.data.val), tmp_path / 'b', 'val', {}, **options)


def test_other_content_under_the_same_name(photo_folder, tmp_path):
    """The digest of the files changes with a size, not only with a name."""
    shutil.copytree(photo_folder, tmp_path / 'photos')
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Folder', data_prefix=str(tmp_path / 'photos')),
            pipeline=[],
            prefetch=True))
    before = files_digest(dataset)
    assert files_digest(dataset) == before
    a, b = sorted((tmp_path / 'photos').rglob('*.jpg'))[:2]
    shutil.copy(a, b)
    assert files_digest(dataset) != before

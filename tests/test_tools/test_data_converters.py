"""Converters of data for the benchmarks, as a user calls them, on photographs in the layouts of the data sets."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets.data_sources import VOC, ImageNet
from mmssl.evaluation import svm

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/data_converters'


@pytest.fixture
def voc(tmp_path, photographs):
    """24 images; class c is in images i with i % 6 == c % 6, and image 0 is difficult for all."""
    root = tmp_path / 'VOCdevkit/VOC2007'
    (root / 'JPEGImages').mkdir(parents=True)
    (root / 'ImageSets/Main').mkdir(parents=True)
    for i in range(48):
        Image.fromarray(photographs[i % 2][i:i + 8, i:i + 8]).save(root / f'JPEGImages/{i:06d}.jpg')
    for split, rows in (('trainval', range(24)), ('test', range(24, 48))):
        (root / f'ImageSets/Main/{split}.txt').write_text(''.join(f'{i:06d}\n' for i in rows))
        for c, name in enumerate(VOC.CLASSES):
            lines = [f'{i:06d} {0 if i == 0 else 1 if i % 6 == c % 6 else -1:2d}\n' for i in rows]
            (root / f'ImageSets/Main/{name}_{split}.txt').write_text(''.join(lines))
    return root


@pytest.mark.long
def test_voc(voc, tmp_path):
    """The script as documented, twice: arrays as the data source has them; without the images a clear error."""
    env = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'K_VALUES': '1'}
    script = ['bash', ROOT / FOLDER / 'prepare_voc07_cls.sh']
    for _ in range(2):
        done = subprocess.run([*script, tmp_path], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / 'data/VOCdevkit').resolve() == voc.parent.resolve()
    assert (voc / 'Lists/trainvaltest.txt').read_text().split() == [f'{i:06d}.jpg' for i in range(48)]
    source = VOC(str(voc))
    targets = np.load(voc / 'SVMLabels/trainval_targets.npy')
    np.testing.assert_array_equal(targets, source.targets)
    assert (targets[0] == -1).all() and len(list((voc / 'SVMLabels/low_shot').iterdir())) == 5
    assert np.load(voc / 'SVMLabels/test_images.npy')[0] == str(voc / 'JPEGImages/000024.jpg')
    assert not (voc / 'SVMLabels/val_targets.npy').exists()

    done = subprocess.run([*script, tmp_path / 'empty'], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and 'VOC2007/JPEGImages' in done.stderr and '--download' in done.stderr
    done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and 'DATA_ROOT' in done.stdout


def test_low_shot_samples(tmp_path, run_tool, call_tool):
    """Files and the draws of the SVM without files are the same thing."""
    from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    targets = (y[:, None] == np.arange(3)).astype(np.int8)
    np.save(tmp_path / 'targets.npy', targets[:300])
    tool = f'{FOLDER}/create_voc_low_shot_challenge_samples.py'
    run_tool(tool, '--targets_data_file', tmp_path / 'targets.npy', '--output_path', tmp_path / 'out', '--k_values',
             '1,4', '--num_samples', 2, '--seed', 3)
    assert len(list((tmp_path / 'out').iterdir())) == 4
    sample = np.load(tmp_path / 'out/train_targets_sample2_k4.npy')
    assert ((sample == 1).sum(0) == 4).all() and ((sample == 0).sum(0) == 8).all()
    arrays = x[:300], targets[:300], x[300:600], targets[300:600]
    expected = svm.run_low_shot(*arrays, k=(1, 4), draws=2, seed=3, n_jobs=1)
    found = svm.run_low_shot(
        *arrays,
        k=(1, 4),
        draws=2,
        n_jobs=1,
        samples=lambda k, draw: np.load(tmp_path / f'out/train_targets_sample{draw + 1}_k{k}.npy'))
    assert found == expected
    common = ['--targets-data-file', tmp_path / 'targets.npy', '--output-path', tmp_path / 'no']
    done = call_tool(tool, *common, '--k-values', '64', check=False)
    assert done.returncode == 1 and 'k=64: class 0 has' in done.stderr and not (tmp_path / 'no').exists()
    done = call_tool(tool, '--targets-data-file', tmp_path / 'none.npy', '--output-path', tmp_path / 'no', check=False)
    assert done.returncode == 1 and 'there is no' in done.stderr


def test_imagenet_subset(tmp_path, photographs, run_tool, call_tool):
    root = tmp_path / 'train'
    for wnid in ('n02', 'n01', 'n03'):
        (root / wnid).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(photographs[0][:8, :8]).save(root / f'{wnid}/{wnid}_{i}.JPEG')
    subset = tmp_path / '1percent.txt'
    subset.write_text('n02_1.JPEG\nn01_0.JPEG\nn03/n03_1.JPEG\n')
    tool, out = f'{FOLDER}/convert_imagenet_subsets.py', tmp_path / 'meta/train_1percent.txt'
    run_tool(tool, subset, root, '--out', out, '--links', tmp_path / 'links')
    assert out.read_text() == 'n02/n02_1.JPEG 1\nn01/n01_0.JPEG 0\nn03/n03_1.JPEG 2\n'
    linked = ImageNet(str(tmp_path / 'links'))
    assert len(linked) == 3 and linked.get_array(0).shape == (8, 8, 3)
    for line, words in (('n04_0.JPEG', 'name no class folder'), ('n02_1.JPEG', 'are there twice'), ('n02_7.JPEG',
                                                                                                    'have no image')):
        subset.write_text(f'n02_1.JPEG\n{line}\n')
        done = call_tool(tool, subset, root, '--out', tmp_path / 'no.txt', check=False)
        assert done.returncode == 1 and f'1 of 2 lines {words}' in done.stderr and not (tmp_path / 'no.txt').exists()


def test_inaturalist(tmp_path, photographs, run_tool, call_tool):
    root = tmp_path / 'train_val2018'
    (root / 'Aves/7').mkdir(parents=True)
    content = dict(categories=[dict(id=7), dict(id=3)], images=[], annotations=[])
    for i in range(3):
        Image.fromarray(photographs[0][:8, :8]).save(root / f'Aves/7/{i}.jpg')
        content['images'].append(dict(id=i, file_name=f'train_val2018/Aves/7/{i}.jpg'))
        content['annotations'].append(dict(image_id=i, category_id=7 if i else 3))
    annotations = tmp_path / 'train2018.json'
    annotations.write_text(json.dumps(content))
    tool = f'{FOLDER}/convert_inaturalist.py'
    run_tool(tool, annotations, '--images', root, '--out', tmp_path / 'meta')
    assert (tmp_path / 'meta/train.txt').read_text() == 'Aves/7/0.jpg 0\nAves/7/1.jpg 1\nAves/7/2.jpg 1\n'
    source = ImageNet(str(root), ann_file=str(tmp_path / 'meta/train.txt'))
    assert source.labels.tolist() == [0, 1, 1] and source.get_array(2).shape == (8, 8, 3)
    (root / 'Aves/7/2.jpg').unlink()
    done = call_tool(tool, annotations, '--images', root, '--out', tmp_path / 'no', check=False)
    assert done.returncode == 1 and '1 of 3 images are not in' in done.stderr and not (tmp_path / 'no').exists()
    content['annotations'].pop()
    annotations.write_text(json.dumps(content))
    done = call_tool(tool, annotations, '--images', root, '--out', tmp_path / 'no', check=False)
    assert done.returncode == 1 and '1 of 3 images have no annotation' in done.stderr
    annotations.write_text('{')
    done = call_tool(tool, annotations, '--images', root, '--out', tmp_path / 'no', check=False)
    assert done.returncode == 1 and 'is no JSON file' in done.stderr


def test_permutations(tmp_path, run_tool, call_tool):
    """The file holds what the step makes itself; its distances are told, those of a published file too."""
    from mmssl.datasets.permutations import choose_permutations
    tool, out = f'{FOLDER}/make_permutations.py', tmp_path / 'permutations.npy'
    done = run_tool(tool, '--number', 30, '--patches', 4, '--rule', 'max-min', '--seed', 2, '--out', out, check=False)
    assert done.returncode == 1 and done.stderr.startswith('error: number must be 1 to 24') and not out.exists()
    done = call_tool(tool, '--number', 20, '--patches', 4, '--rule', 'max-min', '--seed', 2, '--out', out)
    chosen = np.load(out)
    np.testing.assert_array_equal(chosen, choose_permutations(20, 4, 'max-min', 2))
    assert 'minimum 2, mean 3.' in done.stdout and '20 permutations of 4 patches' in done.stdout
    np.save(tmp_path / 'from1.npy', chosen + 1)
    again = call_tool(tool, '--check', tmp_path / 'from1.npy')
    assert again.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]

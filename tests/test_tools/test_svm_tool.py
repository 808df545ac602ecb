"""The SVM tool and its scripts, as a user calls them: pairs of digits in the layout of VOC 2007, and single digits."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, svm
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/benchmarks/classification/svm_voc07'
CLASSES = ['aeroplane', 'bicycle', 'bird']
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""
DATA = """
img_norm_cfg = dict(mean=[0.3], std=[0.35])
source = dict(type='VOC', data_prefix='{}', classes={}, color_type='grayscale')
single = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=0,
    train=dict(single, data_source=dict(source, split='trainval')),
    val=dict(single, data_source=dict(source, split='test')))
"""
LOW_SHOT = ('--low-shot', 1, 2, '--draws', 2, '--pool-type', 'average', '--n-jobs', 1)


def write_voc(root):
    """Digits 0, 1 and 2 are the classes; every seventh image of a class is said to be difficult."""
    digits = load_digits()
    pairs = np.random.default_rng(0).choice(np.flatnonzero(digits.target < 4), (150, 2))
    (root / 'JPEGImages').mkdir(parents=True)
    (root / 'ImageSets/Main').mkdir(parents=True)
    for i, pair in enumerate(pairs):
        image = np.hstack([digits.images[j] for j in pair]) * 15
        Image.fromarray(image.astype(np.uint8)).save(root / f'JPEGImages/{i:06d}.jpg', quality=95)
    for split, rows in (('trainval', range(90)), ('test', range(90, 150))):
        for c, name in enumerate(CLASSES):
            there = [c in digits.target[pairs[i]] for i in rows]
            lines = [f'{i:06d} {(0 if i % 7 == 0 else 1) if t else -1:2d}\n' for i, t in zip(rows, there)]
            (root / f'ImageSets/Main/{name}_{split}.txt').write_text(''.join(lines))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder of configs and a checkpoint, and the features and targets that they must give."""
    folder = tmp_path_factory.mktemp('svm')
    write_voc(folder / 'VOC2007')
    (folder / 'configs').mkdir()
    (folder / 'configs/tiny.py').write_text(MODEL)
    (folder / 'data.py').write_text(DATA.format(folder / 'VOC2007', CLASSES))
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'configs/tiny.py').model)
    model.init_weights()
    (folder / 'work_dirs/tiny').mkdir(parents=True)
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'work_dirs/tiny/epoch_3.pth')
    cfg = load_config(folder / 'data.py')
    arrays = []
    for config in (cfg.data.train, cfg.data.val):
        dataset = build_dataset(config)
        found = extract_features(model, dataset, layers=('stage4', ), img_norm_cfg=cfg.img_norm_cfg)
        arrays += [found['stage4'], dataset.data_source.targets]
    return folder, arrays


@pytest.fixture(scope='module')
def one_process(files, run_tool):
    folder, _ = files
    run_tool(f'{FOLDER}/test_svm.py', folder / 'configs/tiny.py', '--checkpoint', folder / 'work_dirs/tiny/epoch_3.pth',
             '--dataset-config', folder / 'data.py', '--layers', 'feat4', 'feat5', *LOW_SHOT, '--out',
             folder / 'one.json')
    return json.loads((folder / 'one.json').read_text())


def test_figures_are_those_of_the_functions(files, one_process):
    _, arrays = files
    found = one_process['layers']['stage4']
    expected, low_shot = svm.run(*arrays), svm.run_low_shot(*arrays, k=(1, 2), draws=2)
    assert found['mAP'] == pytest.approx(expected['mAP'], abs=0.01)
    assert found['AP'] == pytest.approx(expected['AP'], abs=0.01) and found['num_fits'] == expected['num_fits']
    assert found['low_shot']['k2']['mean'] == pytest.approx(low_shot['k2']['mean'], abs=0.01)
    assert set(one_process['layers']) == {'stage3', 'stage4'}
    best = max(one_process['layers'].items(), key=lambda item: item[1]['mAP'])[0]
    assert one_process['best_layer'] == best and found['mAP'] > 0.5


def test_epoch_script_on_two_processes(files, one_process, free_port):
    """SELFSUP_CONFIG EPOCH FEATURE_LIST, from another folder than the clone; the same bits as one process."""
    folder, _ = files
    env = {**os.environ, 'GPUS': '2', 'PORT': str(free_port()), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    command = ['bash', ROOT / FOLDER / 'dist_test_svm_epoch.sh', 'configs/tiny.py', 3, 'feat4 feat5',
               '--dataset-config', 'data.py', *LOW_SHOT, '--out', 'two.json']  # yapf: disable
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    two = json.loads((folder / 'two.json').read_text())
    assert two['layers'] == one_process['layers']
    assert 'best layer: ' in done.stdout + done.stderr


def test_draws_from_files(files, call_tool, tmp_path, one_process):
    """Files with the draws of the same seed give the same figures; a missing one is named."""
    folder, arrays = files
    for k in (1, 2):
        for draw in range(2):
            drawn = svm.draw_samples(arrays[1], k, draw, 0, shared=False, classes=np.arange(3))
            np.save(tmp_path / f'train_targets_sample{draw + 1}_k{k}.npy', drawn)
    common = [f'{FOLDER}/test_svm.py', folder / 'configs/tiny.py', '--checkpoint',
              folder / 'work_dirs/tiny/epoch_3.pth', '--dataset-config', folder / 'data.py', '--layers', 'feat5',
              *LOW_SHOT, '--samples', tmp_path]  # yapf: disable
    call_tool(*common, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())['layers']['stage4']['low_shot']
    assert found == one_process['layers']['stage4']['low_shot']
    (tmp_path / 'train_targets_sample2_k1.npy').unlink()
    done = call_tool(*common, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'there is no file train_targets_sample2_k1.npy' in done.stderr


def test_low_shot_alone(files, call_tool, tmp_path, one_process):
    """On a subset, as the config of Places205 has it: without the SVMs on all images."""
    folder, _ = files
    (tmp_path / 'data.py').write_text(
        f'_base_ = {str(ROOT / "configs/benchmarks/classification/digits.py")!r}\n'
        "data = dict(train=dict(_delete_=True, type='ClassBalancedSubset', per_class=5, dataset={{_base_.data.train}}))"
    )
    common = [f'{FOLDER}/test_svm.py', folder / 'configs/tiny.py', folder / 'work_dirs/tiny/epoch_3.pth',
              '--dataset-config', tmp_path / 'data.py', '--layers', 'feat5', '--no-full', '--cfg-options',
              'data.val.data_source.num_images=50', '--out', tmp_path / 'out.json']  # yapf: disable
    done = call_tool(*common, '--pool-type', 'stage4=2s1', '--low-shot', 1, 4, '--draws', 2, '--n-jobs', 1)
    found = json.loads((tmp_path / 'out.json').read_text())['layers']['stage4']
    assert set(found) == {'low_shot'} and 'best layer: stage4, k=4, mAP' in done.stdout + done.stderr
    assert found['low_shot']['k4']['mean'] > found['low_shot']['k1']['mean'] > 0.2
    done = call_tool(*common, check=False)
    assert done.returncode == 1 and '--no-full leaves nothing to do without --low-shot' in done.stderr


def test_images_with_labels(files, call_tool, tmp_path):
    """Any data set with a class an image; accuracy comes besides mAP. Too many shots are refused."""
    folder, _ = files
    common = [f'{FOLDER}/test_svm.py', folder / 'configs/tiny.py', '--checkpoint',
              folder / 'work_dirs/tiny/epoch_3.pth', '--dataset-config', 'configs/benchmarks/classification/digits.py',
              '--layers', 'feat5', '--pool-type', 'average', '--cfg-options', 'data.train.data_source.num_images=200',
              'data.val.data_source.num_images=100']  # yapf: disable
    done = call_tool(*common, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())['layers']['stage4']
    assert 0.3 < found['accuracy'] < 1 and 'accuracy' in done.stdout + done.stderr
    done = call_tool(*common, '--low-shot', 150, check=False)
    assert done.returncode == 1 and 'SVMs in' not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: --low-shot 150: the smallest class of data.train has ')
    done = call_tool(*common, '--low-shot', '--costs', 1, '--draws', 1, '--out', tmp_path / 'out.json')
    assert 'positive images; left out: 16, 32, 64, 96' in done.stdout + done.stderr
    found = json.loads((tmp_path / 'out.json').read_text())['layers']['stage4']['low_shot']
    assert 'k8' in found and 'k16' not in found


def test_wrong_calls(files, run_tool, call_tool):
    folder, _ = files
    for kind, words in (('dist', 'SELFSUP_CONFIG'), ('slurm', 'PARTITION JOB_NAME SELFSUP_CONFIG')):
        for what in ('pretrain', 'epoch'):
            done = run_tool(f'{FOLDER}/{kind}_test_svm_{what}.sh', check=False)
            assert done.returncode == 2 and words in done.stdout
    done = call_tool(f'{FOLDER}/test_svm.py', folder / 'configs/tiny.py', '--dataset-config', folder / 'data.py',
                     '--cfg-options', 'data.train.data_source.data_prefix=/nowhere', check=False)  # yapf: disable
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert '/nowhere/ImageSets/Main/aeroplane_trainval.txt' in done.stderr


def test_separate_steps(files, one_process, run_tool, tmp_path):
    """Extract, train with folds, test, low-shot, aggregate: the figures of the one tool, as in MMSelfSup."""
    folder, _ = files
    run_tool(f'{FOLDER}/extract.py', folder / 'configs/tiny.py', '--checkpoint',
             folder / 'work_dirs/tiny/epoch_3.pth', '--dataset-config', folder / 'data.py', '--layer-ind', 'feat5',
             '--pool-type', 'average', '--work-dir', tmp_path)  # yapf: disable
    expected = one_process['layers']['stage4']
    done = run_tool(f'{FOLDER}/tools/eval_svm_full.sh', tmp_path, 'feat5', env=dict(PYTHON=sys.executable))
    assert f'Mean AP: {100 * expected["mAP"]:.2f}' in done.stdout
    np.testing.assert_allclose(np.load(tmp_path / 'svm/voc07_feat5/test_ap.npy'), expected['AP'], rtol=1e-12)
    again = run_tool(f'{FOLDER}/tools/eval_svm_full.sh', tmp_path, env=dict(PYTHON=sys.executable))
    assert '0 SVMs trained' in again.stdout and '9 SVMs trained' in done.stdout


def test_low_shot_steps(files, capsys, monkeypatch, tmp_path):
    """The functions behind train_svm_low_shot.py, test_svm_low_shot.py and aggregate_low_shot_svm_stats.py."""
    from mmssl.evaluation import svm_steps
    _, (x, y, z, truth) = files
    for name, array in dict(x=x, y=y, z=z, truth=truth).items():
        np.save(tmp_path / f'{name}.npy', array)
    features, targets = svm_steps.read_arrays(tmp_path / 'x.npy', tmp_path / 'y.npy')
    for k in (1, 2):
        for draw in (1, 2):
            drawn = svm.draw_samples(targets, k, draw - 1)
            assert svm_steps.train_low_shot(features, drawn, tmp_path, svm.COSTS, f'sample{draw}_k{k}', n_jobs=1) == 9
    features, targets = svm_steps.read_arrays(tmp_path / 'z.npy', tmp_path / 'truth.npy')
    svm_steps.score_low_shot(features, targets, tmp_path, svm.COSTS, (1, 2), (1, 2))
    found = svm_steps.aggregate(tmp_path, (1, 2), (1, 2))
    expected = svm.run_low_shot(x, y, z, truth, k=(1, 2), draws=2, n_jobs=1)
    for k in (1, 2):
        for name in ('mean', 'min', 'max', 'std'):
            assert found[k][name] == pytest.approx(expected[f'k{k}'][name], abs=1e-12)
    assert np.load(tmp_path / 'test_ap_mean.npy').shape == (2, 3)
    with pytest.raises(FileNotFoundError, match='cls0_cost10_sample3_k1.npz: the SVM of class 0 with cost 10'):
        svm_steps.score_low_shot(features, targets, tmp_path, (10., ), (1, ), (3, ))

"""The small-models evaluation as a user runs it, on digits."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, instance_discrimination, view_statistics
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
TOOLS = 'tools/benchmarks/small_models'
STATIC = 'configs/benchmarks/small_models/static_digits.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels={channels}, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Configs and checkpoints of a tiny model for grey and for coloured images."""
    folder = tmp_path_factory.mktemp('small')
    for name, channels in (('grey', 1), ('colour', 3)):
        (folder / f'{name}.py').write_text(MODEL.format(channels=channels))
        torch.manual_seed(7)
        model = build_algorithm(load_config(folder / f'{name}.py').model)
        model.init_weights()
        save_checkpoint(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder


@pytest.fixture(scope='module')
def static(folder, run_tool):
    """A static set of digits, and the features of its originals and views."""
    arguments = ('tools/data_converters/sample_augmentations.py', 'configs/benchmarks/classification/digits.py',
                 folder / 'static', '--config', 'configs/demo/simclr_digits.py', '--images-per-class', 12, '-j', 2)
    assert '120 images in 10 classes, with 2 views each; 120 written' in run_tool(*arguments).stdout
    done = run_tool(*arguments, '--seed', 3, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr and 'seed 0, now 3' in done.stderr

    cfg = load_config(STATIC)
    model = build_algorithm(load_config(folder / 'grey.py').model)
    model.load_state_dict(torch.load(folder / 'grey.pth')['state_dict'])
    features = []
    for section in ('original', 'view1', 'view2'):
        dataset = dict(cfg.data[section], data_source=dict(cfg.data[section].data_source))
        dataset['data_source']['data_prefix'] = str(folder / 'static')
        features.append(extract_features(model, build_dataset(dataset), img_norm_cfg=cfg.img_norm_cfg))
    return features


def arguments(folder):
    return [
        folder / 'grey.py', '--checkpoint', folder / 'grey.pth', '--dataset-config', STATIC, '--data-root',
        folder / 'static'
    ]


def test_view_statistics(folder, static, run_tool):
    original, *views = static
    done = run_tool(f'{TOOLS}/view_statistics.py', *arguments(folder), '--out', folder / 'statistics.json', '--layers',
                    'pooled', 'pixels')
    found = json.loads((folder / 'statistics.json').read_text())
    expected = view_statistics.run(original['pooled'], [view['pooled'] for view in views], original.labels)
    assert found['pooled'] == pytest.approx(expected, rel=1e-4) and expected['num_classes'] == 10
    line = next(line for line in (done.stdout + done.stderr).splitlines() if ' pooled ' in line)
    assert line.split()[-6:] == [f'{value:.4f}' for value in list(found['pooled'].values())[:6]]
    assert found['pixels']['d_sd_alignment'] > found['pooled']['d_sd_alignment']


def test_instance_discrimination(folder, static, run_tool):
    original, *views = static
    found = {}
    for mode, negatives in (('d-sd', 'views'), ('sd-sd', 'queries')):
        done = run_tool(f'{TOOLS}/instance_discrimination.py', *arguments(folder), '--mode', mode, '--negatives',
                        negatives, '--topk', 3, '--out', folder / 'accuracy.json')
        found = json.loads((folder / 'accuracy.json').read_text())
        expected = instance_discrimination.run(original['pooled'], [view['pooled'] for view in views], mode, (1, 2, 3),
                                               negatives)
        assert found == pytest.approx(expected, abs=1 / 120) and 0 < found['top1'] < found['top3'] < 1
        line = f'Mode: {mode}; Negatives: {negatives}; Layer: pooled; Top1-3: [{100 * found["top1"]:.3f}, '
        assert f'Masked: normal; {line}' in done.stdout + done.stderr


def test_two_processes_equal_one(folder, static, run_tool):
    """And samples per class."""
    env = {**os.environ, 'PORT': '29641', 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    command = [*map(str, arguments(folder)), '-s', '7', '--out']
    subprocess.run(
        ['bash', ROOT / 'tools/dist_run.sh', '2', f'{TOOLS}/view_statistics.py', *command, folder / 'two.json'],
        cwd=ROOT,
        env=env,
        check=True,
        capture_output=True)
    run_tool(f'{TOOLS}/view_statistics.py', *command, folder / 'one.json')
    found = [json.loads((folder / f'{name}.json').read_text()) for name in ('one', 'two')]
    assert found[0]['num_images'] == 70
    assert found[0] == found[1]


def test_errors_of_users_are_one_line(folder, static, run_tool):
    for words, tool, options in [
        ('the class 0 of .* has 12 images', 'view_statistics', ['-s', 13]),
        ('k must be 1 to 238, the number of negatives', 'instance_discrimination', ['--topk', 500]),
    ]:
        done = run_tool(f'{TOOLS}/{tool}.py', *arguments(folder), *options, check=False)
        assert done.returncode == 1 and 'Traceback' not in done.stderr
        assert re.search(words, done.stderr), done.stderr[-300:]

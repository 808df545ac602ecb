"""The kNN tool and its shell scripts, as a user calls them."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, knn
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/benchmarks/classification/knn_imagenet'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""
DATA = """
img_norm_cfg = dict(mean=[0.3], std=[0.35])
single = dict(type='SingleViewDataset', pipeline=[], prefetch=True)
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=0,
    train=dict(single, data_source=dict(type='Digits', color_type='grayscale', num_images=101)),
    val=dict(single, data_source=dict(type='Digits', color_type='grayscale', num_images=47, test_mode=True)))
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Configs, a checkpoint of the whole model and one of its backbone, and the metrics that they must give."""
    folder = tmp_path_factory.mktemp('knn')
    (folder / 'configs').mkdir()
    (folder / 'configs/tiny.py').write_text(MODEL)
    (folder / 'data.py').write_text(DATA)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'configs/tiny.py').model)
    model.init_weights()
    (folder / 'work_dirs/tiny').mkdir(parents=True)
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'work_dirs/tiny/epoch_3.pth')
    save_checkpoint(dict(state_dict=model.backbone.state_dict()), folder / 'backbone.pth')
    save_checkpoint(dict(state_dict=model.neck.state_dict(prefix='neck.')), folder / 'neck.pth')
    cfg = load_config(folder / 'data.py')
    found = [
        extract_features(model, build_dataset(d), img_norm_cfg=cfg.img_norm_cfg) for d in (cfg.data.train, cfg.data.val)
    ]
    arguments = found[0]['pooled'], found[0].labels, found[1]['pooled'], found[1].labels
    return folder, knn.run(*arguments, k=(3, 10), temperature=(0.07, 0.2))


def test_backbone_weights_and_a_false_switch(files, run_tool):
    """`--use-cuda False` is false; elsewhere it parses as True. Options on data reach the data set."""
    folder, expected = files
    done = run_tool(f'{FOLDER}/test_knn.py', folder / 'configs/tiny.py', '--checkpoint', folder / 'backbone.pth',
                    '--dataset-config', folder / 'data.py', '--num-knn', 3, 10, '--temperature', 0.07, 0.2,
                    '--use-cuda', 'False', '--work-dir', folder / 'log', '--out', folder / 'out.json', '--cfg-options',
                    'data.samples_per_gpu=40')
    assert json.loads((folder / 'out.json').read_text()) == pytest.approx(expected, abs=1 / 47)
    log = next((folder / 'log').glob('knn_*.log')).read_text()
    assert f"10-NN, T=0.2: top1 {100 * expected['k10_T0.2_top1']:.2f} %" in log + done.stdout
    assert 'weights of the backbone alone' in log and 'RANDOM' not in log


@pytest.mark.long
def test_epoch_script_on_two_processes(files, tmp_path, free_port):
    """SELFSUP_CONFIG EPOCH, over torchrun and gloo on a machine without a GPU."""
    folder, expected = files
    env = {**os.environ, 'GPUS': '2', 'PORT': str(free_port()), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    # from another folder than the clone, with a relative path, from which that of the checkpoints follows
    done = subprocess.run([
        'bash', ROOT / FOLDER / 'dist_test_knn_epoch.sh', 'configs/tiny.py', '3', '--dataset-config', 'data.py',
        '--num-knn', '3', '10', '--temperature', '0.07', '0.2', '--out', tmp_path / 'out.json'
    ],
                          cwd=folder,
                          env=env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / 'out.json').read_text()) == pytest.approx(expected, abs=1 / 47)


def test_weights_that_lack_the_backbone(files, call_tool):
    """An untrained network evaluated as if trained is a known complaint."""
    folder, _ = files
    done = call_tool(
        f'{FOLDER}/test_knn.py',
        folder / 'configs/tiny.py',
        '--checkpoint',
        folder / 'neck.pth',
        '--dataset-config',
        folder / 'data.py',
        check=False)
    assert done.returncode != 0 and 'Traceback' not in done.stderr
    assert 'would leave random weights in the backbone, which would be evaluated' in done.stderr


def test_index(files, call_tool):
    """An index of all features as they are gives the figures of the exact search; an unknown one is named."""
    pytest.importorskip('faiss')
    folder, expected = files
    common = [f'{FOLDER}/test_knn.py', folder / 'configs/tiny.py', '--checkpoint', folder / 'backbone.pth',
              '--dataset-config', folder / 'data.py', '--num-knn', 3, 10, '--temperature', 0.07, 0.2]  # yapf: disable
    call_tool(*common, '--index', 'Flat', '--out', folder / 'index.json')
    assert json.loads((folder / 'index.json').read_text()) == pytest.approx(expected, abs=1 / 47)
    done = call_tool(*common, '--index', 'Nonsense', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr and "index 'Nonsense'" in done.stderr


def test_arguments(run_tool, call_tool):
    for script in ('dist_test_knn_pretrain', 'dist_test_knn_epoch', 'slurm_test_knn_pretrain', 'slurm_test_knn_epoch'):
        done = run_tool(f'{FOLDER}/{script}.sh', check=False)
        assert done.returncode == 2 and 'SELFSUP_CONFIG' in done.stdout
    done = call_tool(f'{FOLDER}/test_knn.py', 'x.py', '--use-cuda', 'maybe', check=False)
    assert done.returncode == 2 and "true or false, got 'maybe'" in done.stderr
    assert '--num-knn' in call_tool(f'{FOLDER}/test_knn.py', '--help').stdout


def test_slurm_scripts_call_srun(run_tool, tmp_path, files):
    """PARTITION and JOB_NAME first; a stand-in for srun shows what it is called with."""
    folder, _ = files
    (tmp_path / 'srun').write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    env = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='16', PYTHON='python', SRUN_ARGS='--time 5 --quiet')
    done = run_tool(f'{FOLDER}/slurm_test_knn_epoch.sh', 'main', 'job', 'configs/a/b.py', 3, '--num-knn', 5, env=env)
    assert done.stdout.startswith('-p main --job-name=job --gres=gpu:8 --ntasks-per-node=8 --ntasks=16 ')
    assert '--time 5 --quiet python -u ' in done.stdout
    assert done.stdout.endswith('configs/a/b.py --checkpoint work_dirs/b/epoch_3.pth --num-knn 5 --launcher=slurm\n')
    done = run_tool(
        f'{FOLDER}/slurm_test_knn_pretrain.sh', 'main', 'job', 'b.py', 'w.pth', env=dict(env, GPUS_PER_NODE='0'))
    assert '--gres' not in done.stdout and '--checkpoint w.pth' in done.stdout

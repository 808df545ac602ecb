"""The scripts for Slurm, on a real Slurm of one node that the fixture starts and stops."""
import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = f"""
_base_ = '{ROOT}/configs/selfsup/_base_/default_runtime.py'
img_norm_cfg = dict(mean=[0.3], std=[0.35])
prefetch = True
model = dict(
    type='Classification',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=8, base_channels=8, out_indices=[4],
                  norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=10))
digits = dict(type='SingleViewDataset', data_source=dict(type='Digits', color_type='grayscale'),
              pipeline=[dict(type='RandomCrop', size=8, padding=1)], prefetch=True)
test = dict(digits, data_source=dict(digits['data_source'], test_mode=True), pipeline=[dict(type='Resize', size=8)])
data = dict(samples_per_gpu=32, workers_per_gpu=0, train=digits, test=test)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
optimizer_config = dict()
lr_config = dict(policy='fixed')
runner = dict(type='EpochBasedRunner', max_epochs=1)
checkpoint_config = dict(interval=1)
log_config = dict(interval=5)
"""


def test_train_and_test(slurm, run_tool, tmp_path, monkeypatch):
    """Two CPU tasks under srun train to the very weights of two processes under torchrun, and evaluate like one."""
    (tmp_path / 'config.py').write_text(CONFIG)
    env = {
        **slurm, 'GPUS': '2',
        'GPUS_PER_NODE': '0',
        'CPUS_PER_TASK': '1',
        'SRUN_ARGS': '--time=5',
        'PY_ARGS': '--seed 1',
        'PYTHON': sys.executable
    }
    run_tool('tools/slurm_train.sh', 'debug', 'job', tmp_path / 'config.py', tmp_path / 'slurm', env=env)
    run_tool(
        'tools/dist_train.sh',
        tmp_path / 'config.py',
        2,
        '--work-dir',
        tmp_path / 'torchrun',
        '--seed',
        1,
        env={'PYTHON': sys.executable})
    ours, theirs = (
        torch.load(tmp_path / name / 'latest.pth', weights_only=True)['state_dict'] for name in ('slurm', 'torchrun'))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key

    env['PY_ARGS'] = ''
    checkpoint = str(tmp_path / 'slurm' / 'latest.pth')
    run_tool(
        'tools/slurm_test.sh',
        'debug',
        'job',
        tmp_path / 'config.py',
        checkpoint,
        '--out',
        tmp_path / 'two.json',
        env=env)
    arguments = ['test.py', str(tmp_path / 'config.py'), checkpoint, '--out', str(tmp_path / 'one.json')]
    monkeypatch.setattr(sys, 'argv', arguments)
    runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')
    two, one = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('two', 'one'))
    assert two == pytest.approx(one, abs=1e-6)
    assert max(one.values()) > 0.5


def test_scripts_say_how_they_are_called(run_tool):
    for script in ('tools/slurm_train.sh', 'tools/slurm_test.sh'):
        done = run_tool(script, 'debug', 'job', check=False)
        assert done.returncode == 2 and Path(script).name in done.stderr


PRETRAINING = """
model = dict(type='Classification', backbone=dict(
    type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=8, base_channels=8))
"""
BENCHMARKS = 'tools/benchmarks/classification'


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A folder with configs, and weights in the work folder of the pre-training."""
    folder = tmp_path_factory.mktemp('evaluation')
    (folder / 'configs').mkdir()
    (folder / 'configs/tiny.py').write_text(PRETRAINING)
    (folder / 'configs/semi.py').write_text(CONFIG)
    (folder / 'configs/linear.py').write_text("_base_ = 'semi.py'\nmodel = dict(backbone=dict(frozen_stages=4))\n")
    (folder / 'data.py').write_text(f"_base_ = '{ROOT}/configs/benchmarks/classification/digits.py'\n"
                                    'data = dict(train=dict(data_source=dict(num_images=200)), '
                                    'val=dict(data_source=dict(num_images=90)))\n')
    (folder / 'work_dirs/tiny').mkdir(parents=True)
    torch.manual_seed(5)
    model = build_algorithm(load_config(folder / 'configs/tiny.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'work_dirs/tiny/epoch_2.pth')
    return folder


def call(slurm, folder, script, *arguments):
    """Run a script with two CPU tasks, from another folder than the clone."""
    env = {**slurm, 'GPUS': '2', 'GPUS_PER_NODE': '0', 'CPUS_PER_TASK': '1', 'SRUN_ARGS': '--time=5',
           'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}  # yapf: disable
    command = ['bash', ROOT / BENCHMARKS / script, 'debug', 'job', *arguments]
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize('name, options', [
    ('knn_imagenet/{}_test_knn', ('--num-knn', 5)),
    ('svm_voc07/{}_test_svm', ('feat5', '--low-shot', 1, 2, '--draws', 2, '--pool-type', 'average', '--n-jobs', 1)),
])
def test_frozen_features(slurm, pretrained, call_tool, name, options):
    """Both scripts under Slurm give the bits of one process without it."""
    common = [*options, '--dataset-config', pretrained / 'data.py']
    epoch, pretrain, one = (pretrained / f'{what}.json' for what in ('epoch', 'pretrain', 'one'))
    checkpoint = pretrained / 'work_dirs/tiny/epoch_2.pth'
    script = name.format('slurm')
    call(slurm, pretrained, f'{script}_epoch.sh', 'configs/tiny.py', 2, *common, '--out', epoch)
    call(slurm, pretrained, f'{script}_pretrain.sh', 'configs/tiny.py', checkpoint, *common, '--out', pretrain)
    tool = f'{BENCHMARKS}/{name.format("")}.py'.replace('/_', '/')
    flags = [str(option) for option in common if option != 'feat5']
    call_tool(tool, pretrained / 'configs/tiny.py', '--checkpoint', checkpoint, *flags, '--out', one,
              *(['--layers', 'feat5'] if 'feat5' in common else []))  # yapf: disable
    assert json.loads(epoch.read_text()) == json.loads(pretrain.read_text()) == json.loads(one.read_text())


@pytest.mark.parametrize('kind', ['linear', 'semi'])
def test_training_on_top(slurm, pretrained, kind):
    """The linear one leaves the backbone as it was, the other one begins with its weights and changes them."""
    weights = pretrained / 'work_dirs/tiny/epoch_2.pth'
    call(slurm, pretrained, f'slurm_train_{kind}.sh', f'configs/{kind}.py', weights, '--seed', 1)
    before = torch.load(weights, weights_only=True)['state_dict']
    after = torch.load(pretrained / f'work_dirs/{kind}/tiny-epoch_2/latest.pth', weights_only=True)['state_dict']
    same = [torch.equal(value, after[key]) for key, value in before.items() if key.startswith('backbone.')]
    assert all(same) if kind == 'linear' else not any(same[:1])
    assert after['head.fc_cls.weight'].abs().max() > 0


def test_a_job_comes_back_until_it_is_done(slurm, tmp_path):
    """At Slurm's warning each time, with the weights of a training that had its time; without --auto-resume."""
    (tmp_path / 'config.py').write_text(CONFIG)
    env = {**slurm, 'GPUS': '2', 'GPUS_PER_NODE': '0', 'CPUS_PER_TASK': '1', 'SBATCH_ARGS': '--time=20 --begin=now',
           'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}  # yapf: disable
    options = [
        '--seed', '1', '--cfg-options', 'runner.max_epochs=40', 'log_config.interval=1', 'data.workers_per_gpu=1'
    ]

    def said(*command):
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout

    submit = ['bash', str(ROOT / 'tools/slurm_submit.sh'), 'debug', "Ann's job", str(tmp_path / 'config.py')]
    job = said(*submit, str(tmp_path / "Ann's run"), *options).split()[-1]
    out, end = tmp_path / f"Ann's run/slurm_{job}.out", time.monotonic() + 400

    def wait(words, count):
        while time.monotonic() < end and not (out.exists() and out.read_text().count(words) >= count):
            time.sleep(0.3)
        assert time.monotonic() < end, (out.read_text() if out.exists() else '') + said('scontrol', 'show', 'job', job)

    wait('loss: ', 3)
    subprocess.run(['scancel', '--signal=USR1', job], env=env, check=True)
    wait('the training ends after iteration', 1)
    time.sleep(2)
    subprocess.run(['scontrol', 'release', job], env=env)
    subprocess.run(['scontrol', 'update', f'JobId={job}', 'StartTime=now'], env=env)
    wait('The training is done', 1)
    assert 'resumed from' in out.read_text() and out.read_text().count('Traceback') == 0

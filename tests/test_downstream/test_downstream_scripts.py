"""The shell scripts: what they check, and the command that they end in, shown by a stand-in for Python and srun."""
import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DETECTION, SEGMENTATION = 'tools/benchmarks/mmdetection/', 'tools/benchmarks/mmsegmentation/'
DIST = [f'{DETECTION}mim_dist_train.sh', f'{DETECTION}mim_dist_train_c4.sh', f'{DETECTION}mim_dist_train_fpn.sh',
        f'{SEGMENTATION}mim_dist_train.sh']  # yapf: disable
SLURM = [name.replace('dist', 'slurm') for name in DIST]
BOX, HEAD = 'model.backbone', 'model.roi_head.shared_head'


@pytest.fixture
def show(run_tool, tmp_path):
    """Run a script with stand-ins for programs, which print their arguments, and give those of the last one called."""
    for name in ('python', 'srun'):
        (tmp_path / name).write_text('#!/usr/bin/env bash\necho CALL; printf "%s\\n" "$@"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / 'byol.pth').touch()

    def run(script, *args, **env):
        done = run_tool(script, *args, env=dict(env, PATH=f'{tmp_path}:{os.environ["PATH"]}', PYTHON='python'))
        return done.stdout.rpartition('CALL\n')[2].splitlines()

    return run


def weights(path, *parts):
    return [f'{part}.init_cfg.{rest}' for part in parts for rest in ('type=Pretrained', f'checkpoint={path}')]


@pytest.mark.parametrize('script, config, package, parts', [
    (DIST[0], 'voc0712/faster_rcnn_r50_c4_mstrain_24k_voc0712.py', 'mmdet', [BOX, HEAD]),
    (DIST[0], 'coco/mask_rcnn_r50_fpn_mstrain_1x_coco.py', 'mmdet', [BOX]),
    (DIST[1], 'a.py', 'mmdet', [BOX, HEAD]),
    (DIST[2], 'a.py', 'mmdet', [BOX]),
    (DIST[3], 'a.py', 'mmseg', [BOX]),
])
def test_processes(show, tmp_path, script, config, package, parts):
    """All KEY=VALUE reach train.py behind one --cfg-options, our own first, whether or not the flag stands before."""
    pretrain = tmp_path / 'byol.pth'
    words = show(
        script,
        f'configs/x/{config}',
        pretrain,
        2,
        '--seed',
        3,
        'a.b=1',
        '--cfg-options',
        'c=[1,2]',
        'd=x=y',
        PORT='29')
    assert words == [
        '-m', 'mmssl.utils.launch', '--nnodes=1', '--node_rank=0', '--nproc_per_node=2', '--master_addr=127.0.0.1',
        '--master_port=29', '-m', 'mim', 'run', package, 'train', f'configs/x/{config}', '--work-dir',
        f'work_dirs/x/{config[:-3]}/byol', '--seed', '3', '--cfg-options', *weights(pretrain, *parts), 'a.b=1',
        'c=[1,2]', 'd=x=y', '--launcher', 'pytorch'
    ]  # yapf: disable


@pytest.mark.parametrize('script, config, package, parts', [
    (SLURM[0], 'faster_rcnn_r50_c4_mstrain_24k_voc0712.py', 'mmdet', [BOX, HEAD]),
    (SLURM[0], 'mask_rcnn_r50_fpn_mstrain_1x_coco.py', 'mmdet', [BOX]),
    (SLURM[1], 'a.py', 'mmdet', [BOX, HEAD]),
    (SLURM[2], 'a.py', 'mmdet', [BOX]),
    (SLURM[3], 'a.py', 'mmseg', [BOX]),
])
def test_slurm(show, tmp_path, script, config, package, parts):
    """Options in PY_ARGS do not displace the weights."""
    pretrain = tmp_path / 'byol.pth'
    words = show(
        script,
        'part',
        f'configs/{config}',
        pretrain,
        GPUS='4',
        GPUS_PER_NODE='2',
        CPUS_PER_TASK='3',
        SRUN_ARGS='--time=9 -J x',
        PY_ARGS='--seed 1 --cfg-options a=1')
    assert words == [
        '-p', 'part', f'--job-name={config[:-3]}', '--gres=gpu:2', '--ntasks-per-node=2', '--ntasks=4',
        '--cpus-per-task=3', '--kill-on-bad-exit=1', '--time=9', '-J', 'x', 'python', '-u', '-m', 'mim', 'run', package,
        'train', f'configs/{config}', '--work-dir', f'work_dirs/{config[:-3]}/byol', '--seed', '1', '--cfg-options',
        *weights(pretrain, *parts), 'a=1', '--launcher=slurm'
    ]  # yapf: disable


def test_detectron2_script(show, tmp_path, run_tool):
    script, pkl = 'tools/benchmarks/detectron2/run.sh', tmp_path / 'w.pkl'
    pkl.touch()
    words = show(script, 'voc.yaml', pkl, GPUS='2')
    assert words[1:] == ['--config-file', 'voc.yaml', '--num-gpus', '2', 'MODEL.WEIGHTS', str(pkl), 'OUTPUT_DIR',
                         'work_dirs/benchmarks/detectron2/voc/w']  # yapf: disable
    assert words[0].endswith('/detectron2/train_net.py')
    changed = ['out', 'SOLVER.BASE_LR', '0.1']
    assert show(script, 'voc.yaml', pkl, *changed)[-4:] == ['OUTPUT_DIR', *changed]
    if importlib.util.find_spec('detectron2') is None:
        done = run_tool(script, 'voc.yaml', pkl, check=False, env=dict(PYTHON=sys.executable))
        assert done.returncode == 1 and 'error: detectron2 is not installed' in done.stderr


@pytest.mark.parametrize('script', [*DIST, *SLURM, 'tools/benchmarks/detectron2/run.sh'])
def test_usage_and_absent_weights(run_tool, tmp_path, script):
    """Without arguments the script tells them; weights that do not exist are named, and nothing starts."""
    done = run_tool(script, check=False)
    assert done.returncode == 2 and f'{Path(script).name} ' in done.stderr and 'CONFIG' in done.stderr
    # CONFIG PRETRAIN GPUS, PARTITION CONFIG PRETRAIN or CONFIG WEIGHTS
    where = dict(mim_dist=1, mim_slur=2).get(Path(script).name[:8], 1)
    arguments = ['x', 'x', 'x']
    arguments[where] = tmp_path / 'nowhere.pth'
    done = run_tool(script, *arguments, check=False, env=dict(PYTHON=sys.executable))
    assert done.returncode == 1 and 'nowhere.pth' in done.stderr and done.stderr.startswith('error: there')


def test_absent_packages_and_data_are_told_in_a_line(run_tool, tmp_path):
    """Before any process starts: what cannot be imported, else which files of the data set are not there."""
    (tmp_path / 'w.pth').touch()
    config = 'configs/benchmarks/mmsegmentation/voc12aug/fcn_r50-d8_512x512_20k_voc12aug.py'
    done = run_tool(DIST[3], config, tmp_path / 'w.pth', 1, f'data.train.data_root={tmp_path}', check=False,
                    env=dict(PYTHON=sys.executable))  # yapf: disable
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    if all(map(importlib.util.find_spec, ('mim', 'mmseg'))):
        assert f'data.train of {config} reads {tmp_path}/ImageSets/Segmentation/train.txt' in done.stderr
        assert f'{tmp_path}/SegmentationClassAug, which do not exist' in done.stderr
    else:
        assert 'cannot be imported: `make downstream` installs it' in done.stderr

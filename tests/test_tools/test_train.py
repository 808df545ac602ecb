"""tools/train.py, test.py and their scripts, as a user runs them."""
import json
import shlex
import sys
from pathlib import Path

import pytest

from mmssl.utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests/configs/digits_moco.py'


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_is_quick(run_tool, tool):
    """Arguments are parsed before any heavy import."""
    import time
    start = time.time()
    text = run_tool(f'tools/{tool}.py', '--help').stdout
    assert time.time() - start < 1 and '--cfg-options' in text and '--launcher' in text


def test_errors_take_one_line(call_tool):
    """Row CFG: the place in the config and the nearest name, no traceback."""
    done = call_tool('tools/train.py', CONFIG, '--cfg-options', 'model.neck.type=MoCoV2Nek', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "'MoCoV2Nek' is not a registered" in last and "did you mean 'MoCoV2Neck'" in last
    assert last.endswith('(at model.neck in the config)')
    done = call_tool('tools/train.py', 'nowhere.py', check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith('error: config file nowhere.py does not exist')


def test_one_process_then_two(run_tool, call_tool, tmp_path):
    """dist_train.sh on a machine without a GPU; then --load-from, switches, and an evaluation while training."""
    one = tmp_path / 'one'
    run_tool(
        'tools/dist_train.sh',
        CONFIG,
        2,
        '--work_dir',
        one,
        '--cfg-options',
        'data.samples_per_gpu=32',
        'runner.max_epochs=1',
        'data.workers_per_gpu=0',
        env=dict(PYTHON=sys.executable))
    checkpoint = read_checkpoint(one / 'latest.pth')
    assert checkpoint['meta']['iter'] == 22 and len(checkpoint['rng_states']) == 2
    assert checkpoint['meta']['CLASSES'] == list('0123456789') and checkpoint['meta']['seed'] == 1

    # 32 px: on a CPU, torch leaves bfloat16 gradients of strided convolutions over maps of 1 x 1 unset
    config = tmp_path / 'cls.py'
    config.write_text(f"""
_base_ = '{CONFIG}'
model = dict(_delete_=True, type='Classification', head=dict(type='ClsHead', in_channels=32, num_classes=10,
             with_avg_pool=True),
             backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=[4]))
pipeline = [dict(type='Resize', size=32)]
data = dict(workers_per_gpu=0,
            train=dict(_delete_=True, type='SingleViewDataset', data_source=dict(type='Digits'), pipeline=pipeline,
                       prefetch=True),
            val=dict(type='SingleViewDataset', data_source=dict(type='Digits', split='test'), pipeline=pipeline,
                     prefetch=True))
optimizer = dict(lr=0.1)
runner = dict(max_epochs=3)
evaluation = dict(interval=1, save_best='auto', topk=(1, 2))
checkpoint_config = dict(_delete_=True, interval=-1)
amp = dict(dtype='bfloat16')
channels_last = True
""")
    two = tmp_path / 'two'
    done = call_tool('tools/train.py', config, '--work-dir', two, '--load-from', one / 'latest.pth')
    assert '120 matched, 2 missing' in done.stderr
    assert '1437 images, 22 iterations an epoch, 3 epochs; batch 64; cpu (1 threads)' in done.stderr
    commands = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith('    python ')]
    assert len(commands) == 3 and all(Path(words[1]).is_file() for words in commands)
    call_tool(*commands[2][1:])
    assert len(read_checkpoint(two / 'backbone.pth')['state_dict']) == 120
    lines = [json.loads(line) for line in open(next(two.glob('*.log.json')))]
    found = [line for line in lines if line.get('mode') == 'val']
    assert len(found) == 3 and found[-1]['head4_top1'] <= found[-1]['head4_top2']
    best = max(line['head4_top1'] for line in found)
    (best_file, ) = two.glob('best_head4_top1_epoch_*.pth')
    done = run_tool('tools/test.py', config, best_file, '--out', tmp_path / 'metrics.json')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['head4_top1'] == pytest.approx(best, abs=1e-3)
    train = [line for line in lines if line.get('mode') == 'train']
    assert {'lr', 'loss', 'time', 'data_time', 'data_share', 'img_per_sec', 'memory'} <= train[0].keys()

"""A training that is killed and resumed is the training that was never killed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from mmssl.utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests/configs/digits_moco.py'


def same(a, b):
    """Bit for bit equality of nested containers."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def losses(folder):
    lines = [json.loads(line) for log in sorted(folder.glob('*.log.json')) for line in open(log)]
    return {(line['epoch'], line['iter']): line['loss'] for line in lines if line.get('mode') == 'train'}


def test_killed_in_the_middle_of_an_epoch(run_tool, call_tool, tmp_path):
    """PITFALLS: mmcv restores neither random states nor the position in the data; resume starts with a wrong rate.

    SIGKILL strikes in the second epoch, and the newest checkpoint is torn on top; the one before it is found. The
    options of the start are not given again.
    """
    whole, killed = tmp_path / 'whole', tmp_path / "Ann's killed one"
    options = '--cfg-options', 'optimizer.lr=0.05'
    # in a new interpreter, as some modules draw from python's random numbers when they are imported
    run_tool('tools/train.py', CONFIG, '--work-dir', whole, *options)

    process = subprocess.Popen([sys.executable, 'tools/train.py', CONFIG, '--work-dir', killed, *options],
                               cwd=ROOT,
                               env={
                                   **os.environ, 'PYTHONPATH': str(ROOT)
                               },
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               start_new_session=True)
    deadline = time.time() + 100
    while not (killed / 'iter_35.pth').exists():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    newest = max(killed.glob('iter_*.pth'), key=lambda file: int(file.stem[5:]))
    assert newest.name == 'iter_35.pth'
    newest.write_bytes(newest.read_bytes()[:-5000])
    (killed / 'iter_42.pth.77.tmp').write_bytes(b'half')

    done = call_tool('tools/train.py', CONFIG, '--work-dir', killed, '--auto-resume')
    assert 'iter_35.pth is torn' in done.stderr
    assert 'iter_28.pth at epoch 2, batch 6, iteration 28' in done.stderr
    a, b = (read_checkpoint(folder / 'iter_44.pth') for folder in (whole, killed))
    assert a['meta']['iter'] == b['meta']['iter'] == 44
    for part in ('state_dict', 'optimizer', 'rng_states'):
        assert same(a[part], b[part]), part
    assert 'queue' in ''.join(a['state_dict'])
    # the log goes on from batch 6: that interval has fewer values, the later ones are equal
    expected, found = losses(whole), losses(killed)
    assert all(found[key] == expected[key] for key in expected if key > (2, 10))
    assert not list(killed.glob('*.tmp'))

    # what is done is neither written over nor done again
    files = sorted(killed.iterdir())
    done = call_tool('tools/train.py', CONFIG, '--work-dir', killed, check=False)
    assert done.returncode == 1 and 'iter_44.pth (iteration 44, 2 of 2 epochs)' in done.stderr.splitlines()[-1]
    done = call_tool('tools/train.py', CONFIG, '--work-dir', killed, '--auto-resume')
    assert 'is finished: iter_44.pth' in done.stdout and sorted(killed.iterdir()) == files

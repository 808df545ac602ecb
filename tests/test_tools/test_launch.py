"""Processes that are started together: their errors, and their end."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests/configs/digits_moco.py'


def test_one_line_for_all_processes(run_tool, tmp_path):
    """Neither each process says what one has said, nor torchrun shows its own traceback. PORT is chosen by torchrun."""
    done = run_tool(
        'tools/dist_train.sh',
        CONFIG,
        2,
        '--work-dir',
        tmp_path / "John's run",
        '--cfg-options',
        'model.neck.type=MoCoV2Nek',
        check=False,
        env=dict(PORT='', PYTHON=sys.executable))
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stderr.count("error: 'MoCoV2Nek' is not a registered model; did you mean 'MoCoV2Neck'?") == 1


def test_tools_of_one_process_refuse_to_be_several(call_tool):
    done = call_tool('tools/misc/print_config.py', CONFIG, env=dict(WORLD_SIZE='2', RANK='1'), check=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == (
        'rank 1: error: 2 processes were started (WORLD_SIZE=2, RANK=1 in the environment), and this tool works in '
        'one, without a launcher')


def descendants(pid):
    """Processes that a process has started, and those that these have started, and so on."""
    parents = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if fields[0] != 'Z':
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = []
    for child in parents.get(pid, []):
        found += [child, *descendants(child)]
    return found


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
def test_nothing_outlives_its_parent(tmp_path):
    """torchrun is killed while its two processes train, each with workers; they have joined without --launcher."""
    log = tmp_path / 'out'
    with open(log, 'w') as out:
        torchrun = subprocess.Popen([
            sys.executable, '-m', 'mmssl.utils.launch', '--standalone', '--local_addr=127.0.0.1', '--nproc_per_node=2',
            ROOT / 'tools/train.py', CONFIG, '--work-dir', tmp_path / 'run', '--cfg-options', 'runner.max_epochs=1000',
            'data.workers_per_gpu=1', 'mp_start_method=spawn', 'log_config.interval=1',
            'checkpoint_config.interval=100000'
        ],
                                    stdout=out,
                                    stderr=subprocess.STDOUT,
                                    env={
                                        **os.environ, 'PYTHONPATH': str(ROOT)
                                    })
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and torchrun.poll() is None and 'loss: ' not in log.read_text():
            time.sleep(0.3)
        assert 'loss: ' in log.read_text(), log.read_text()[-3000:]
        assert 'Distributed training: True' in log.read_text() and len(list((tmp_path / 'run').glob('*.json'))) == 1
        started = descendants(torchrun.pid)
        assert len(started) >= 4
    finally:
        torchrun.kill()
        torchrun.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and any(map(alive, started)):
        time.sleep(0.1)
    left = [pid for pid in started if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left

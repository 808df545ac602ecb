"""Processes that are started together: their errors, and their end."""
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
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


@pytest.mark.long
def test_a_reader_that_has_gone():
    """As with `| head`; before, a BrokenPipeError."""
    command = '{ sleep 0.2; "$0" tools/misc/print_config.py "$1"; } | true; echo ${PIPESTATUS[0]}'
    done = subprocess.run(['bash', '-c', command, sys.executable, CONFIG],
                          cwd=ROOT,
                          env={
                              **os.environ, 'PYTHONPATH': str(ROOT)
                          },
                          capture_output=True,
                          text=True)
    assert done.stdout == '141\n' and 'Broken' not in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_a_terminal(tmp_path, number, status):
    """A bar while it trains; at Ctrl-C one line in place of a traceback, with the way to go on."""
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('4H', 40, 150, 0, 0))
    folder = tmp_path / "John's run"
    training = subprocess.Popen([
        sys.executable, ROOT / 'tools/train.py', CONFIG, '--work-dir', folder, '--gpus', '2', '--gpu-ids', '0', '1',
        '--cfg-options', 'runner.max_epochs=1000', 'checkpoint_config.interval=5', 'checkpoint_config.max_keep_ckpts=1'
    ], stdout=terminal, stderr=terminal, env={**os.environ, 'PYTHONPATH': str(ROOT)})  # yapf: disable
    os.close(terminal)
    text, asked = '', False
    try:
        while True:
            try:
                new = os.read(master, 65536).decode(errors='replace')
            except OSError:  # the other end is closed
                break
            text += new
            if not asked and text.count('loss: ') > 2:
                training.send_signal(number)
                asked = True
        assert training.wait(60) == status, text[-2000:]
    finally:
        training.kill()
        os.close(master)
    last = text.strip().splitlines()[-1]
    assert last.startswith('interrupted in epoch ') and f'the last checkpoint is {folder}/iter_' in last
    assert last.endswith(f'go on with: python {ROOT}/tools/train.py {CONFIG} --work-dir ' +
                         f'"{tmp_path}/John\'s run" --auto-resume')
    assert 'Traceback' not in text and re.search(r'iteration \d+/22000  epoch 1/1000  loss \d', text)
    assert '--gpus 2 is left aside' in text and '--gpu-ids 0 1 is left aside: there is no GPU' in text
    assert len(list(folder.glob('iter_*.pth'))) == 1 and not list(folder.glob('*.tmp'))


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

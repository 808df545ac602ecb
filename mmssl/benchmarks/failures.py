# Copyright (c) mmssl contributors. All rights reserved.
"""Trainings that are hit by a failure at a random moment and started again, against one that was left alone."""
import os
import random
import resource
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import connection, get_context, set_start_method
from pathlib import Path

import torch

from mmssl.utils.checkpoint import find_latest_checkpoint, read_checkpoint
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import TEMPORARY

# kind: number of processes, and what happens
KINDS = {
    'kill': (1, 'SIGKILL'),
    'term': (1, 'SIGTERM'),
    'usr1': (1, 'SIGUSR1'),
    'int': (1, 'SIGINT'),
    'full-disk': (1, 'no file can grow beyond some kB, to the end of the training'),
    'usr1-of-two': (2, 'SIGUSR1 to one of two processes'),
    'kill-of-two': (2, 'SIGKILL to one of two processes'),
    'hang-of-two': (2, 'SIGSTOP to one of two processes'),
    'restart': (2, 'SIGKILL to one of two processes of torchrun --max-restarts'),
}
_TRAIN = str(Path(__file__).resolve().parents[2] / 'tools/train.py')
_PRELOADED = ['matplotlib.pyplot', 'mmssl.apis', 'mmssl.core', 'mmssl.datasets', 'mmssl.models']
_SMALLEST = 20000  # bytes: logs fit, checkpoints do not


def _train(arguments, environment, log):
    """In a copy of a process that has imported all: seconds faster than a new interpreter."""
    set_start_method(None, force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has those that it starts by & ignore it
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(environment)
    sys.argv = [_TRAIN, *arguments]
    try:
        runpy.run_path(_TRAIN, run_name='__main__')
    finally:  # the end of an interpreter, of which multiprocessing leaves out this step
        threading._shutdown()


class KillTest:
    """The trainings of one config.

    Args:
        config (str): Its file; a training of it should take seconds, and write checkpoints several times.
        folder (Path): New folder for all trainings.
        options (list[str]): Settings KEY=VALUE for all.
        timeout (float): dist_params.timeout of them.
        limit (float): Seconds after which a training that should have ended counts as hung.
    """

    def __init__(self, config, folder, options=(), timeout=5., limit=120.):
        self.config, self.folder, self.limit = str(config), Path(folder), limit
        self.options = ['seed=1', *options, f'dist_params.timeout={timeout}']
        self._context = get_context('forkserver')
        self._context.set_forkserver_preload(_PRELOADED)
        self._whole = {}

    def start(self, folder, processes, *arguments):
        """Begin a training; returns its processes."""
        arguments = [self.config, '--work-dir', str(folder), *arguments, '--cfg-options', *self.options]
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        started = []
        for rank in range(processes):
            ranks = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE=str(processes), RANK=str(rank),
                         LOCAL_RANK=str(rank)) if processes > 1 else {}  # yapf: disable
            started.append(self._context.Process(target=_train, args=(arguments, ranks, f'{folder}.log')))
            started[-1].start()
        return started

    def wait(self, processes):
        """Wait for their end, for as long as they may take; returns whether all have ended."""
        end = time.monotonic() + self.limit
        for process in processes:
            connection.wait([process.sentinel], max(0, end - time.monotonic()))
        hung = [process for process in processes if process.exitcode is None]
        for process in hung:
            process.kill()
            process.join()
        return not hung

    def whole(self, processes):
        """Final checkpoint of a training that is left alone, and its seconds from the first iteration to its end."""
        if processes not in self._whole:
            folder = self.folder / f'whole_{processes}'
            self.wait(self.start(folder.with_name(f'{folder.name}_first'), processes))  # which pays for the imports
            started = self.start(folder, processes)
            self.wait_for_begin(folder, started[0].is_alive)
            begin = time.monotonic()
            if not self.wait(started) or any(process.exitcode for process in started):
                raise ConfigError(f'the training that is left alone fails, see {folder}.log')
            self._whole[processes] = self._final(folder), time.monotonic() - begin
        return self._whole[processes]

    def wait_for_begin(self, folder, alive):
        """Wait until the log says that the training begins, while `alive()`."""
        end, log = time.monotonic() + self.limit, Path(f'{folder}.log')
        while time.monotonic() < end and alive() and not (log.exists() and 'Training on' in log.read_text()):
            time.sleep(0.02)

    @staticmethod
    def _final(folder):
        found = find_latest_checkpoint(folder)
        checkpoint = read_checkpoint(found) if found else {}
        return checkpoint.get('meta', {}).get('iter'), checkpoint.get('state_dict'), checkpoint.get('optimizer')

    def one(self, kind, number):
        """One failure.

        Returns:
            dict: `status` (int | None) of the training, of one that was not hit where there are two; None: it hung;
            `seconds` from the failure to its end; `named`: whether the log has the name of the rank that was hit;
            `checkpoint`: whether there was one to go on from; `equal`: whether weights and optimizer are those of the
            training that was left alone, when it has gone on; `left`: temporary files after that.
        """
        processes, _ = KINDS[kind]
        expected, duration = self.whole(processes)
        chance = random.Random(f'{kind} {number}')
        folder = self.folder / f'{kind}_{number}'
        wait = chance.uniform(0, duration)
        if kind == 'restart':
            return self._restart(folder, wait, chance, expected)
        started = self.start(folder, processes)
        victim = chance.randrange(processes)
        if number:  # the first one is hit while it starts
            self.wait_for_begin(folder, started[0].is_alive)
        time.sleep(wait)
        pid, begin = started[victim].pid, time.monotonic()
        late = not started[victim].is_alive()
        if kind == 'full-disk' and not late:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (_SMALLEST, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        elif not late:
            name = KINDS[kind][1].partition(' ')[0]
            os.kill(pid, getattr(signal, name))
        hit = kind in ('kill-of-two', 'hang-of-two')
        others = [process for process in started if not (hit and process is started[victim])]
        ended, seconds = self.wait(others), time.monotonic() - begin
        for process in started:
            process.kill()
            process.join()
        status = max((process.exitcode for process in others), key=abs) if ended else None
        log = Path(f'{folder}.log').read_text(errors='replace') if Path(f'{folder}.log').exists() else ''
        result = dict(late=late, status=status, seconds=seconds, named=f'rank {victim} on' in log,
                      checkpoint=folder.exists() and find_latest_checkpoint(folder) is not None)  # yapf: disable
        again = self.start(folder, processes, '--auto-resume')
        done = self.wait(again) and not any(process.exitcode for process in again)
        return dict(result, **self._compare(folder, expected, done))

    def _compare(self, folder, expected, done):
        left = [path.name for path in folder.rglob('*') if TEMPORARY.search(path.name)] if folder.exists() else []
        equal = done and _same(self._final(folder), expected)
        if equal and not left:
            shutil.rmtree(folder)
        return dict(equal=equal, left=len(left))

    def _restart(self, folder, wait, chance, expected):
        with open(f'{folder}.log', 'w') as log:
            torchrun = subprocess.Popen([
                sys.executable, '-m', 'mmssl.utils.launch', '--standalone', '--local_addr=127.0.0.1',
                '--nproc_per_node=2', '--max-restarts=2', _TRAIN, self.config, '--work-dir',
                str(folder), '--cfg-options', *self.options
            ], stdout=log, stderr=log)  # yapf: disable
        self.wait_for_begin(folder, lambda: torchrun.poll() is None)
        time.sleep(wait)
        ranks = _children(torchrun.pid)
        begin, late = time.monotonic(), not ranks
        if ranks:
            os.kill(chance.choice(ranks), signal.SIGKILL)
        try:
            status = torchrun.wait(self.limit)
        except subprocess.TimeoutExpired:
            torchrun.kill()
            status = None
        result = dict(late=late, status=status, seconds=time.monotonic() - begin, checkpoint=True)
        result['named'] = 'started again' in Path(f'{folder}.log').read_text()
        return dict(result, **self._compare(folder, expected, status == 0))


def _children(pid):
    """Processes that a process has started."""
    try:
        return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []


def _same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def summarize(results):
    """Rows of a table of failures by kind.

    Args:
        results (dict[str, list[dict]]): By kind, what KillTest.one returns.

    Returns:
        tuple[list, list]: Rows and headings.
    """
    rows = []
    for kind, found in results.items():
        statuses = [result['status'] for result in found]
        counts = ', '.join(f'{statuses.count(s)} x {"hung" if s is None else s}' for s in dict.fromkeys(statuses))
        seconds = sorted(result['seconds'] for result in found)
        rows.append([
            kind,
            len(found),
            sum(result['late'] for result in found), counts, seconds[len(seconds) // 2], seconds[-1],
            sum(result['named'] for result in found),
            sum(result['checkpoint'] for result in found),
            sum(result['equal'] for result in found),
            sum(result['left'] for result in found)
        ])
    return rows, [
        'kind', 'trainings', 'over before', 'statuses', 'median s', 'most s', 'named', 'checkpoint', 'equal', 'left'
    ]

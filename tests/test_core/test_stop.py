"""Signals, clocks and full disks: what a training writes then, and that it goes on to the same weights."""
import errno
import json
import os
import signal
import time

import pytest
import torch
from mmcv.runner.hooks import Hook
from test_runner import numbers, plain_runner, same

from mmssl.core import runner as runner_module
from mmssl.core.hooks import checkpoint_hook
from mmssl.core.stop import Stop
from mmssl.utils.checkpoint import find_latest_checkpoint
from mmssl.utils.errors import ConfigError
from mmssl.utils.launch import Terminated, stop_status

EPOCHS, ITERS = dict(type='EpochBasedRunner', max_epochs=3), dict(type='IterBasedRunner', max_iters=18)


class Send(Hook):
    """A signal to this process in a stage of an iteration."""

    def __init__(self, number, at, stage='before_train_iter', times=1, rank=None):
        self.number, self.at, self.times, self.rank = number, at, times, rank
        setattr(self, stage, self.send)

    def send(self, runner):
        if runner.iter == self.at and self.rank in (None, runner.rank):
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


def build(folder, cfg, checkpoints=dict(), hooks=(), interval=1):
    torch.manual_seed(0)
    runner = plain_runner(folder, cfg, optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    runner.register_training_hooks(dict(policy='poly', by_epoch=False), dict(update_interval=interval), checkpoints)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def train(folder, *args, resume=False, **kwargs):
    runner = build(folder, *args, **kwargs)
    if resume:
        runner.resume(find_latest_checkpoint(folder))
    runner.run([numbers(6)], [('train', 1)])
    return runner


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('cfg', [EPOCHS, ITERS])
@pytest.mark.parametrize(
    'stage, at, interval, saved',
    [
        ('before_train_iter', 7, 1, 8),
        ('after_train_iter', 7, 1, 8),
        ('before_train_iter', 6, 3, 9),  # gradients accumulate until then
        ('before_train_iter', 5, 1, 6),  # the end of an epoch
        ('after_train_epoch', 6, 1, 6),  # as in an evaluation
        ('before_run', 0, 1, 1),
    ])
def test_a_signal_ends_it_with_a_checkpoint(tmp_path, cfg, stage, at, interval, saved):
    """Broken once by saving at once, in the midst of an accumulation: other weights, and 7 in place of 9."""
    by_iter = cfg is ITERS
    if by_iter and stage == 'after_train_epoch':
        pytest.skip('has no such stage')
    whole = train(tmp_path / 'whole', cfg, dict(interval=100), interval=interval)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    # counted before the hooks of the end of an epoch, and written after them
    at = at - 1 if stage == 'after_train_epoch' else at
    send = Send(signal.SIGUSR1, at + (stage == 'after_train_epoch'), stage)
    with pytest.raises(Terminated, match=f'after iteration {saved}; the last checkpoint is .*iter_{saved}.pth') as stop:
        train(tmp_path / 'run', cfg, dict(interval=100), [send], interval)
    assert stop_status(stop.value) == 75
    assert all(signal.getsignal(number) == handler for number, handler in before.items())
    assert files(tmp_path / 'run') == [f'iter_{saved}.pth', 'latest.pth']
    ours = train(tmp_path / 'run', cfg, dict(interval=100), interval=interval, resume=True)
    assert ours.iter == whole.iter == 18
    assert same(ours.model.state_dict(), whole.model.state_dict())
    assert same(ours.optimizer.state_dict(), whole.optimizer.state_dict())
    assert files(tmp_path / 'run') == [f'{"iter_18" if by_iter else "epoch_3"}.pth', 'latest.pth']


def test_which_signals_and_how_often(tmp_path):
    """A second Ctrl-C ends at once; SIGTERM behind SIGUSR1, as Slurm sends it, changes nothing."""
    for number, times, status, saved in ((signal.SIGINT, 1, 130, True), (signal.SIGINT, 2, 130, False),
                                         (signal.SIGTERM, 3, 143, True), (signal.SIGUSR2, 2, 75, True)):
        folder = tmp_path / f'{number}_{times}'
        with pytest.raises(KeyboardInterrupt) as stop:
            train(folder, EPOCHS, dict(interval=1), [Send(number, 3, times=times)])
        assert stop_status(stop.value) == status and (folder / 'iter_4.pth').exists() == saved
    hooks = [Send(signal.SIGUSR1, 3), Send(signal.SIGTERM, 3, 'after_train_iter')]
    with pytest.raises(KeyboardInterrupt) as stop:
        train(tmp_path / 'both', EPOCHS, dict(interval=1), hooks)
    assert stop_status(stop.value) == 75
    with pytest.raises(Terminated, match='epoch_1.pth'):  # written a moment before: once is enough
        train(tmp_path / 'same', EPOCHS, dict(interval=1), [Send(signal.SIGTERM, 6, 'after_train_epoch')])
    assert files(tmp_path / 'same') == ['epoch_1.pth', 'latest.pth']
    with pytest.raises(Terminated, match='there is no checkpoint yet'):
        train(tmp_path / 'none', EPOCHS, None, [Send(signal.SIGTERM, 3)])
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # what was ignored at the start stays so
    try:
        assert train(tmp_path / 'ignored', EPOCHS, None, [Send(signal.SIGUSR1, 3)]).iter == 18
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_checkpoints_by_the_clock(tmp_path, monkeypatch):
    """An iteration takes a minute of a false clock; max_keep_ckpts counts the files at intervals."""
    clock = [0.]
    monkeypatch.setattr(checkpoint_hook, 'time', type('', (), dict(monotonic=lambda: clock[0])))
    seen = []

    class Tick(Hook):

        def before_train_iter(self, runner):
            clock[0] += 60
            seen.append([name for name in files(tmp_path / 'run') if name != 'latest.pth'])

    settings = dict(interval=1, max_keep_ckpts=2, interval_minutes=4)
    train(tmp_path / 'run', dict(EPOCHS, max_epochs=4), settings, [Tick()])
    assert seen[4] == ['iter_4.pth'] and seen[6] == ['epoch_1.pth']  # the clock begins anew with each
    assert seen[10] == ['epoch_1.pth', 'iter_10.pth'] and seen[-1] == ['epoch_2.pth', 'epoch_3.pth', 'iter_22.pth']
    assert files(tmp_path / 'run') == ['epoch_3.pth', 'epoch_4.pth', 'latest.pth']
    for value in (0, -3):
        with pytest.raises(ConfigError, match='interval_minutes is a positive number'):
            build(tmp_path, EPOCHS, dict(interval_minutes=value))
    for name in ('latest.pth', 'epoch_{n}.pth', 'epoch_{', 'folder/{}.pth'):  # latest.pth would lead to itself
        with pytest.raises(ConfigError, match='filename_tmpl is the name of a file'):
            build(tmp_path, EPOCHS, dict(interval=1, filename_tmpl=name))
    with pytest.raises(ConfigError, match='save_optimizer=False'):
        build(tmp_path, EPOCHS, dict(interval_minutes=1, save_optimizer=False))


class Slow:
    """A checkpoint that is safe only when somebody says so."""

    def __init__(self, error=None):
        self.safe, self.error = False, error

    def done(self):
        return self.safe

    def wait(self):
        self.safe = True
        if self.error:
            raise self.error


def test_old_files_wait_for_what_is_written_in_the_background(tmp_path, monkeypatch):
    """The third write fails on a full disk: the second file, which it would have removed, stays."""
    handles = [Slow(), Slow(), Slow(OSError(errno.ENOSPC, 'full')), Slow()]
    left = iter(handles)
    save = runner_module.EpochBasedRunner.save_checkpoint
    monkeypatch.setattr(runner_module.EpochBasedRunner, 'save_checkpoint', lambda *args, **kwargs:
                        (save(*args, **kwargs), next(left))[1])
    seen = {}

    class Say(Hook):

        def before_train_iter(self, runner):
            seen[runner.iter] = [name for name in files(tmp_path) if name != 'latest.pth']
            for at, number in ((14, 0), (15, 1), (20, 2)):
                handles[number].safe |= runner.iter == at

    train(tmp_path, dict(EPOCHS, max_epochs=4), dict(interval=1, max_keep_ckpts=1), [Say()])
    assert seen[13] == seen[14] == ['epoch_1.pth', 'epoch_2.pth'] and seen[16] == ['epoch_2.pth']
    assert seen[22] == ['epoch_2.pth', 'epoch_3.pth']  # the writer of this test has written it all the same
    assert files(tmp_path) == ['epoch_3.pth', 'epoch_4.pth', 'latest.pth']


def test_a_full_disk(tmp_path, caplog):
    """At an interval a warning, with the old file whole; by a signal and at the end an error."""
    import resource

    class Fill(Hook):

        def after_train_epoch(self, runner):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if runner.epoch in full else limits[0], limits[1]))

        def before_train_epoch(self, runner):
            newest.append(os.path.basename(runner.meta.get('hook_msgs', {}).get('last_ckpt', '')))

    newest = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        full = [1]
        train(tmp_path / 'a', EPOCHS, dict(interval=1, max_keep_ckpts=2), [Fill()])
        assert files(tmp_path / 'a') == ['epoch_1.pth', 'epoch_3.pth', 'latest.pth']
        assert newest == ['', 'epoch_1.pth', 'epoch_1.pth']  # what could not be written is not the newest
        said = [message for message in caplog.messages if 'could not be written' in message]
        assert len(said) == 1 and 'epoch_2.pth' in said[0] and 'The training goes on' in said[0]
        full = [1, 2]
        with pytest.raises(OSError, match='epoch_3.pth could not be written'):
            train(tmp_path / 'b', EPOCHS, dict(interval=1, max_keep_ckpts=1), [Fill()])
        full = [0, 1]
        with pytest.raises(OSError, match='iter_8.pth could not be written: .* needs 0.0 MB'):
            train(tmp_path / 'c', EPOCHS, dict(interval=3), [Fill(), Send(signal.SIGUSR1, 7)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path / 'b') == ['epoch_1.pth', 'latest.pth'] and files(tmp_path / 'c') == []
    assert train(tmp_path / 'b', EPOCHS, dict(interval=1), resume=True).iter == 18


def one_rank_is_asked(rank, world_size, folder):
    """Each process returns where it ended, and the weights at the end of the resumed and of the whole training."""
    from pathlib import Path
    folder = Path(folder)
    whole = train(folder / 'whole', dict(EPOCHS, max_epochs=40), dict(interval=100))
    try:
        # rank 1 alone gets it; rank 0 is far ahead of it, as nothing else holds the two together
        hooks = [Send(signal.SIGUSR1, 20, rank=1), *([Sleep()] if rank else [])]
        train(folder / 'run', dict(EPOCHS, max_epochs=40), dict(interval=100), hooks)
        return None
    except Terminated as stop:
        said = str(stop)
    torch.distributed.barrier()
    ours = train(folder / 'run', dict(EPOCHS, max_epochs=40), dict(interval=100), resume=True)
    return said, same(ours.model.state_dict(), whole.model.state_dict())


class Sleep(Hook):

    def before_train_iter(self, runner):
        time.sleep(0.002)


def test_all_processes_end_in_the_same_iteration(run_distributed, tmp_path):
    """Broken once by a flag that each process looks at alone: rank 0 trains on, and the test hangs."""
    first, second = run_distributed(one_rank_is_asked, str(tmp_path))
    assert first == second and first[1]
    assert 21 <= int(first[0].partition('after iteration ')[2].partition(';')[0]) < 140, first


def test_nobody_is_asked_all_the_time():
    """In one process there is nothing to ask; a Stop that was never entered takes no signals."""
    stop = Stop()
    stop.agree(due=True)
    assert stop.due and not stop


def test_logs_on_a_full_disk(tmp_path, caplog, monkeypatch):
    """Half of a line is written before the error; broken once by leaving it there."""
    from mmcv.runner.hooks import TextLoggerHook
    dump = TextLoggerHook._dump_log

    def half(self, log, runner):
        dump(self, log, runner)
        if 6 <= runner.iter < 9:
            with open(self.json_log_path, 'r+') as file:
                file.truncate(os.path.getsize(self.json_log_path) - 20)
            raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(TextLoggerHook, '_dump_log', half)
    runner = build(tmp_path, EPOCHS, None)
    runner.register_logger_hooks(dict(interval=1, hooks=[dict(type='TextLoggerHook')]))
    runner.run([numbers(6)], [('train', 1)])
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    assert sum('loss' in line for line in lines) == 15
    assert sum('lines are missing in' in message for message in caplog.messages) == 1

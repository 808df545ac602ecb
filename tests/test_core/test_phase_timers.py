"""Times of phases by a clock that only the parts of a training move, and by events that the device reaches late."""
import logging
from types import SimpleNamespace

import pytest
import torch
from mmcv.runner import EpochBasedRunner
from mmcv.runner.hooks import Hook
from test_runner import plain_runner
from torch import nn

from mmssl.core import phase_timers
from mmssl.core.hooks import PhaseTimerHook
from mmssl.utils.errors import ConfigError


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.)
    monkeypatch.setattr(phase_timers, 'time', SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


class Head(nn.Module):

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, x):
        self.clock.seconds += 0.002
        return (x**2).mean()


class Net(nn.Module):
    """Its forward pass takes 5 ms before the loss, its backward pass 7 ms."""

    def __init__(self, clock):
        super().__init__()
        self.layer, self.head, self.clock = nn.Linear(3, 1), Head(clock), clock

    def train_step(self, data, optimizer):
        self.clock.seconds += 0.005
        out = self.layer(data)
        if self.training:
            out.register_hook(lambda grad: self.spend(0.007))
        loss = self.head(out)
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data))

    def spend(self, seconds):
        self.clock.seconds += seconds

    val_step = train_step


class Loader(list):
    """Batches that take 3 ms each to come, and 10 ms for the end of an epoch."""

    def __init__(self, clock, batches):
        super().__init__(torch.ones(2, 3) for _ in range(batches))
        self.clock, self.dataset = clock, range(2 * batches)

    def __iter__(self):
        for batch in super().__iter__():
            self.clock.seconds += 0.003
            yield batch
        self.clock.seconds += 0.010


class Slow(Hook):
    """Half a millisecond in each iteration, 40 ms after each epoch, and 20 and 30 ms when all hooks are done."""

    def __init__(self, clock):
        self.clock = clock

    def spend(self, seconds):
        self.clock.seconds += seconds

    def after_train_iter(self, runner):
        self.spend(0.0005)

    def before_step(self, runner):
        self.spend(0.0001)

    def after_train_epoch(self, runner):
        self.spend(0.040)
        runner.defer(lambda: self.spend(0.020))
        runner.defer(lambda: self.spend(0.030), 'trace')


def train(clock, folder, **options):
    model = Net(clock)
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=2), model)
    step, optimizer = runner.optimizer.step, runner.optimizer
    optimizer.step = lambda: (model.spend(0.001), step())
    runner.register_training_hooks(None, dict(update_interval=2))
    for hook in (PhaseTimerHook(**options), Slow(clock)):
        runner.register_hook(hook)
    timers = []

    class Keep(Hook):

        def before_train_epoch(self, runner):
            timers.append(runner.phases)

    runner.register_hook(Keep())
    runner.run([Loader(clock, 4), Loader(clock, 1)], [('train', 1), ('val', 1)])
    return runner, timers[0]


def test_phases_of_a_training(clock, tmp_path, caplog):
    with caplog.at_level('INFO'):
        runner, timers = train(clock, tmp_path, interval=4)
    found = {name: (round(1000 * p.host, 6), p.count) for name, p in timers.phases.items() if p.host}
    assert found == {
        # 8 batches, the ends of two epochs and of two validations, and two batches of these
        'data': (8 * 3 + 2 * 10 + 2 * 10 + 2 * 3, 9),
        'forward': (8 * 5, 8),
        'loss': (8 * 2, 8),
        'backward': (8 * 7, 8),
        'optimizer': (4 * 1, 4),
        'Slow': (8 * 0.5 + 4 * 0.1 + 2 * 40, 9),
        'checkpoint': (2 * 20, 2),
        'trace': (2 * 30, 2),
        'validation': (2 * 7, 2),
    }
    assert sum(p.host for p in timers.phases.values()) == pytest.approx(clock.seconds)
    assert timers.iterations == 8 and runner.phases is None and not runner.model.head._forward_hooks
    table = caplog.records[-1].getMessage()
    assert table.startswith('Phases of 8 iterations')
    assert ['backward', '7.00', '14.6%', '7.00', '8'] in [line.split() for line in table.splitlines()]
    means = [r.getMessage() for r in caplog.records if 'moving averages' in r.getMessage()]
    assert len(means) == 2 and 'ms: backward 7.0, forward 5.0, data 3.0' in means[0]


def test_what_the_timers_refuse(tmp_path):
    for options, message in ((dict(interval=0), 'interval is at least 1'), (dict(ema=0), 'ema is above 0')):
        with pytest.raises(ConfigError, match=message):
            PhaseTimerHook(**options)
    model = nn.Linear(1, 1)
    model.train_step = None
    runner = EpochBasedRunner(model, work_dir=str(tmp_path), logger=logging.getLogger('test'), max_epochs=1)
    with pytest.raises(ConfigError, match='needs a runner of this toolbox'):
        PhaseTimerHook().before_run(runner)


class Event:
    """An event of a device that is `late` events behind the host."""
    recorded, late, waited = [], 0, 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.number = len(self.recorded)
        self.recorded.append(self)

    def query(self):
        return self.number < len(self.recorded) - self.late

    def synchronize(self):
        Event.waited += 1

    def elapsed_time(self, end):
        return float(end.number - self.number)


@pytest.mark.parametrize('late, pending, waited', [(0, 1000, 0), (10, 1000, 0), (500, 20, None)])
def test_times_of_a_device_are_read_later(monkeypatch, clock, late, pending, waited):
    """All times are there in the end, the host waits only where more than `max_pending` are unread."""
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    Event.recorded, Event.late, Event.waited = [], late, 0
    timers = phase_timers.PhaseTimers(cuda=True, max_pending=pending)
    for _ in range(50):
        timers.stage_ends('before_train_iter')
        timers.stage_begins('after_forward')
        with timers.phase('hook'):
            pass
        timers.stage_ends('after_train_iter')
        assert len(timers._pending) <= max(pending, late + 2 + 6)
    assert Event.waited == waited or waited is None and Event.waited > 0
    phases = timers.finish()
    # five intervals an iteration, of one event each: data before, forward, data, hook, data
    assert {name: (round(1000 * p.device), p.count) for name, p in phases.items()} == {
        'data': (150, 50), 'forward': (50, 50), 'hook': (50, 50)}  # yapf: disable
    assert round(1000 * phases['hook'].device_mean, 6) == 1
    assert 'GPU mean ms' in phase_timers.report(phases, cuda=True)

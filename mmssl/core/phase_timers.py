# Copyright (c) mmssl contributors. All rights reserved.
"""What each phase of an iteration takes, measured without waiting for the device."""
import contextlib
import functools
import time
from collections import deque
from dataclasses import dataclass

import torch
from mmcv.runner import Hook

# stages of hooks behind which a phase begins, and those before which it ends
_BEGINS = dict(
    before_train_iter='forward', before_val_iter='validation', before_backward='backward', before_step='optimizer')
_ENDS = ('after_forward', 'after_val_iter', 'after_backward', 'after_step')


@dataclass
class Phase:
    """Times of a phase, in seconds.

    Attributes:
        host, device (float): Sums over the training.
        host_mean, device_mean (float): Moving averages of an iteration.
        count (int): Iterations in which it was there.
    """
    host: float = 0.
    device: float = 0.
    host_mean: float = 0.
    device_mean: float = 0.
    count: int = 0


class PhaseTimers:
    """Charges time to the innermost phase that is open; what is in none is the wait for data.

    On a GPU an event is recorded where one phase ends and the next begins, which the device passes when it gets there.
    The times between events are read later, those of the latest `max_pending` phases at the end of the training.

    Args:
        cuda (bool): Whether to measure the time of the GPU too.
        max_pending (int): Phases of which the GPU's time has not been read, at most; then the host waits for the
            oldest, which has long been done.
        ema (float): Weight of an iteration in the moving averages.
    """

    def __init__(self, cuda=False, max_pending=1000, ema=0.1):
        self.cuda = cuda
        self.max_pending = max_pending
        self.ema = ema
        self.phases = {}
        self.iterations = 0
        self._open = ['data']
        self._current = {}  # host times of this iteration
        self._device = {}  # of the iteration whose events are read
        self._pending = deque()  # (name, event at its end), or the host times of an iteration at its end
        self._last = time.perf_counter()
        self._event = self._record()

    def _record(self):
        if not self.cuda:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _charge(self):
        now, name = time.perf_counter(), self._open[-1]
        self._current[name] = self._current.get(name, 0.) + now - self._last
        self._last = now
        if self.cuda:
            self._pending.append((name, self._record()))

    def enter(self, name):
        """Begin a phase within the one that is open."""
        self._charge()
        self._open.append(name)

    def leave(self):
        """End the phase that is open."""
        self._charge()
        self._open.pop()

    @contextlib.contextmanager
    def phase(self, name):
        """Context of a phase."""
        self.enter(name)
        yield
        self.leave()

    def is_open(self, name):
        """Whether a phase is the innermost one that is open."""
        return self._open[-1] == name

    def of_hook(self, hook, stage):
        """Context of what a hook does in a stage; of those that do nothing there is none."""
        if _acts(type(hook), stage):
            return self.phase(type(hook).__name__)
        return contextlib.nullcontext()

    def stage_begins(self, stage):
        if stage in _ENDS:
            self.leave()

    def stage_ends(self, stage):
        if stage in _BEGINS:
            self.enter(_BEGINS[stage])
        elif stage == 'after_train_iter':
            self._charge()
            self._pending.append(self._current)
            self._current = {}
            self.iterations += 1
            self._read()

    def _read(self, wait=False):
        """Add up what is known: all, with `wait`; else what the device has passed."""
        pending = self._pending
        while pending:
            entry = pending[0]
            if isinstance(entry, tuple):
                name, event = entry
                if not event.query():
                    if not wait and len(pending) <= self.max_pending:
                        return
                    event.synchronize()
                self._device[name] = self._device.get(name, 0.) + self._event.elapsed_time(event) / 1000
                self._event = event
            else:
                self._add(entry, self._device)
                self._device = {}
            pending.popleft()

    def _add(self, host, device):
        for name, seconds in host.items():
            phase = self.phases.setdefault(name, Phase())
            phase.count += 1
            phase.host += seconds
            phase.device += device.get(name, 0.)
            weight = max(self.ema, 1 / phase.count)
            phase.host_mean += weight * (seconds - phase.host_mean)
            phase.device_mean += weight * (device.get(name, 0.) - phase.device_mean)

    def finish(self):
        """Read all that is there.

        Returns:
            dict[str, Phase]: By name, the longest first.
        """
        if self._current:
            self._charge()
            self._pending.append(self._current)
            self._current = {}
        self._read(wait=True)
        key = 'device' if self.cuda else 'host'
        return dict(sorted(self.phases.items(), key=lambda item: -getattr(item[1], key)))


@functools.lru_cache(None)
def _acts(kind, stage):
    return stage not in Hook.stages or stage in Hook.get_triggered_stages(kind)


def report(phases, cuda=False):
    """A table of phases.

    Args:
        phases (dict[str, Phase]): See PhaseTimers.finish.
        cuda (bool): Whether there are times of a GPU.

    Returns:
        str: A row a phase: the mean of the iterations that had it, in milliseconds, its share of all time, the moving
        average, in how many iterations it was. With a GPU its times stand beside those of the host.
    """
    devices = ('host', 'device') if cuda else ('host', )
    names = dict(host='host' if cuda else '', device='GPU')
    heads = [f'{names[d]} {what}'.strip() for d in devices for what in ('mean ms', 'share', 'latest ms')]
    rows = [['phase', *heads, 'iterations']]
    totals = {d: sum(getattr(p, d) for p in phases.values()) or 1. for d in devices}
    for name, phase in phases.items():
        row = [name]
        for d in devices:
            total = getattr(phase, d)
            row += [f'{1000 * total / phase.count:.2f}', f'{total / totals[d]:.1%}']
            row.append(f'{1000 * getattr(phase, d + "_mean"):.2f}')
        rows.append([*row, str(phase.count)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
                     for row in rows)

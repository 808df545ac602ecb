# Copyright (c) mmssl contributors. All rights reserved.
"""Recordings of torch.profiler: what takes the time of an iteration, and how often the host waits for the device."""
import contextlib
import os
import sys
import warnings
from collections import Counter

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from .misc import table_lines

# calls of CUDA in which the host waits; the profiler itself calls cudaDeviceSynchronize
_WAITS = ('cudaStreamSynchronize', 'cudaEventSynchronize', 'cudaMemcpy')


def recorder(iterations, on_ready=None, **options):
    """A profiler of the host, and of the GPU where there is one, that `step()` tells of each iteration's end.

    It is started one iteration early, since its start takes time.

    Args:
        iterations (int): How many are recorded.
        on_ready (callable, optional): Called with the profiler when all are recorded.
        options: Of torch.profiler.profile, such as with_stack.

    Returns:
        torch.profiler.profile: Not started yet.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    else:
        os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # it complains that there is no GPU
    plan = schedule(wait=0, warmup=1, active=iterations, repeat=1)
    return profile(activities=activities, schedule=plan, on_trace_ready=on_ready, **options)


class Recording:
    """The sums over some recorded iterations.

    Args:
        events (Iterable): `key_averages()` of a profiler that was told of each iteration.
        iterations (int): How many it has recorded.
    """

    def __init__(self, events, iterations):
        self.iterations = iterations
        events = list(events)
        on_host = [event for event in events if event.device_type == DeviceType.CPU]
        kernels = [e for e in events if e.device_type != DeviceType.CPU and not e.is_user_annotation]
        self._seconds = {e.key: 1e-6 * e.cpu_time_total / iterations for e in on_host if e.is_user_annotation}
        self._device = 1e-6 * sum(kernel.self_device_time_total for kernel in kernels) / iterations
        self._operations = [event for event in on_host if not event.is_user_annotation]
        self._on_device = bool(kernels)
        self._copies = sum(k.count for k in kernels if k.key.startswith('Memcpy DtoH') and 'Pageable' in k.key)

    @property
    def seconds(self):
        """float: Of an iteration, by the clock of the host."""
        return self._seconds.get('ProfilerStep*', 0.)

    @property
    def device_share(self):
        """float | None: The part of that time in which the GPU computes; None without one. Several streams add up."""
        return self._device / max(1e-9, self.seconds) if self._on_device else None

    def top(self, rows):
        """The operations that take the most time: that of their kernels on a GPU, else that of the host.

        Args:
            rows (int): How many.

        Returns:
            list[dict]: `name`, `milliseconds` and `calls`, both an iteration, and `share` of all kernels' time, or of
            the iteration's.
        """
        whole = max(1e-9, self._device if self._on_device else self.seconds)
        found = []
        for event in self._operations:
            micro = event.self_device_time_total if self._on_device else event.self_cpu_time_total
            seconds = 1e-6 * micro / self.iterations
            calls = event.count / self.iterations
            found.append(dict(name=event.key, milliseconds=1e3 * seconds, calls=calls, share=seconds / whole))
        return sorted(found, key=lambda row: -row['milliseconds'])[:rows]

    def waits(self):
        """How often the host waits for the device in an iteration, by what it waits in.

        Returns:
            dict[str, float]: Calls of CUDA that wait, and copies to memory that is not pinned, which are waited for as
            well. Empty without a GPU, where nothing waits.
        """
        found = {e.key: e.count / self.iterations for e in self._operations if e.key in _WAITS}
        if self._copies:
            found['copies to pageable memory'] = self._copies / self.iterations
        return found

    def table(self, rows):
        """str: What `top` tells, for people."""
        lines = table_lines([(row['name'], f'{row["share"]:.1%}', row['milliseconds'], f'{row["calls"]:.1f}')
                             for row in self.top(rows)], ('operation', 'share', 'ms', 'calls'))
        device = '' if self.device_share is None else f'; the GPU computes in {self.device_share:.0%} of that time'
        return '\n'.join(
            [f'{self.iterations} iterations of {1e3 * self.seconds:.1f} ms{device}; an iteration has', *lines])


@contextlib.contextmanager
def waiting_lines():
    """Count where the host waits for the GPU, by torch's own warnings of it; of a CPU nothing is counted.

    Yields:
        Counter: Of (file, function, line), the innermost frame that belongs to mmssl.
    """
    found = Counter()
    if not torch.cuda.is_available():
        yield found
        return

    def note(message, *args, **kwargs):
        if 'synchronizing CUDA operation' not in str(message):
            return
        frame = sys._getframe(1)
        while frame.f_back is not None and '/mmssl/' not in frame.f_code.co_filename:
            frame = frame.f_back
        file = 'mmssl/' + frame.f_code.co_filename.rpartition('/mmssl/')[2]
        found[file, frame.f_code.co_name, frame.f_lineno] += 1

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode('warn')
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)

# Copyright (c) mmssl contributors. All rights reserved.
"""What some iterations spend their time on, recorded by torch.profiler."""
from pathlib import Path

from mmcv.runner.hooks import Hook
from torch.profiler import record_function

from mmssl.utils.errors import ConfigError, check_integer
from mmssl.utils.recording import Recording, recorder
from ..builder import HOOKS
from .any_runner import defer


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Record some iterations with torch.profiler: a table of operations in the log, and a trace of each process.

    It is the hook of the setting `profiler_config`. The trace is WORK_DIR/profile/iter_FIRST-LAST_rankN.json.gz, for
    https://ui.perfetto.dev or chrome://tracing. An iteration counts from the end of the one before, so that the wait
    for data is in it.

    Args:
        start (int): Iterations before the first recorded one, counted from where this start of the training begins.
            The first ones are slower: memory is allocated, kernels are chosen and compiled.
        iterations (int): How many to record. Traces are large: some MB an iteration.
        rows (int): Operations in the table.
        record_shapes (bool): Keep the shapes of inputs.
        profile_memory (bool): Keep what is allocated and freed.
        with_stack (bool): Keep the lines of code. Slow.
        with_flops (bool): Count operations of matrix products and convolutions.
    """

    def __init__(self,
                 start=10,
                 iterations=5,
                 rows=15,
                 record_shapes=False,
                 profile_memory=False,
                 with_stack=False,
                 with_flops=False):
        for name, value, least in (('start', start, 1), ('iterations', iterations, 1), ('rows', rows, 1)):
            check_integer(value, f'profiler_config.{name}', least)
        self.start = start
        self.iterations = iterations
        self.rows = rows
        self.options = dict(
            record_shapes=record_shapes, profile_memory=profile_memory, with_stack=with_stack, with_flops=with_flops)
        self._first = self._profiler = self._phase = None

    def before_run(self, runner):
        if runner.work_dir is None:
            raise ConfigError('profiler_config writes a trace, and there is no work_dir')
        left = runner.max_iters - runner.iter
        self._first = runner.iter + self.start
        if self.start + self.iterations <= left:
            return
        words = (f'profiler_config records {self.iterations} iterations behind the first {self.start}, and the '
                 f'training has {left}')
        if runner.iter == 0:
            raise ConfigError(f'{words}: lower start and iterations')
        runner.logger.warning('%s left: nothing is recorded', words)
        self._first = None

    def before_train_iter(self, runner):
        if self._first is not None and runner.iter == self._first - 1:
            self._profiler = recorder(self.iterations, lambda found: self._write(found, runner), **self.options)
            self._profiler.start()
        self._enter('forward and loss')

    def after_forward(self, runner):
        self._enter('hooks')

    def before_backward(self, runner):
        self._enter('backward')

    def after_backward(self, runner):
        self._enter('hooks')

    def before_step(self, runner):
        self._enter('optimizer')

    def after_step(self, runner):
        self._enter('hooks')

    def after_train_iter(self, runner):
        if self._profiler is None:
            return
        self._enter(None)
        if runner.iter == self._first + self.iterations - 1:
            # the trace takes seconds, which the timer of iterations then leaves out
            defer(runner, self._finish, type(self).__name__)
        else:
            self._profiler.step()
            self._enter('wait for data')

    def _enter(self, name):
        """Name what comes next in the trace."""
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None
        if name is not None and self._profiler is not None:
            self._phase = record_function(name)
            self._phase.__enter__()

    def _finish(self):
        self._profiler.step()
        self.close()

    def _write(self, profiler, runner):
        last = self._first + self.iterations
        path = Path(runner.work_dir) / 'profile' / f'iter_{self._first + 1}-{last}_rank{runner.rank}.json.gz'
        path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(path))
        if runner.rank == 0:
            recording = Recording(profiler.key_averages(), self.iterations)
            runner.logger.info('%s\nwhat ran when is in %s: open it at https://ui.perfetto.dev or chrome://tracing',
                               recording.table(self.rows), path)

    def close(self):
        """End the recording, also that of a training which is over before all is recorded."""
        self._enter(None)
        if self._profiler is not None:
            self._profiler.on_trace_ready = None  # stop() calls it too
            self._profiler.stop()
            self._profiler = None

# Copyright (c) mmssl contributors. All rights reserved.
"""Where does the time go?"""
import torch
from mmcv.runner.hooks import Hook
from torch import nn

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from ..phase_timers import PhaseTimers, report
from .trackers import send_to_trackers


@HOOKS.register_module()
class PhaseTimerHook(Hook):
    """Time the phases of iterations, and report them at the end: data, forward, loss, backward, optimizer, each hook.

    What is measured is that of rank 0; its backward pass includes the wait for the gradients of other processes. The
    loss is what the model's `head` does within the forward pass, where there is one. The writing of checkpoints and
    the hooks between epochs are phases too. Nothing waits for a GPU.

    Args:
        interval (int | None): Iterations between reports in the midst of the training, which go to trackers as well;
            by default there is only that at the end.
        ema (float): Weight of an iteration in the moving averages, the 'latest' times.
        max_pending (int): See PhaseTimers.
    """

    def __init__(self, interval=None, ema=0.1, max_pending=1000):
        if interval is not None and interval < 1:
            raise ConfigError(f'PhaseTimerHook.interval is at least 1, or None, got {interval}')
        if not 0 < ema <= 1:
            raise ConfigError(f'PhaseTimerHook.ema is above 0 and at most 1, got {ema}')
        self.interval = interval
        self.ema = ema
        self.max_pending = max_pending
        self.timers = None

    def before_run(self, runner):
        if not hasattr(runner, 'phases'):
            raise ConfigError('PhaseTimerHook needs a runner of this toolbox, got one of mmcv')
        if runner.rank != 0:
            return
        self.runner = runner
        cuda = next(runner.model.parameters()).is_cuda
        self.timers = runner.phases = PhaseTimers(cuda, self.max_pending, self.ema)
        head = getattr(unwrap(runner.model), 'head', None)
        self._handles = []
        if isinstance(head, nn.Module):
            self._handles = [
                head.register_forward_pre_hook(torch.compiler.disable(self._loss_begins)),
                head.register_forward_hook(torch.compiler.disable(self._loss_ends))
            ]

    def _loss_begins(self, module, inputs):
        if self.timers.is_open('forward'):
            self.timers.enter('loss')

    def _loss_ends(self, module, inputs, output):
        if self.timers.is_open('loss'):
            self.timers.leave()

    def after_train_iter(self, runner):
        if self.timers is None or self.interval is None or not self.every_n_iters(runner, self.interval):
            return
        key = 'device_mean' if self.timers.cuda else 'host_mean'
        means = {name: 1000 * getattr(phase, key) for name, phase in self.timers.phases.items()}
        longest = sorted((item for item in means.items() if item[1] > 0.1), key=lambda item: -item[1])
        runner.logger.info('Phases, moving averages in ms: %s', ', '.join(f'{name} {ms:.1f}' for name, ms in longest))
        send_to_trackers(runner, 'write', {f'phases/{name}': ms for name, ms in means.items()}, runner.iter + 1)

    def close(self):
        """Report, also where the training ends early."""
        if self.timers is None:
            return
        timers, self.timers, self.runner.phases = self.timers, None, None
        for handle in self._handles:
            handle.remove()
        if timers.iterations:
            self.runner.logger.info('Phases of %d iterations:\n%s', timers.iterations,
                                    report(timers.finish(), timers.cuda))

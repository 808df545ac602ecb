# Copyright (c) mmssl contributors. All rights reserved.
"""A progress bar in place of log lines."""
import logging
import sys

from mmcv.runner.hooks.logger import LoggerHook

from ..builder import HOOKS


class _AboveTheBar:
    """A stream whose lines appear above the bars of the terminal."""

    def write(self, text):
        from tqdm import tqdm
        tqdm.write(text, sys.stderr, end='')

    def flush(self):
        sys.stderr.flush()


@HOOKS.register_module()
class ProgressBarLoggerHook(LoggerHook):
    """Show loss, images/s and the time left on one line that renews itself.

    Lines of the log appear above it. Where the output is no terminal, plain lines appear, about twenty in a training.

    Args:
        interval (int): Iterations between refreshes of the figures.
        ignore_last (bool): See mmcv's LoggerHook.
        reset_flag (bool): See mmcv's LoggerHook.
        by_epoch (bool): Whether the interval is counted from the start of each epoch.
    """

    def __init__(self, interval=10, ignore_last=True, reset_flag=False, by_epoch=True):
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        self.bar = None
        self._plain = -1

    def before_run(self, runner):
        super().before_run(runner)
        self._terminal = sys.stderr.isatty()
        if runner.rank == 0 and self._terminal:
            from tqdm import tqdm
            self.bar = tqdm(total=runner.max_iters, initial=runner.iter, unit='it', dynamic_ncols=True)
            for handler in runner.logger.handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                    handler.setStream(_AboveTheBar())

    def after_train_iter(self, runner):
        if self.bar is not None:
            self.bar.update()
        super().after_train_iter(runner)

    def log(self, runner):
        output = runner.log_buffer.output
        if self.get_mode(runner) != 'train':
            return
        if runner.rank != 0:
            return
        speed = runner.outputs['num_samples'] * runner.world_size / max(1e-9, output['time'])
        if self.bar is not None:
            self.bar.set_postfix_str(f'loss {output["loss"]:.4f}, {speed:.0f} img/s')
            return
        twentieth = 20 * (runner.iter + 1) // runner.max_iters
        if twentieth > self._plain:
            self._plain = twentieth
            left = (runner.max_iters - runner.iter - 1) * output['time']
            print(
                f'{(runner.iter + 1) / runner.max_iters:4.0%}  iteration {runner.iter + 1}/{runner.max_iters}  '
                f'loss {output["loss"]:.4f}  {speed:.0f} img/s  {left:.0f} s left',
                flush=True)

    def after_run(self, runner):
        self.close()

    def close(self):
        """Leave the terminal to others."""
        if self.bar is not None:
            self.bar.close()

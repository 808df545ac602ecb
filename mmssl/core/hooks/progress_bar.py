# Copyright (c) mmssl contributors. All rights reserved.
"""How far a training is: a bar in a terminal or notebook, a few plain lines elsewhere."""
import datetime
import importlib.util
import logging
import sys
import time

from mmcv.runner.hooks.logger import LoggerHook

from ..builder import HOOKS

# what tells best whether something is learned: the first of these that was logged, and how it is shown
_MEASURES = (('knn_top1', 'kNN {:.1%}'), ('quality_rankme', 'RankMe {:.1f}'), ('effective_rank',
                                                                               'effective rank {:.1f}'))


class _AboveTheBar:
    """A stream whose lines appear above the bars of the terminal."""

    def write(self, text):
        from tqdm import tqdm
        tqdm.write(text, sys.stderr, end='')

    def flush(self):
        sys.stderr.flush()


@HOOKS.register_module()
class ProgressBarLoggerHook(LoggerHook):
    """Show iterations, loss, images/s, the share of time spent waiting for data, kNN or rank, and the time left.

    In a terminal, and in a notebook with ipywidgets, one line with a bar renews itself, and lines of the log appear
    above it. Elsewhere plain lines with the same words appear, about twenty in a training.

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
        self._measures = {}

    def before_run(self, runner):
        super().before_run(runner)
        self._start = time.monotonic(), runner.iter
        kind = _bar_kind() if runner.rank == 0 else None
        if kind is None:
            return
        self.bar = kind(
            total=runner.max_iters,
            initial=runner.iter,
            dynamic_ncols=True,
            bar_format='{percentage:3.0f}% {bar:20} iteration {n_fmt}/{total_fmt}  {desc}')
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(_AboveTheBar())

    def after_train_iter(self, runner):
        if self.bar is not None:
            self.bar.update()
        super().after_train_iter(runner)

    def log(self, runner):
        output = runner.log_buffer.output
        self._measures.update({name: output[name] for name, _ in _MEASURES if name in output})
        if self.get_mode(runner) != 'train' or runner.rank != 0:
            return
        done = runner.iter + 1
        twentieth = 20 * done // runner.max_iters
        if self.bar is None and twentieth == self._plain:
            return
        self._plain = twentieth
        words = '  '.join(self._words(runner, output, done))
        if self.bar is None:
            print(f'{done / runner.max_iters:4.0%}  iteration {done}/{runner.max_iters}  {words}', flush=True)
        else:
            self.bar.set_description_str(words, refresh=False)

    def _words(self, runner, output, done):
        if runner.max_epochs is not None:
            yield f'epoch {runner.epoch + 1}/{runner.max_epochs}'
        if 'loss' in output:  # not where an evaluation within an epoch is all that is new
            yield f'loss {output["loss"]:.4f}'
        yield f'{runner.outputs["num_samples"] * runner.world_size / max(1e-9, output["time"]):.0f} img/s'
        if 'data_time' in output:
            yield f'data wait {output["data_time"] / max(1e-9, output["time"]):.0%}'
        yield from [words.format(self._measures[name]) for name, words in _MEASURES if name in self._measures][:1]
        start, first = self._start  # evaluations and checkpoints take their part of the time left too
        left = (time.monotonic() - start) / (done - first) * (runner.max_iters - done)
        yield f'{datetime.timedelta(seconds=round(left))} left'

    def after_run(self, runner):
        self.close()

    def close(self):
        """Leave the terminal to others."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
            for handler in logging.getLogger('mmssl').handlers:
                if isinstance(getattr(handler, 'stream', None), _AboveTheBar):
                    handler.setStream(sys.stderr)


def in_notebook():
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
    return hasattr(shell, 'kernel')


def _bar_kind():
    """The class of tqdm that shows a bar here; None where a bar would only be control characters."""
    if in_notebook():
        if importlib.util.find_spec('ipywidgets') is None:
            return None
        from tqdm.notebook import tqdm
        return tqdm
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm
    return tqdm

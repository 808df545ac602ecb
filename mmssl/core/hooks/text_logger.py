# Copyright (c) mmssl contributors. All rights reserved.
"""Log lines for people and a JSON log for programs."""
import datetime
import os
import resource

import torch
from mmcv.runner.hooks import Hook
from mmcv.runner.hooks import TextLoggerHook as _TextLoggerHook

from mmssl.utils.misc import disk_full
from ..builder import HOOKS


def peak_memory():
    """Most memory that this process has used in MB: of the GPU where there is one, else its resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


def process_state(runner):
    """What a line of the training says besides the losses.

    Args:
        runner (BaseRunner): Its loader tells of files that could not be read.

    Returns:
        dict[str, int]: `memory`, see peak_memory; where there were any, the number of files that cannot be read as
            `broken`, and how often others stood in for them as `replaced`.
    """
    found = dict(memory=peak_memory())
    broken = getattr(runner.data_loader, 'broken', 0)
    if broken:
        found.update(broken=int(broken), replaced=int(getattr(runner.data_loader, 'replaced', broken)))
    return found


class LastIterationHook(Hook):
    """Have the loggers behind it log the last iteration of an epoch too, of which mmcv's drop what fills no interval.

    With IterBasedRunner it is the last iteration of the training.

    Args:
        interval (int): That of the loggers.
    """

    def __init__(self, interval):
        self.interval = interval

    def after_train_iter(self, runner):
        done, last = (runner.iter + 1, self.is_last_iter(runner)) if runner.max_epochs is None else \
            (runner.inner_iter + 1, self.end_of_epoch(runner))
        if last:
            runner.log_buffer.average(done % self.interval or self.interval)


@HOOKS.register_module()
class TextLoggerHook(_TextLoggerHook):
    """Print loss terms, learning rate, images/s, share of time spent waiting for data, memory and time left.

    The same goes as one JSON object a line to TIME.log.json in the work_dir. Arguments are those of mmcv's hook; its
    keys are kept; img_per_sec, data_share, broken (files that could not be read since the start) and replaced (how
    often others stood in for them) are new.
    """

    _full = False  # whether the disk was
    _logged = 0  # iterations since the start that lines tell of

    def log(self, runner):
        output = runner.log_buffer.output
        mode = self.get_mode(runner)
        iteration = output.pop('eval_iter_num', None)
        if iteration is None:
            iteration = self.get_iter(runner, inner_iter=True)
        rates = runner.current_lr()
        log = dict(mode=mode, epoch=self.get_epoch(runner), iter=iteration)
        log['lr'] = {k: v[0] for k, v in rates.items()} if isinstance(rates, dict) else rates[0]
        if mode == 'train':
            log.update(process_state(runner))
        log.update(output)
        if runner.rank == 0:
            self._log_info(log, runner)
        self._dump_whole_lines(log, runner)
        return log

    def _dump_whole_lines(self, log, runner):
        """On a full disk the training goes on, and no half line stays for the next one to be glued to."""
        path = getattr(self, 'json_log_path', None)
        size = os.path.getsize(path) if path and os.path.exists(path) else 0
        try:
            self._dump_log(log, runner)
        except OSError as error:
            if disk_full(error) is None:
                raise
            if os.path.exists(path):
                os.truncate(path, size)
            if not self._full:
                runner.logger.warning('the disk is full: lines are missing in %s', path)
            self._full = True

    def _log_info(self, log_dict, runner):
        log = dict(log_dict)
        mode, epoch, iteration, lr = (log.pop(key) for key in ('mode', 'epoch', 'iter', 'lr'))
        if mode == 'train':
            head = f'Epoch [{epoch}][{iteration}/{len(runner.data_loader)}]' if self.by_epoch else \
                f'Iter [{iteration}/{runner.max_iters}]'
            rates = lr.items() if isinstance(lr, dict) else [('', lr)]
            items = [f'lr{"_" + name if name else ""}: {rate:.3e}' for name, rate in rates]
            done = runner.iter - self.start_iter + 1
            self.time_sec_tot += log['time'] * (done - self._logged)
            self._logged = done
            left = self.time_sec_tot / done * (runner.max_iters - runner.iter - 1)
            items += [f'eta: {datetime.timedelta(seconds=int(left))}', f'time: {log.pop("time"):.3f}']
            if 'img_per_sec' in log:  # which mmcv's own runners do not know
                items += [f'img/s: {log.pop("img_per_sec"):.1f}', f'data wait: {log.pop("data_share"):.0%}']
            items.append(f'memory: {log.pop("memory")}')
            log.pop('data_time', None)
        else:
            head = f'Epoch({mode}) [{epoch}][{iteration}]' if self.by_epoch else f'Iter({mode}) [{iteration}]'
            items = []
        items += [
            f'{name}: {value:.4f}' if isinstance(value, float) else f'{name}: {value}' for name, value in log.items()
        ]
        runner.logger.info(f'{head}\t' + ', '.join(items))

    def _round_float(self, items):
        # six digits of a small learning rate, not five decimals
        if isinstance(items, dict):
            return {key: self._round_float(value) for key, value in items.items()}
        if isinstance(items, list):
            return [self._round_float(item) for item in items]
        return float(f'{items:.6g}') if isinstance(items, float) else items

# Copyright (c) mmssl contributors. All rights reserved.
"""What does the GPU do?"""
import csv
import shutil
import subprocess

import torch
from mmcv.runner.hooks import Hook

from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from .trackers import as_number, send_to_trackers

# columns of nvidia-smi, and how they are called in the log
FIGURES = {
    'utilization.gpu': 'busy %',
    'memory.used': 'memory MB',
    'memory.total': 'of MB',
    'temperature.gpu': 'degrees C',
    'power.draw': 'W',
    'clocks.sm': 'MHz',
}


def query(timeout=10):
    """Ask nvidia-smi for figures of all GPUs.

    Args:
        timeout (float): Seconds after which it is given up.

    Returns:
        dict[str, dict[str, float]]: By name of the GPU ('0 NVIDIA H200'), and by name in FIGURES; what a GPU does not
        tell is left out.

    Raises:
        OSError: There is no nvidia-smi, or it fails.
    """
    command = ['nvidia-smi', f'--query-gpu=index,name,{",".join(FIGURES)}', '--format=csv,noheader,nounits']
    if shutil.which(command[0]) is None:
        raise OSError('there is no nvidia-smi')
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise OSError(f'nvidia-smi does not answer within {timeout} s') from None
    if done.returncode:
        raise OSError(f'nvidia-smi fails: {(done.stderr or done.stdout).strip()}')
    found = {}
    for index, name, *values in csv.reader(done.stdout.splitlines(), skipinitialspace=True):
        figures = {}
        for key, text in zip(FIGURES.values(), values):
            try:
                figures[key] = as_number(float(text))
            except ValueError:  # [N/A]
                continue
        found[f'{index} {name}'] = figures
    return found


@HOOKS.register_module()
class GPUStatsHook(Hook):
    """Log what nvidia-smi tells of the GPUs of this machine: at the start, under load, and at intervals.

    Args:
        start (int): Iterations after the start of the training until the look at its load.
        interval (int | None): Iterations between further looks, which go to trackers as well; none by default.
        reset_peak_memory (bool): Whether the peak of the GPU's memory in the log is that of the epoch and not of the
            whole training.
    """

    def __init__(self, start=50, interval=None, reset_peak_memory=False):
        for name, value in (('start', start), ('interval', interval)):
            if value is not None and value < 1:
                raise ConfigError(f'GPUStatsHook.{name} is at least 1, got {value}')
        self.start = start
        self.interval = interval
        self.reset_peak_memory = reset_peak_memory

    def before_run(self, runner):
        self._asks, self._done = runner.rank == 0, 0
        self._look(runner, 'at the start')

    def before_train_epoch(self, runner):
        if self.reset_peak_memory and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def after_train_iter(self, runner):
        self._done += 1
        if self._done == self.start or self.interval is not None and self._done % self.interval == 0:
            self._look(runner, f'in iteration {runner.iter + 1}')

    def _look(self, runner, when):
        if not self._asks:
            return
        try:
            found = query()
        except OSError as error:
            self._asks = False  # said once
            runner.logger.info('No figures of GPUs: %s', error)
            return
        for name, figures in found.items():
            runner.logger.info('GPU %s %s: %s', name, when, ', '.join(f'{k} {v:g}' for k, v in figures.items()))
            if when != 'at the start':
                index = name.split()[0]
                send_to_trackers(runner, 'write', {f'gpu{index}/{k}': v for k, v in figures.items()}, runner.iter + 1)

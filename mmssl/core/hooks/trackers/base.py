# Copyright (c) mmssl contributors. All rights reserved.
"""What all experiment trackers share: what is logged, under which names, when a run begins, goes on and ends."""
import importlib.util
import math
import numbers
import random
import sys
import time
from pathlib import Path

import torch
from mmcv.runner.hooks.logger import LoggerHook

from mmssl.utils.errors import ConfigError, describe
from mmssl.utils.rng import get_rng_state, set_rng_state
from ..any_runner import train_loader
from ..text_logger import process_state


class TrackerHook(LoggerHook):
    """Base of the hooks that send what is logged to a tracker of experiments, from rank 0.

    A subclass says how a run is opened, written to and closed. The id of the run is kept in checkpoints, so that a
    resumed training goes on with it where the library allows. A tracker that fails in the midst of a training is
    warned of once, and the training goes on without it: the text and JSON logs have all of it.

    Args:
        interval (int): Iterations from line to line, by default that of log_config.
        ignore_last (bool): See mmcv's LoggerHook.
        reset_flag (bool): See mmcv's LoggerHook.
        by_epoch (bool): Whether the interval is counted from the start of each epoch.

    Attributes:
        module (str): Module that the tracker needs.
        package (str): What pip installs it by.
        offline (str): How the tracker works without a network.
        run_id (str | None): Of the tracker's run.

    Raises:
        ConfigError: The library is not installed, or cannot begin.
    """
    module = package = offline = ''

    def __init__(self, interval=10, ignore_last=True, reset_flag=False, by_epoch=True):
        if importlib.util.find_spec(self.module) is None:
            raise ConfigError(f'{type(self).__name__} needs a library that is not installed: pip install '
                              f'{self.package or self.module}')
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        self.run_id = None
        self.is_open = False
        self._failures = 0

    # what a tracker does, on rank 0

    def start(self, runner, config):
        """Open the run, or go on with `run_id`, and set `run_id`.

        Args:
            runner (BaseRunner): Its `work_dir` is where files go.
            config (dict): The config in plain values.
        """
        raise NotImplementedError

    def write(self, values, step):
        """Log numbers.

        Args:
            values (dict[str, float]): By name, such as 'train/loss'.
            step (int): Iterations that are done.
        """
        raise NotImplementedError

    def finish(self, status):
        """Close the run.

        Args:
            status (str): 'finished', 'stopped' (by a signal) or 'failed'.
        """
        raise NotImplementedError

    # when it does so

    def before_run(self, runner):
        super().before_run(runner)
        self._text_log = runner.logger
        self._began = time.monotonic(), runner.iter
        if runner.rank != 0:
            return
        config = plain(getattr(runner, 'config', None) or {})
        # names that the library draws are others in each start, and the training's random numbers are not touched
        state = get_rng_state()
        random.seed()
        try:
            self.start(runner, config)
        except Exception as error:
            raise ConfigError(f'{type(self).__name__} cannot begin: {describe(error)}' +
                              (f'; without a network: {self.offline}' if self.offline else '')) from error
        set_rng_state(state)
        self.is_open = True

    def after_train_iter(self, runner):
        self._step = runner.iter + 1
        super().after_train_iter(runner)

    def after_train_epoch(self, runner):
        self._step = runner.iter
        super().after_train_epoch(runner)

    def after_val_epoch(self, runner):
        self._step = runner.iter
        super().after_val_epoch(runner)

    def log(self, runner):
        if self.is_open:
            self.send('write', self._scalars(runner), self._step)

    def send(self, method, *args):
        """Call a method of this tracker, whose failure is no reason to end a training.

        Args:
            method (str): Its name, such as 'write'.
            args: Of the method.
        """
        try:
            getattr(self, method)(*args)
        except Exception as error:
            self._failures += 1
            if self._failures == 1:
                self._text_log.warning(
                    '%s cannot %s: %s. The training goes on; what the tracker lacks is in the text and JSON logs. '
                    'This is said once.',
                    type(self).__name__, method.replace('_', ' '), describe(error))

    def after_run(self, runner):
        self._finish('finished')

    def close(self):
        """End the run, of which a training that came to its end has no more to say."""
        error = sys.exc_info()[1]
        stopped = error is None or isinstance(error, (KeyboardInterrupt, SystemExit))
        self._finish('stopped' if stopped else 'failed')

    def _finish(self, status):
        if self.is_open:
            self.is_open = False
            self.send('finish', status)

    def state_dict(self):
        return dict(run_id=self.run_id)

    def load_state_dict(self, state):
        self.run_id = state['run_id']

    # what is logged

    def _scalars(self, runner):
        mode = self.get_mode(runner)
        evaluated = getattr(runner.log_buffer, 'evaluated', ())
        logged = dict(runner.log_buffer.output)
        logged.pop('eval_iter_num', None)
        settings = {}
        if mode == 'train':
            logged.update(process_state(runner), eta_hours=self._hours_left(runner))
            if getattr(runner.log_buffer, 'samples', 0):
                logged['batch_size'] = runner.log_buffer.samples
            settings = self._settings(runner)
        found = {f'{"val" if name in evaluated else mode}/{name}': value for name, value in logged.items()}
        values = {name: as_number(value) for name, value in {**found, **settings}.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _settings(self, runner):
        """Where the schedules stand."""
        found = {**self.get_lr_tags(runner), **self.get_momentum_tags(runner)}
        decays = [group.get('weight_decay', 0) for group in getattr(runner.optimizer, 'param_groups', ())]
        if any(decays):
            found['weight_decay'] = max(decays)
        loader = train_loader(runner)
        return dict(found, epoch=self._step / len(loader)) if loader is not None else found

    def _hours_left(self, runner):
        start, first = self._began
        return (time.monotonic() - start) / max(1, self._step - first) * (runner.max_iters - self._step) / 3600


def send_to_trackers(runner, method, *args):
    """Call a method of all trackers that have it.

    Args:
        runner (BaseRunner): Whose hooks the trackers are.
        method (str): 'write', 'write_histogram' or 'write_image'.
        args: Of the method.
    """
    for hook in runner.hooks:
        if isinstance(hook, TrackerHook) and hook.is_open and hasattr(hook, method):
            hook.send(method, *args)


def as_number(value):
    """A float of what is a finite number, be it one of Python, numpy or torch; else None."""
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 else None
    value = float(value) if isinstance(value, numbers.Number) and not isinstance(value, complex) else None
    return value if value is not None and math.isfinite(value) else None


def plain(value):
    """A config in dicts, lists, strings, numbers and None; other things become their text."""
    if isinstance(value, dict) or hasattr(value, 'items'):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def flat(config, path=''):
    """The settings of a config by dotted name, such as 'model.backbone.depth', or 'custom_hooks.0.type' in a list.

    Args:
        config (dict): Of plain values, see plain.

    Returns:
        dict: Numbers, strings and None; a list of such is a text.
    """
    if isinstance(config, list) and any(isinstance(part, (dict, list)) for part in config):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return {path: str(config) if isinstance(config, list) else config}
    found = {}
    for key, value in config.items():
        found.update(flat(value, f'{path}.{key}' if path else str(key)))
    return found


def run_name(runner):
    """What a run is called: the name of its folder."""
    return Path(runner.work_dir).resolve().name if runner.work_dir else 'mmssl'

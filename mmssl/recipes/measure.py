# Copyright (c) mmssl contributors. All rights reserved.
"""A few iterations of the training itself: how long one takes, and how much memory."""
import contextlib
import copy
import gc
import logging
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass

import torch
from mmcv import Config
from mmcv.runner.hooks import Hook
from torch.utils.data import Subset

from mmssl.core.hooks import any_runner  # noqa: F401  hooks are registered
from mmssl.core.training import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.evaluation.features import extract_features
from mmssl.models import build_algorithm
from mmssl.utils.config import config_section
from mmssl.utils.cpu_time import cpu_seconds
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.rng import get_rng_state, set_rng_state
from mmssl.utils.setup_env import torch_threads_of
from .choose import EVALUATIONS

_WARM = 3  # iterations that are not counted: caches fill, workers start
_LONGEST = 20  # seconds from the first iteration on, after which one counted iteration has to do


@dataclass
class Measured:
    """What a few iterations have shown.

    Attributes:
        iteration (float): Seconds of one, waiting for data included.
        cpu (float): Processor time of one in seconds, that of the loader's processes included.
        start (float): Seconds until the first iteration was done.
        evaluation (float): Seconds to extract the features of an image.
        iterations (int): How many were counted.
        memory (float): Most memory that was taken, in GB: of the GPU, or by which that of the process grew.
        loss (float): That of the last iteration.
        parameters (int): Of the model.
        checkpoint (float): Size of a checkpoint in GB.
        between (float): Seconds from epoch to epoch beside the iterations: clusters are made, the loader begins anew.
    """
    iteration: float
    cpu: float
    start: float
    evaluation: float
    iterations: int
    memory: float
    loss: float
    parameters: int
    checkpoint: float
    between: float = 0.

    def epoch(self, steps):
        """float: Seconds of an epoch of so many iterations."""
        return steps * self.iteration + self.between


class _Enough(BaseException):
    """Ends the training that is measured; no error, so that nobody explains it."""


class _Stopwatch(Hook):
    """Time iterations, and end the training when there were enough of them."""

    def __init__(self, seconds, least):
        self.seconds, self.least = seconds, least
        self.times, self.cpu, self.loss = [], [], float('nan')
        self.epochs, self.clustering = [], 0.  # epoch of each time, and seconds of clustering before an epoch

    def __deepcopy__(self, memo):
        return self  # the trainer copies hooks

    def after_train_iter(self, runner):
        if default_device().type == 'cuda':
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        self.cpu.append(cpu_seconds())
        self.epochs.append(runner.epoch)
        self.clustering = sum(
            hook.took / hook.interval for hook in runner.hooks
            if hasattr(hook, 'took') and not getattr(hook, 'online_labels', False))  # which clusters once
        self.loss = runner.outputs['log_vars'].get('loss', float('nan'))
        count = len(self.times) - _WARM
        if count > self.least and self.times[-1] - self.times[_WARM] > self.seconds \
                or len(self.times) > 1 and self.times[-1] - self.times[0] > _LONGEST:
            raise _Enough


def measure(cfg, seconds=3., least=5):
    """Train for some iterations as a config says, and forget all of it.

    Args:
        cfg (mmcv.Config): The whole config, which stays as it is.
        seconds (float): How long iterations are counted.
        least (int): At least so many are counted.

    Returns:
        Measured: What was seen.

    Raises:
        ConfigError: The training cannot begin, or does not fit into memory.
    """
    cfg = Config(copy.deepcopy(cfg._cfg_dict.to_dict()))
    logger, level = get_root_logger(), get_root_logger().level
    handlers = {handler: handler.level for handler in logger.handlers}
    state, began = get_rng_state(), time.perf_counter()
    before = _memory()
    device = default_device()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    watch = _Stopwatch(seconds, least)
    looks = next((h for h in cfg.get('custom_hooks') or () if h['type'] in EVALUATIONS), None)
    cfg.custom_hooks = [h for h in cfg.get('custom_hooks') or () if h['type'] not in EVALUATIONS] + [watch]
    cfg.log_config = dict(interval=10**9, hooks=[])
    cfg.checkpoint_config, cfg.evaluation, cfg.log_level = None, None, 'ERROR'
    cfg.resume_from = cfg.profiler_config = None
    cfg.broken_images = {**(cfg.get('broken_images') or {}), 'max_share': 1.}  # check and the training tell of them
    cfg.workflow = [('train', 1)]
    cfg.runner = dict(type='EpochBasedRunner', max_epochs=10**6)
    set_random_seed(cfg.get('seed') or 0)
    with tempfile.TemporaryDirectory(prefix='mmssl-measure-') as folder, _quiet(logger), torch_threads_of(cfg):
        cfg.work_dir = folder
        with config_section(cfg, 'model'):
            model = build_algorithm(cfg.model)
        model.init_weights()
        with config_section(cfg, 'data.train'):
            dataset = build_dataset(cfg.data.train)
        try:
            train_model(model, dataset, cfg, meta=dict(config=''))
        except _Enough:
            gc.collect()  # ends the processes of the loader, which others must not inherit
        finally:
            logger.setLevel(level)
            for handler, own in handlers.items():
                handler.setLevel(own)
        evaluation = _evaluation(model, looks)
    set_rng_state(state)
    times = watch.times
    first = min(_WARM, len(times) - 1)
    iteration, between = _per_iteration(times[first - 1:], watch.epochs[first - 1:], watch.clustering)
    counted = len(times) - first
    loss = float(watch.loss)
    if loss != loss:
        raise ConfigError(f'the loss is no number after {len(times)} iterations: a lower learning rate '
                          '(--set optimizer.lr=...), or --set amp=None where precision is the cause')
    peak = torch.cuda.max_memory_allocated() if device.type == 'cuda' else max(0, _memory() - before)
    return Measured(
        iteration=iteration,
        cpu=(watch.cpu[-1] - watch.cpu[first - 1]) / counted,
        start=times[0] - began,
        evaluation=evaluation,
        iterations=counted,
        memory=peak / 1e9,
        loss=loss,
        parameters=sum(p.numel() for p in model.parameters()),
        checkpoint=_checkpoint(model, cfg) / 1e9,
        between=between)


def _per_iteration(times, epochs, clustering):
    """Seconds of an iteration, and from epoch to epoch beside them.

    Args:
        times (list[float]): When iterations ended, in seconds.
        epochs (list[int]): The epoch of each.
        clustering (float): Seconds between epochs that are known; taken where no epoch ended.

    Returns:
        tuple[float, float]: Both.
    """
    gaps = [(after - before, one != other) for before, after, one, other in zip(times, times[1:], epochs, epochs[1:])]
    within, across = ([gap for gap, new in gaps if new is kind] for kind in (False, True))
    if not within:  # an epoch is one iteration
        return statistics.fmean(across), 0.
    iteration = statistics.fmean(within)
    return iteration, max(0., statistics.fmean(across) - iteration) if across else clustering


def _checkpoint(model, cfg):
    """Bytes of a checkpoint: the model, and what the optimizer keeps of each parameter."""
    moments = 2 if 'Adam' in cfg.optimizer.type else 1
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    return sum(value.numel() * value.element_size() for value in model.state_dict().values()) + moments * trained


def _memory():
    """Most bytes that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _quiet(logger):
    """Nothing of the training that is measured is told."""
    others = [logger, logging.getLogger('mmcv')]
    disabled = [one.disabled for one in others]
    for one in others:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(others, disabled):
            one.disabled = was


def _evaluation(model, hook):
    """Seconds to extract the features of an image as an evaluation does; 0 where there is none."""
    images = hook and (hook.get('train_dataset') or hook.get('dataset'))
    if not images:  # no evaluation, or the report alone
        return 0.
    dataset = build_dataset(images)
    some = Subset(dataset, range(min(128, len(dataset))))
    # the first images take several times as long, while caches fill
    extract_features(model, Subset(some, range(min(32, len(some)))), img_norm_cfg=hook.get('img_norm_cfg'))
    start = time.perf_counter()
    extract_features(model, some, img_norm_cfg=hook.get('img_norm_cfg'))
    return (time.perf_counter() - start) / len(some)

# Copyright (c) mmssl contributors. All rights reserved.
"""How are parameters and gradients distributed?"""
import re
from dataclasses import dataclass

import torch
from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of
from ..builder import HOOKS
from .trackers import TrackerHook, send_to_trackers


@dataclass
class Histogram:
    """Counts of values in bins of equal width.

    Attributes:
        counts (ndarray): int64, one a bin.
        edges (ndarray): Float64, one more.
        sum, sum_squares (float): Of the values.
    """
    counts: 'numpy.ndarray'  # noqa: F821
    edges: 'numpy.ndarray'  # noqa: F821
    sum: float
    sum_squares: float

    low = property(lambda self: float(self.edges[0]))
    high = property(lambda self: float(self.edges[-1]))
    total = property(lambda self: int(self.counts.sum()))

    def samples(self, most=1000):
        """At most so many values that are distributed alike, for trackers that count themselves."""
        share = torch.from_numpy(self.counts * min(1., most / max(1, self.total))).round().long()
        middles = torch.from_numpy((self.edges[1:] + self.edges[:-1]) / 2)
        return middles.repeat_interleave(share).tolist()


@torch.no_grad()
def histogram_of(values, bins=64):
    """A histogram that is counted where the values are, so that only the counts come to the host.

    Args:
        values (Tensor): Of any shape; values that are not finite are left out.
        bins (int): Number of bins, from the lowest value to the highest.

    Returns:
        Histogram | None: None where no value is finite.
    """
    values = values.detach().float().flatten()
    values = values[values.isfinite()]
    if not len(values):
        return None
    low, high = torch.stack(values.aminmax()).tolist()
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(values, bins, low, high).long().cpu().numpy()
    sums = torch.stack([values.double().sum(), values.double().square().sum()]).tolist()
    return Histogram(counts, torch.linspace(low, high, bins + 1, dtype=torch.float64).numpy(), *sums)


@HOOKS.register_module()
class HistogramHook(Hook):
    """Send histograms of parameters and gradients to the trackers that draw them.

    At the start and after each epoch, and every `interval` iterations. Gradients are those that the optimizer gets:
    without the loss scale, clipped. An iteration between two steps, where gradients accumulate, gives those of the
    next step. Under IterBasedRunner there are only those of the start and of the interval.

    Args:
        interval (int | None): Iterations between histograms in the midst of an epoch; none by default.
        parameters (bool): Whether to send those of parameters.
        gradients (bool): Whether to send those of gradients.
        include (str): Regular expression that is searched in the names of parameters; by default all are taken.
        bins (int): Bins of a histogram.

    Raises:
        ConfigError: There is no tracker that draws histograms, or no such parameter.
    """

    def __init__(self, interval=None, parameters=True, gradients=True, include='', bins=64):
        if interval is not None and interval < 1:
            raise ConfigError(f'HistogramHook.interval is at least 1, or None, got {interval}')
        if bins < 1:
            raise ConfigError(f'HistogramHook.bins is at least 1, got {bins}')
        if not (parameters or gradients):
            raise ConfigError('HistogramHook has neither parameters nor gradients to send')
        try:
            self.include = re.compile(include)
        except re.error as error:
            raise ConfigError(f'HistogramHook.include is no regular expression: {include!r} ({error})') from None
        self.interval = interval
        self.parameters = parameters
        self.gradients = gradients
        self.bins = bins
        self._due = False

    def before_run(self, runner):
        if not any(isinstance(hook, TrackerHook) and hasattr(hook, 'write_histogram') for hook in runner.hooks):
            raise ConfigError('HistogramHook needs a tracker that draws histograms in log_config.hooks, such as '
                              "dict(type='TensorboardLoggerHook')")
        self._names = [name for name, p in unwrap(runner.model).named_parameters()
                       if p.requires_grad and self.include.search(name)]  # yapf: disable
        if not self._names:
            raise ConfigError(f'HistogramHook.include: no trained parameter has {self.include.pattern!r} in its name')

    def before_train_epoch(self, runner):
        if runner.iter == 0 and self.parameters:
            self._send(runner, 'parameters', 0)

    def before_train_iter(self, runner):
        if self.interval is not None and self.every_n_iters(runner, self.interval):
            self._due = True

    def before_step(self, runner):
        if self._due and self.gradients:
            self._send(runner, 'gradients', runner.iter + 1)

    def after_step(self, runner):
        if self._due and self.parameters:
            self._send(runner, 'parameters', runner.iter + 1)
        self._due = False

    def after_train_epoch(self, runner):
        if self.interval is not None and runner.iter % self.interval == 0:
            return  # those of the last iteration are there
        for kind, wanted in (('parameters', self.parameters), ('gradients', self.gradients)):
            if wanted:
                self._send(runner, kind, runner.iter)

    def _send(self, runner, kind, step):
        parameters = {name: master_of(p) for name, p in unwrap(runner.model).named_parameters()}
        for name in self._names:
            values = parameters[name] if kind == 'parameters' else parameters[name].grad
            if values is None:
                continue
            if hasattr(values, 'full_tensor'):  # shards, which all processes gather
                values = values.full_tensor()
            found = histogram_of(values, self.bins) if runner.rank == 0 else None
            if found is not None:
                send_to_trackers(runner, 'write_histogram', f'{kind}/{name}', found, step)

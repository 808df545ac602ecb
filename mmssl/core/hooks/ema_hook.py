# Copyright (c) mmssl contributors. All rights reserved.
"""Moving average of all parameters, for evaluation and the checkpoint."""
import contextlib

import torch
from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of, update_weights
from mmssl.utils.sharded import local, shard_like
from ..builder import HOOKS


@HOOKS.register_module()
class EMAHook(Hook):
    """Keep a moving average of the parameters, average = (1 - m) * average + m * parameter.

    As mmcv's hook of this name, but by multi-tensor operations and with its state in the checkpoint of a resume. At
    the end of an epoch the averages change places with the parameters, so that what looks at the model then has the
    averages; the next epoch changes them back. Checkpoints and the evaluations of this toolbox have them at any
    iteration.

    Args:
        momentum (float): Weight m of the new parameters in each iteration.
        interval (int): Iterations k between updates, each then with 1 - (1 - m)^k (mmcv takes m^k, which is no average
            over k iterations).
        warm_up (int): In iteration i, m is at most (1 + i) / (warm_up + i).
    """

    def __init__(self, momentum=0.0002, interval=1, warm_up=100):
        if not 0 < momentum < 1 or interval < 1:
            raise ConfigError(f'EMAHook takes 0 < momentum < 1 and interval >= 1, got {momentum} and {interval}')
        self.momentum = 1 - (1 - momentum)**interval
        self.interval = interval
        self.warm_up = warm_up
        self.averages = None
        self.swapped = False

    def before_run(self, runner):
        self._model = unwrap(runner.model)
        parameters = [master_of(p).detach() for p in self._model.parameters()]
        if self.averages is None:
            self.averages = [p.clone() for p in parameters]
        # of sharded parameters each process has the averages of its parts
        self.averages = [shard_like(a, p) for a, p in zip(self.averages, parameters)]
        self._own, self._parameters = [local(a) for a in self.averages], [local(p) for p in parameters]

    def after_train_iter(self, runner):
        if runner.iter % self.interval == 0:
            momentum = min(self.momentum, (1 + runner.iter) / (self.warm_up + runner.iter))
            torch._foreach_lerp_(self._own, self._parameters, momentum)

    def before_train_epoch(self, runner):
        if self.swapped:
            self._swap()

    def after_train_epoch(self, runner):
        self._swap()

    @contextlib.contextmanager
    def averaged(self):
        """Context in which the model has the averages."""
        if self.swapped:
            yield
            return
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self):
        held = [a.clone() for a in self._own]
        torch._foreach_copy_(self._own, self._parameters)
        torch._foreach_copy_(self._parameters, held)
        update_weights(self._model)
        self.swapped = not self.swapped

    def state_dict(self):
        return dict(averages=self.averages, swapped=self.swapped)

    def load_state_dict(self, state):
        self.averages, self.swapped = state['averages'], state['swapped']

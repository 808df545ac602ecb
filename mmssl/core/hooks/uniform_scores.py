# Copyright (c) mmssl contributors. All rights reserved.
"""Is this loss normal? ln K is not, K the prototypes, if it stays there."""
from mmcv.runner import Hook

from mmssl.utils import dist
from mmssl.utils.checkpoint import unwrap
from ..builder import HOOKS


@HOOKS.register_module()
class UniformScoresHook(Hook):
    """Say once in the log that all prototypes are alike: loss, and entropy of the targets, stay at ln K.

    Trainings whose head has `uniform_values` (DINO, iBOT, DINOv2, MSN, SwAV) have this hook without being asked; an own
    one in custom_hooks takes its place. A training may begin there, so that it waits before it looks.

    Args:
        interval (int): Iterations from look to look, each of which waits for the device.
        start (int, optional): Iterations before the first look; by default a tenth of the training, at most 5,000.
        looks (int): Said when this many looks in a row have found it.
        tolerance (float): How near to ln K is at ln K, as a share of it.
    """

    def __init__(self, interval=50, start=None, looks=3, tolerance=0.01):
        self.interval = interval
        self.start = start
        self.looks = looks
        self.tolerance = tolerance
        self.found = 0  # looks in a row

    def after_train_iter(self, runner):
        head = getattr(unwrap(runner.model), 'head', None)
        uniform = getattr(head, 'uniform_values', None)
        start = min(5000, runner.max_iters // 10) if self.start is None else self.start
        if not uniform or dist.get_rank() != 0 or self.found >= self.looks or runner.iter < start \
                or not self.every_n_iters(runner, self.interval):
            return
        values = {name: float(runner.outputs['log_vars'][name]) for name in uniform}
        alike = all(abs(values[name] - uniform[name]) <= self.tolerance * uniform[name] for name in uniform)
        self.found = self.found + 1 if alike else 0
        if self.found < self.looks:
            return
        names = ' and '.join(f'{name} {value:.3f}' for name, value in values.items())
        knobs = [f'head.{name} (now {getattr(head, name):g})' for name in head.sharpness]
        runner.logger.warning(
            f'{names} stay at ln K = {next(iter(uniform.values())):.3f}, K the number of prototypes, up to iteration '
            f'{runner.iter + 1}: all prototypes are alike, and nothing is learned. What helps: lower '
            f'{" and ".join(knobs)}; a lower learning rate or a longer warm-up; a smaller batch, if it is one of '
            'thousands; a norm in the projector. The first epochs of a long training may pass like this. '
            'This is said once.')

# Copyright (c) mmssl contributors. All rights reserved.
"""Is this loss normal? That of a network which tells nothing apart is not, if it stays there."""
from mmcv.runner import Hook

from mmssl.utils import dist
from mmssl.utils.checkpoint import unwrap
from ..builder import HOOKS

# what is alike -> the value and its letter, what has happened, and what helps besides a sharper head
_WORDS = dict(
    prototypes=('ln K', 'K the number of prototypes', 'all prototypes are alike',
                'a lower learning rate or a longer warm-up; a smaller batch, if it is one of thousands; a norm in the '
                'projector'),
    keys=('ln N', 'N the number of keys', 'an image is not told from others',
          'a lower learning rate or a longer warm-up; views that show more of the same (a larger scale of the crops)'),
    classes=('ln K', 'K the number of classes', 'all classes are as likely',
             'another learning rate, also a higher one; labels that can be told from the views'),
    cosine=('0', 'the cosine of vectors that have nothing in common', 'predictions do not find their targets',
            'another learning rate, also a higher one; views that show more of the same (a larger scale of the crops)'))


@HOOKS.register_module()
class UniformScoresHook(Hook):
    """Say once in the log that the loss stays at its trivial value, that of a network which tells nothing apart.

    It is ln K for K prototypes (DINO, iBOT, DINOv2, MSN, SwAV) or classes (rotation, jigsaw, clusters, labels), ln N
    for N keys (SimCLR, MoCo, NNCLR), and 0 for cosines (BYOL, SimSiam); entropies of targets are looked at where there
    are some. Trainings whose head has `uniform_values` have this hook without being asked; an own one in custom_hooks
    takes its place. A training may begin there, so that it waits before it looks.

    Args:
        interval (int, optional): Iterations from look to look, each of which waits for the device; by default 50, and
            in a short training a fifth of it.
        start (int, optional): Iterations before the first look; by default a tenth of the training, at most 5,000.
        looks (int): Said when this many looks in a row have found it.
        tolerance (float): How near to the value is at it, as a share of it; of 0, as a difference.
    """

    def __init__(self, interval=None, start=None, looks=3, tolerance=0.01):
        self.interval = interval
        self.start = start
        self.looks = looks
        self.tolerance = tolerance
        self.found = 0  # looks in a row

    def after_train_iter(self, runner):
        head = getattr(unwrap(runner.model), 'head', None)
        uniform = getattr(head, 'uniform_values', None)
        start = min(5000, runner.max_iters // 10) if self.start is None else self.start
        interval = max(1, min(50, runner.max_iters // 5)) if self.interval is None else self.interval
        if not uniform or dist.get_rank() != 0 or self.found >= self.looks or runner.iter < start \
                or not self.every_n_iters(runner, interval):
            return
        uniform = {name: float(value) for name, value in uniform.items()}
        values = {name: float(runner.outputs['log_vars'][name]) for name in uniform}
        alike = all(
            abs(values[name] - uniform[name]) <= self.tolerance * max(1, abs(uniform[name])) for name in uniform)
        self.found = self.found + 1 if alike else 0
        if self.found < self.looks:
            return
        names = ' and '.join(f'{name} {value:.3f}' for name, value in values.items())
        letter, meaning, state, others = _WORDS[head.uniform_kind]
        if letter != '0':
            letter = f'{letter} = {next(iter(uniform.values())):.3f}'
        knobs = [f'head.{name} (now {getattr(head, name):g})' for name in head.sharpness]
        verb = 's' if len(values) == 1 else ''
        sharper = f'lower {" and ".join(knobs)}; ' if knobs else ''
        runner.logger.warning(
            f'{names} stay{verb} at {letter}, {meaning}, up to iteration {runner.iter + 1}: {state}, '
            f'and nothing is learned. What helps: {sharper}{others}. The first epochs of a long training may pass like '
            'this. This is said once.')

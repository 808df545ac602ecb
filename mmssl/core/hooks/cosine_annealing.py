# Copyright (c) mmssl contributors. All rights reserved.
"""A cosine schedule that begins where the warm-up ends."""
from mmcv.runner.hooks.lr_updater import CosineAnnealingLrUpdaterHook, annealing_cos

from ..builder import HOOKS


@HOOKS.register_module()
class StepFixCosineAnnealingLrUpdaterHook(CosineAnnealingLrUpdaterHook):
    """Linear warm-up to the full rate, then a half cosine over the steps that are left.

    mmcv's CosineAnnealing counts the warm-up into the cosine: its rate at the end of the warm-up is already below the
    base rate, and its linear warm-up leads to the falling cosine. Here the warm-up rises to the very base rate, and
    the cosine runs from there to `min_lr` (or base * min_lr_ratio) at the last step, which is the schedule of MAE
    (https://arxiv.org/abs/2111.06377) and MoCo v3. With `by_epoch=False` the rate changes each iteration, else it is
    held over an epoch after the warm-up.

    Args:
        min_lr (float, optional): Rate at the end.
        min_lr_ratio (float, optional): The same as a share of the base rate. One of the two is given.
        kwargs: Of mmcv's LrUpdaterHook: by_epoch, warmup, warmup_iters, warmup_ratio, warmup_by_epoch.
    """

    def __init__(self, min_lr=None, min_lr_ratio=None, **kwargs):
        super().__init__(min_lr=min_lr, min_lr_ratio=min_lr_ratio, **kwargs)

    def get_warmup_lr(self, cur_iters):
        done = cur_iters / self.warmup_iters
        factor = {
            'constant': self.warmup_ratio,
            'linear': self.warmup_ratio + (1 - self.warmup_ratio) * done,
            'exp': self.warmup_ratio**(1 - done)
        }[self.warmup]
        return [base * factor for base in self.base_lr]

    def get_lr(self, runner, base_lr):
        epoch_length = runner.max_iters / runner.max_epochs if runner.max_epochs else 1
        warmup = self.warmup_iters if self.warmup is not None else 0
        done, total = runner.iter, runner.max_iters
        if self.by_epoch and runner.max_epochs:
            done, total, warmup = runner.epoch, runner.max_epochs, warmup / epoch_length
        target = self.min_lr if self.min_lr_ratio is None else base_lr * self.min_lr_ratio
        return annealing_cos(base_lr, target, max(0, done - warmup) / max(1e-9, total - warmup))

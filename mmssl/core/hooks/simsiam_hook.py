# Copyright (c) mmssl contributors. All rights reserved.
"""The learning rate of SimSiam's predictor."""
from mmcv.runner.hooks import Hook

from ..builder import HOOKS


@HOOKS.register_module()
class SimSiamHook(Hook):
    """Keep the learning rate of the parameter groups with `fix_lr` where it is (https://arxiv.org/abs/2011.10566).

    Groups get `fix_lr` by optimizer.paramwise_options, such as dict(predictor=dict(fix_lr=True)).

    Args:
        fix_pred_lr (bool): Whether to do so.
        lr (float): The learning rate of these groups.
        adjust_by_epoch (bool): Accepted for old configs: the rate is put back in each iteration, whenever the schedule
            changes it.
    """

    rates = ('lr', )  # which auto_scale_lr multiplies

    def __init__(self, fix_pred_lr, lr, adjust_by_epoch=True):
        self.fix_pred_lr = fix_pred_lr
        self.lr = lr
        self.adjust_by_epoch = adjust_by_epoch

    def before_train_iter(self, runner):
        if self.fix_pred_lr:
            for group in runner.optimizer.param_groups:
                if group.get('fix_lr'):
                    group['lr'] = self.lr

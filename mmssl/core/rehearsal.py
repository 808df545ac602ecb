# Copyright (c) mmssl contributors. All rights reserved.
"""The schedules of a config, played without data and without a training."""
import logging

from mmssl.utils.config import config_section
from .builder import HOOKS
from .hooks.group_schedules import check_schedules
from .optimizer import build_optimizer
from .runner import build_runner
from .schedule_preview import SCHEDULES, preview


def rehearse(model, cfg, epoch_length, count=1000):
    """The schedules of a config, without a training.

    Args:
        model (nn.Module): The algorithm of the config; it may be on the meta device, where it has no numbers.
        cfg (mmcv.Config): Read are optimizer, runner, lr_config, momentum_config and the schedules of custom_hooks.
        epoch_length (int): Iterations of an epoch.
        count (int): See preview.

    Returns:
        tuple[int, list[int], list[Curve]]: Iterations of the training, and what preview returns.

    Raises:
        ConfigError: As a training with this config would.
    """
    with config_section(cfg, 'optimizer'):
        optimizer = build_optimizer(model, cfg.optimizer)
    with config_section(cfg, 'runner'):
        runner = build_runner(cfg.runner, dict(model=model, optimizer=optimizer, logger=logging.getLogger(__name__)))
    if runner.max_epochs:
        runner._max_iters = runner.max_epochs * epoch_length
    runner.data_loaders, runner.data_loader = [range(epoch_length)], range(epoch_length)
    for name, register in (('lr_config', runner.register_lr_hook), ('momentum_config', runner.register_momentum_hook)):
        with config_section(cfg, name):
            register(cfg.get(name))
    custom = cfg.get('custom_hooks') or ()
    for hook in [custom] if isinstance(custom, dict) else custom:
        kind = hook.get('type') if isinstance(hook, dict) else type(hook)
        kind = HOOKS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and issubclass(kind, SCHEDULES):
            with config_section(cfg, 'custom_hooks'):
                runner.register_hook_from_cfg(hook)
    check_schedules(runner)
    for hook in runner.hooks:
        hook.before_run(runner)
    return (runner.max_iters, *preview(runner, epoch_length, count, foreign=True))

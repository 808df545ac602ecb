# Copyright (c) mmssl contributors. All rights reserved.
"""Learning rates that follow the batch."""
import math

from mmcv import Config

from mmssl.utils.errors import ConfigError
from .builder import HOOKS
from .schedules import VALUES

RULES = dict(linear=lambda ratio: ratio, sqrt=math.sqrt)


def global_batch(cfg, processes):
    """Images of one step of the optimizer.

    Args:
        cfg (mmcv.Config): Read are data.samples_per_gpu and optimizer_config.update_interval.
        processes (int): How many processes train together.

    Returns:
        int: samples_per_gpu times processes times update_interval.
    """
    samples = cfg.data.get('samples_per_gpu', cfg.data.get('imgs_per_gpu'))
    return samples * processes * (cfg.get('optimizer_config') or {}).get('update_interval', 1)


def scale_rates(cfg, batch, model=None, logger=None):
    """Fit all learning rates of a config to the batch, where its auto_scale_lr says so.

    They are multiplied by batch / base_batch_size ('linear', https://arxiv.org/abs/1706.02677) or by its root ('sqrt',
    https://arxiv.org/abs/1404.5997): `lr` of the optimizer and of paramwise_options; `min_lr` and `max_lr` of every
    policy; the values of chains that are not relative; schedules of groups of their own; a ScheduleHook on
    optimizer.lr; the arguments that a hook of custom_hooks names in its attribute `rates`, such as SimSiamHook's lr.
    What is a ratio or a time stays: warmup_ratio, min_lr_ratio, gamma, lr_mult, milestones. A warm-up that is
    configured is kept, whatever the number of machines.

    Args:
        cfg (mmcv.Config): The whole config, which stays as it is.
        batch (int): Images of one step, see global_batch.
        model (nn.Module, optional): What is trained; of one with a queue of negatives the log warns.
        logger (logging.Logger, optional): Told what was done, or that the rates are those of another batch.

    Returns:
        mmcv.Config: A copy with other rates, or the config itself where nothing changes.

    Raises:
        ConfigError: No base_batch_size, or an unknown rule.
    """
    section = cfg.get('auto_scale_lr')
    if not section:
        return cfg
    base, rule = section.get('base_batch_size'), section.get('rule', 'linear')
    if type(base) is not int or base < 1:
        raise ConfigError(f'auto_scale_lr.base_batch_size is the batch for which the rates of the config are, such as '
                          f'256; got {base!r}')
    if rule not in RULES:
        raise ConfigError(f"auto_scale_lr.rule is 'linear' or 'sqrt', got {rule!r}")
    if batch == base:
        return cfg
    if not section.get('enable', True):
        if logger is not None:
            logger.warning(
                'the rates of the config are for a batch of %d, a step of this training has %d images: '
                '--auto-scale-lr (auto_scale_lr.enable=True) fits them to it', base, batch)
        return cfg
    factor = RULES[rule](batch / base)
    scaled = Config(cfg._cfg_dict.to_dict(), cfg_text=cfg.text, filename=cfg.filename)
    _multiply(scaled.optimizer, ('lr', ), factor)
    for options in ('paramwise_options', 'paramwise_cfg'):
        for option in (scaled.optimizer.get(options) or {}).values():
            _multiply(option, ('lr', ), factor)
    _scale_schedule(scaled.get('lr_config'), factor)
    hooks = scaled.get('custom_hooks') or ()
    for hook in [hooks] if isinstance(hooks, dict) else hooks:
        if isinstance(hook, dict) and hook.get('target', 'optimizer.lr') == 'optimizer.lr':
            kind = hook.get('type')
            _multiply(hook, getattr(HOOKS.get(kind) if isinstance(kind, str) else kind, 'rates', ()), factor)
    if logger is not None:
        logger.info(
            'all learning rates are multiplied by %g: they are for a batch of %d, a step of this training has %d '
            'images (auto_scale_lr, %s rule)', factor, base, batch, rule)
        if getattr(model, 'queue_len', 0) and getattr(model, 'momentum_parts', ()):
            logger.warning(
                'the queue and the momentum encoder of %s go with iterations and not with images, so that scaled rates '
                'work poorly and a larger batch may need more epochs; a batch of %d keeps the recipe',
                type(model).__name__, base)
    return scaled


def _scale_schedule(schedule, factor):
    """Scale what are rates in lr_config, and in its schedules for groups of their own."""
    if not isinstance(schedule, dict):
        return
    _multiply(schedule, ('min_lr', 'max_lr'), factor)
    if not schedule.get('relative'):
        _multiply(schedule, ('parts', ), factor)
    for own in (schedule.get('schedules') or {}).values():
        _scale_schedule(own, factor)


def _multiply(owner, names, factor):
    """Multiply numbers in a dict, also in lists; of parts of a chain, which are dicts, their values."""
    for name in names if isinstance(owner, dict) else ():
        if name in owner:
            owner[name] = _times(owner[name], factor)


def _times(value, factor):
    if isinstance(value, dict):
        return {key: _times(v, factor) if key in VALUES else v for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_times(v, factor) for v in value]
    return value * factor if isinstance(value, (int, float)) and not isinstance(value, bool) else value

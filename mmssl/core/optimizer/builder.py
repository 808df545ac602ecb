# Copyright (c) mmssl contributors. All rights reserved.
"""Optimizers from configs."""
import inspect

from mmcv.runner import DefaultOptimizerConstructor as _DefaultOptimizerConstructor

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import build_from_cfg
from ..builder import OPTIMIZER_BUILDERS, OPTIMIZERS
from .layer_rates import is_number, layer_factors
from .param_groups import BY_KIND, BY_LAYER, gather_groups, regex_options


def _class(cfg):
    """The class of an optimizer; None where there is none, which build_from_cfg tells."""
    cls = OPTIMIZERS.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
    return cls if callable(cls) else None


def _arguments(cfg):
    return inspect.signature(_class(cfg)).parameters if _class(cfg) is not None else {}


def in_fast_form(cfg):
    """The config of an optimizer, in its multi-tensor or fused form where nothing is said of it.

    torch's own choice on the CPU is a loop over parameters. SGD is not fused, which cannot take parameters whose first
    gradient comes late.
    """
    fast = dict(SGD='foreach', Adam='fused', AdamW='fused').get(getattr(_class(cfg), '__name__', None))
    if fast not in _arguments(cfg) or {'foreach', 'fused', 'differentiable', 'capturable'} & {*cfg}:
        return cfg
    return {**cfg, fast: True}


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor(_DefaultOptimizerConstructor):
    """Build an optimizer whose parameters are in one group for each set of equal options.

    Args:
        optimizer_cfg (dict): `type`, `lr` and the other arguments of the optimizer.
        paramwise_cfg (dict, optional): Options by regular expression over parameter names (lr, lr_mult, momentum,
            momentum_mult, weight_decay, weight_decay_mult, lars_exclude, fix_lr, or any argument of the optimizer),
            and mmcv's options by kind of layer, such as norm_decay_mult and custom_keys, over which those by
            expression go. `flat_decay_mult` multiplies the weight decay of all one-dimensional parameters (biases,
            norms, LayerScale); those by expression go over it too. `layer_decay_rate` and `patch_embed_mult` multiply
            the rates of a transformer's layers, whatever sets these; see layer_factors.

    Raises:
        ConfigError: A learning rate, momentum or weight decay that is no number, an unknown option, one that has
            nothing to multiply, or a model without a trainable parameter.
    """
    model_type = None  # of the backbone whose layers have rates of their own, where it must be one of these

    def __call__(self, model):
        model = unwrap(model)
        cfg = dict(self.optimizer_cfg)
        base = cfg.get('base') if isinstance(cfg.get('base'), dict) else {}  # of LARC
        for name in ('lr', 'momentum', 'weight_decay'):
            if cfg.get(name) is not None and not is_number(cfg[name]):
                raise ConfigError(f'optimizer.{name} is a number, got {cfg[name]!r}')
        known = {*_arguments(cfg), *_arguments(base)} - {'params', 'base'}
        cfg['params'] = gather_groups(self.options(model, {**base, **cfg}, known))
        if not cfg['params']:
            raise ConfigError('the model has no trainable parameter: all of it is frozen (frozen_stages, '
                              'freeze_backbone), or its parts have none; features need no training, but '
                              'tools/extract_features.py')
        return build_from_cfg(in_fast_form(cfg), OPTIMIZERS)

    def options(self, model, cfg, known):
        """Name, parameter and dict of options of each trainable parameter; see regex_options for the arguments."""
        everything = self.paramwise_cfg
        self.paramwise_cfg = {key: value for key, value in everything.items() if key in BY_KIND}
        by_name = {key: value for key, value in everything.items() if key not in BY_KIND + BY_LAYER}
        factors, flat = self.factors(model, cfg, everything), everything.get('flat_decay_mult', 1.)
        groups = []
        try:
            if self.paramwise_cfg:
                self.add_params(groups, model)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f'paramwise_options {self.paramwise_cfg!r}: {error}') from error
        finally:
            self.paramwise_cfg = everything
        by_kind = {id(g['params'][0]): {k: v for k, v in g.items() if k != 'params'} for g in groups}
        for name, parameter, by_expression in regex_options(model, cfg, by_name, known):
            own = {**by_kind.get(id(parameter), {})}
            if parameter.dim() <= 1 and 'flat_decay_mult' in everything:
                own['weight_decay'] = flat * own.get('weight_decay', cfg['weight_decay'])
            own.update(by_expression)
            if name in factors:
                own['lr'] = own.get('lr', cfg['lr']) * factors[name]
            yield name, parameter, own

    def factors(self, model, cfg, options):
        """What the options by layer multiply the rates with, by name of parameter; {} where there are none."""
        if 'flat_decay_mult' in options:
            flat = options['flat_decay_mult']
            if not (is_number(flat) and flat >= 0):
                raise ConfigError(f'flat_decay_mult is a number from 0 on, got {flat!r}')
            if cfg.get('weight_decay') is None:
                raise ConfigError('flat_decay_mult needs `weight_decay` in the config of the optimizer')
        by_layer = {key: options[key] for key in ('layer_decay_rate', 'patch_embed_mult') if key in options}
        if by_layer and cfg.get('lr') is None:
            raise ConfigError(f'{" and ".join(by_layer)} needs the base rate `lr` in the config of the optimizer')
        return layer_factors(model, **by_layer, model_type=self.model_type) if by_layer else {}


def build_optimizer(model, optimizer_cfg):
    """Build the optimizer of a model.

    Args:
        model (nn.Module): Wrapped or not, on its device.
        optimizer_cfg (dict): `type` and arguments; `paramwise_options` by regular expression or mmcv's
            `paramwise_cfg`; `constructor`, another class of OPTIMIZER_BUILDERS.

    Returns:
        torch.optim.Optimizer: The optimizer.
    """
    cfg = dict(optimizer_cfg)
    if 'type' not in cfg:
        raise ConfigError(f'the optimizer has no "type", such as \'SGD\' or \'AdamW\': {cfg}')
    for name in ('paramwise_options', 'paramwise_cfg'):
        if not isinstance(cfg.get(name) or {}, dict):
            raise ConfigError(f'{name} is a dict of options by regular expression or kind of layer, got {cfg[name]!r}')
    constructor = cfg.pop('constructor', 'DefaultOptimizerConstructor')
    options = {**(cfg.pop('paramwise_options', None) or {}), **(cfg.pop('paramwise_cfg', None) or {})}
    return build_from_cfg(dict(type=constructor, optimizer_cfg=cfg, paramwise_cfg=options or None), OPTIMIZER_BUILDERS)(
        model)

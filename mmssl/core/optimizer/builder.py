# Copyright (c) mmssl contributors. All rights reserved.
"""Optimizers from configs."""
import inspect

from mmcv.runner import DefaultOptimizerConstructor as _DefaultOptimizerConstructor

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import build_from_cfg
from ..builder import OPTIMIZER_BUILDERS, OPTIMIZERS
from .param_groups import gather_groups, regex_options

# mmcv's options by kind of layer; any other key of paramwise_cfg is a regular expression
_BY_KIND = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult',
            'dcn_offset_lr_mult', 'bypass_duplicate')


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor(_DefaultOptimizerConstructor):
    """Build an optimizer whose parameters are in one group for each set of equal options.

    Args:
        optimizer_cfg (dict): `type`, `lr` and the other arguments of the optimizer.
        paramwise_cfg (dict, optional): Options by regular expression over parameter names (lr, lr_mult, momentum,
            momentum_mult, weight_decay, weight_decay_mult, lars_exclude, fix_lr, or any argument of the optimizer),
            or mmcv's options by kind of layer, such as norm_decay_mult and custom_keys.
    """

    def __call__(self, model):
        model = unwrap(model)
        cfg = dict(self.optimizer_cfg)
        cls = OPTIMIZERS.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
        arguments = inspect.signature(cls).parameters if cls is not None else {}
        cfg['params'] = gather_groups(self.options(model, cfg, [name for name in arguments if name != 'params']))
        if not cfg['params']:
            raise ConfigError('the model has no trainable parameter')
        # torch's own choice on the CPU is a loop over parameters
        fast = dict(SGD='foreach', Adam='fused', AdamW='fused').get(cls.__name__) if cls is not None else None
        if fast in arguments and not {'foreach', 'fused', 'differentiable', 'capturable'} & {*cfg}:
            cfg[fast] = True  # for SGD not fused, which cannot take parameters whose first gradient comes late
        return build_from_cfg(cfg, OPTIMIZERS)

    def options(self, model, cfg, known):
        """Name, parameter and dict of options of each trainable parameter; see regex_options for the arguments."""
        if not any(key in _BY_KIND for key in self.paramwise_cfg):
            return regex_options(model, cfg, self.paramwise_cfg, known)
        groups = []
        self.add_params(groups, model)
        options = {id(g['params'][0]): {k: v for k, v in g.items() if k != 'params'} for g in groups}
        return ((n, p, options[id(p)]) for n, p in model.named_parameters() if p.requires_grad)


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
    constructor = cfg.pop('constructor', 'DefaultOptimizerConstructor')
    options = {**(cfg.pop('paramwise_options', None) or {}), **(cfg.pop('paramwise_cfg', None) or {})}
    return build_from_cfg(dict(type=constructor, optimizer_cfg=cfg, paramwise_cfg=options or None), OPTIMIZER_BUILDERS)(
        model)

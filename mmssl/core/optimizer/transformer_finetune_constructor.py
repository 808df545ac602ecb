# Copyright (c) mmssl contributors. All rights reserved.
"""The constructor by which fine-tunings ask for learning rates that fall from layer to layer."""
from mmssl.utils.errors import ConfigError, nearest
from ..builder import OPTIMIZER_BUILDERS
from .builder import DefaultOptimizerConstructor
from .layer_rates import MODEL_TYPES


@OPTIMIZER_BUILDERS.register_module()
class TransformerFinetuneConstructor(DefaultOptimizerConstructor):
    """Build an optimizer for the fine-tuning of a transformer, with rates that decay from layer to layer.

    `layer_decay` is what `layer_decay_rate` of `paramwise_options` is without this constructor; see layer_factors.

    Args:
        optimizer_cfg (dict): `type`, `lr` and the other arguments of the optimizer; `model_type`, 'vit' or 'swin'; and
            `layer_decay`, above 0 and at most 1, where 0 is for none.
        paramwise_cfg (dict, optional): Options as of DefaultOptimizerConstructor. A rate that is set there (lr,
            lr_mult) decays too.

    Raises:
        ConfigError: Another `model_type` or `layer_decay`, no `lr`, or a model whose backbone has no such blocks.
    """

    def __init__(self, optimizer_cfg, paramwise_cfg=None):
        cfg, options = dict(optimizer_cfg), dict(paramwise_cfg or {})
        model_type, layer_decay = cfg.pop('model_type', None), cfg.pop('layer_decay', 0.)
        if not 0 <= layer_decay <= 1:
            raise ConfigError(f'layer_decay is above 0 and at most 1, or 0 for none, got {layer_decay!r}')
        if layer_decay and model_type not in MODEL_TYPES:
            raise ConfigError(f"layer_decay needs model_type='vit' or 'swin', got {model_type!r}; "
                              f'{nearest(model_type, MODEL_TYPES)}')
        if layer_decay and 'layer_decay_rate' in options:
            raise ConfigError('layer_decay and layer_decay_rate are the same, give one of them')
        if layer_decay:
            self.model_type, options['layer_decay_rate'] = model_type, layer_decay
        super().__init__(cfg, options)

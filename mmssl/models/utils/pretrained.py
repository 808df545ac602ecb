# Copyright (c) mmssl contributors. All rights reserved.
"""`init_cfg=dict(type='Pretrained', checkpoint=...)` that says what it loaded."""
from mmcv.cnn import INITIALIZERS
from mmcv.cnn.utils.weight_init import update_init_info

from mmssl.utils.checkpoint import get_state_dict, load_weights, read_checkpoint


@INITIALIZERS.register_module('Pretrained', force=True)
class PretrainedInit:
    """Load weights, log how many keys matched, and fail when none did or a frozen part stays random.

    Args:
        checkpoint (str): Path of the checkpoint.
        prefix (str, optional): Only keys that begin with it are used, without it. By default all, or those under
            'backbone.' where none is the module's own: the checkpoint is that of a whole algorithm.
        map_location (str, optional): Accepted for compatibility; weights are read to the CPU and copied from there.
        inflate_stem (str, optional): 'mean' or 'cycle', for a network on other channels; see mmssl.utils.inflate.
    """

    logger = None  # a toolbox that trains with its own log sets it (mmssl.downstream); None is mmssl's

    def __init__(self, checkpoint, prefix=None, map_location=None, inflate_stem=None):
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.inflate_stem = inflate_stem

    def __call__(self, module):
        weights = get_state_dict(read_checkpoint(self.checkpoint))
        prefix = self.prefix
        if prefix is None:
            prefix = '' if module.state_dict().keys() & weights.keys() else 'backbone.'
            prefix = prefix if any(key.startswith(prefix) for key in weights) else ''
        load_weights(
            module, weights, prefix=prefix, logger=self.logger, source=self.checkpoint, inflate_stem=self.inflate_stem)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'loaded from {self.checkpoint} {prefix}')

# Copyright (c) mmssl contributors. All rights reserved.
"""`init_cfg=dict(type='Pretrained', checkpoint=...)` that says what it loaded."""
from mmcv.cnn import INITIALIZERS
from mmcv.cnn.utils.weight_init import update_init_info

from mmssl.utils.checkpoint import load_weights


@INITIALIZERS.register_module('Pretrained', force=True)
class PretrainedInit:
    """Load weights, print how many keys matched, and fail when none did.

    Args:
        checkpoint (str): Path of the checkpoint.
        prefix (str, optional): Only keys that begin with it are used, without it, such as 'backbone.'.
        map_location (str, optional): Accepted for compatibility; weights are read to the CPU and copied from there.
    """

    def __init__(self, checkpoint, prefix=None, map_location=None):
        self.checkpoint = checkpoint
        self.prefix = prefix or ''

    def __call__(self, module):
        load_weights(module, self.checkpoint, prefix=self.prefix)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'loaded from {self.checkpoint} {self.prefix}')

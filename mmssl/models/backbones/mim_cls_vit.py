# Copyright (c) mmssl contributors. All rights reserved.
"""A vision transformer that classifies after masked image modelling."""
from mmcv.cnn import build_norm_layer

from mmssl.utils.errors import ConfigError
from ..builder import BACKBONES
from .vision_transformer import VisionTransformer, init_truncated


@BACKBONES.register_module()
class MIMVisionTransformer(VisionTransformer):
    """A vision transformer for fine-tuning, or for a linear probe, of what MAE, CAE or MaskFeat learned.

    Args:
        arch, img_size, use_window, init_values, ...: See VisionTransformer.
        final_norm (bool): With it the output is the class token. Without it, as in fine-tuning, the output is the mean
            of the patches behind a norm of its own, `fc_norm`.
        finetune (bool): False freezes everything, for a linear probe.
        kwargs: Of VisionTransformer.

    Raises:
        ConfigError: Another layer than the last is asked for.
    """
    fixed_positions = False
    needs_cls_token = True

    def __init__(self, arch='b', finetune=True, norm_cfg=dict(type='LN', eps=1e-6), init_values=0., **kwargs):
        super().__init__(arch=arch, norm_cfg=norm_cfg, init_values=init_values, **kwargs)
        self.num_patches = self.patch_resolution[0] * self.patch_resolution[1]
        if not self.final_norm:
            self.fc_norm = build_norm_layer(norm_cfg, self.embed_dims)[1]
        self.finetune = finetune
        self._check_stages()
        self.train()

    def init_own_weights(self):
        init_truncated(self)

    def _check_stages(self):
        if list(self.out_indices) != [self.num_layers - 1]:
            raise ConfigError(f'{type(self).__name__} gives one vector of its last layer, out_indices asks for the '
                              f'layers {list(self.out_indices)}: leave it out, or take VisionTransformer')

    def train(self, mode=True):
        super().train(mode and self.finetune)
        if not self.finetune:
            self.requires_grad_(False)
        return self

    def forward(self, x):
        """Images, B x C x H x W, to a tuple with one tensor of features, B x D."""
        self._check_stages()  # an evaluation may ask for others
        tokens = self.tokens(x)
        return (tokens[:, 0] if self.final_norm else self.fc_norm(tokens[:, self.num_extra_tokens:].mean(1)), )

# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA."""
import torch

from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import accepted_arguments, check_arguments
from ..builder import ALGORITHMS
from ..utils.momentum_encoder import MomentumEncoder
from ..utils.multiblock_masks import MultiBlockMasks
from ..utils.patches import check_leaves_out_patches, patch_grid, take_patches
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class IJEPA(BackboneNeckHead):
    """Image-based Joint-Embedding Predictive Architecture <https://arxiv.org/abs/2301.08243>.

    From some patches of an image, what a teacher says of others is predicted: not pixels, and without augmentations.
    The teacher is a moving average of the encoder and sees the whole image. `MomentumUpdateHook` with mode='linear'
    raises `momentum` from `base_momentum` to 1 and calls `momentum_update` after each step.

    Args:
        backbone (dict): Config of the encoder, a vision transformer.
        neck (dict): Config of the predictor, an IJEPAPredictor.
        head (dict): Config of the loss, an IJEPAHead.
        masks (dict): Arguments of MultiBlockMasks.
        base_momentum (float): Share of the teacher that stays at an update, at the start.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: The backbone cannot leave out patches, or the neck is no predictor.
    """
    heads = ('IJEPAHead', )
    momentum_parts = ('teacher', )

    def __init__(self, backbone, neck=None, head=None, masks=dict(), base_momentum=0.996, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        check_leaves_out_patches(self.backbone, self)
        if 'visible' not in accepted_arguments(self.neck.forward)[0]:
            raise ConfigError('IJEPA: model.neck predicts patches from others, as an IJEPAPredictor does; a '
                              f'{type(self.neck).__name__} does not')
        check_arguments(MultiBlockMasks, masks)
        self.masks = MultiBlockMasks(**masks)
        self.teacher = MomentumEncoder(self.backbone, drop_path=False)
        self.base_momentum = base_momentum
        self.momentum = base_momentum

    def copy_momentum_parts(self):
        self.teacher.copy_from(self.backbone)

    def momentum_update(self):
        """Move the teacher towards the encoder."""
        self.teacher.follow(self.backbone, momentum=self.momentum)

    def forward_train(self, img, **kwargs):
        """Images, B x C x H x W, to the loss."""
        img = one_view(img)
        grid = patch_grid(*img.shape[-2:], self.backbone.patch_embed.patch_size)
        visible, targets = (numbers.to(img.device, non_blocking=True) for numbers in self.masks(len(img), grid))
        with torch.no_grad():
            target = self.patches(self.teacher[0].tokens(img))  # B x L x D
            target = take_patches(target, targets.flatten(1))  # B x MT x D
        context = self.patches(self.backbone.tokens(img, visible=visible))  # B x K x D
        return self.head(self.neck(context, visible, targets, grid), target)

    def patches(self, tokens):
        """Tokens of patches, without what stands in front of them."""
        return tokens[:, self.backbone.num_extra_tokens:]

    def compile_parts(self):
        # tokens() calls layers one by one
        return [*super().compile_parts(), *self.backbone.layers, *self.teacher[0].layers]

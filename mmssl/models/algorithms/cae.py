# Copyright (c) mmssl contributors. All rights reserved.
"""CAE."""
import copy

import torch

from mmssl.utils.errors import ConfigError
from mmssl.utils.sharded import changeable_pairs, wait_for_changes
from ..backbones.cae_vit import split_patches
from ..builder import ALGORITHMS
from ..utils.momentum_encoder import ema_update
from .base import BackboneNeckHead, masked_view


@ALGORITHMS.register_module()
class CAE(BackboneNeckHead):
    """Context Autoencoder <https://arxiv.org/abs/2202.03026>: predict features of masked patches, from them words.

    Args:
        backbone (dict): Config of the encoder, which sees some patches only.
        neck (dict): Config of the latent regressor and the decoder.
        head (dict): Config of the tokenizer and the losses.
        base_momentum (float): Share of the teacher, which gives the features to predict, that stays at each update.
            With 0, as in the paper, the teacher is the encoder itself.
        init_cfg (dict, optional): Initialisation.
        img_norm_cfg (dict): `mean` and `std` by which the data normalises images, on the scale 0 to 1. They are undone
            for the tokenizer.
    """
    has_fixed_targets = True
    heads = ('CAEHead', )
    momentum_parts = ('teacher', )

    def __init__(self,
                 backbone,
                 neck,
                 head,
                 base_momentum=0.0,
                 init_cfg=None,
                 img_norm_cfg=dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])):
        super().__init__(backbone, neck, head, init_cfg)
        self.teacher = copy.deepcopy(self.backbone).requires_grad_(False)
        self.momentum = base_momentum
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(img_norm_cfg[name]).view(-1, 1, 1), persistent=False)
        self.checked = False

    def copy_momentum_parts(self):
        self.momentum_update(momentum=0.)

    def momentum_update(self, momentum=None):
        """Move the teacher towards the encoder."""
        ema_update(*changeable_pairs([self.teacher], [self.backbone]), self.momentum if momentum is None else momentum)
        wait_for_changes(self.teacher)

    def extract_feat(self, img, mask=None):
        """Images, B x C x H x W, to the encoder's (map, class token) pairs; with a mask (B x L), to visible tokens."""
        return self.backbone.extract_feat(img) if mask is None else self.backbone(img, mask)

    def forward_train(self, img, **kwargs):
        """Images, the same in the tokenizer's size and masks on the grid of patches to losses.

        Args:
            img (list[Tensor]): B x C x H x W, B x C x H' x W', and B x h x w or B x L, 1 where masked.

        Returns:
            dict[str, Tensor]: See CAEHead.
        """
        img, img_target, mask = masked_view(img, ('an image', 'an image for the tokenizer', 'a mask'), self.backbone)
        grid, mask = mask.shape[1:], mask.flatten(1).bool()  # B x L
        masked = self.neck.mask_token_num
        visible = mask.shape[1] - masked
        self.check_batch(img, mask)

        x = self.backbone(img, mask, visible)[:, 1:]  # B x K x D, without the class token
        with torch.no_grad():
            if self.training and self.is_update_iter:
                self.momentum_update()
            latent_target = self.teacher(img, ~mask, masked)[:, 1:]  # B x M x D

        positions = self.backbone.positions(tuple(grid))[0, 1:]  # L x D
        pos_visible, pos_masked = (positions[ids] for ids in split_patches(mask, visible))
        logits, latent_pred = self.neck(x, pos_masked, pos_visible)
        return self.head(img_target * self.std + self.mean, logits, latent_pred, latent_target, mask)

    def compile_parts(self):
        return [*super().compile_parts(), self.teacher]

    def check_batch(self, img, mask):
        """See once that the data are what this algorithm takes.

        Raises:
            ConfigError: They are not.
        """
        if self.checked:
            return
        self.checked = True
        counts = mask.sum(1)
        if (counts != self.neck.mask_token_num).any():
            raise ConfigError(f'mask_tokens_num of the neck is {self.neck.mask_token_num}, the mask generator '
                              f'(num_masking_patches) masks {counts.unique().tolist()} patches of an image')
        if img.min() >= 0:
            raise ConfigError(
                'CAE takes images that the data normalises (img_norm_cfg with prefetch=True, or Normalize in '
                'the pipeline); these have no negative values. MMSelfSup normalised in the algorithm')

# Copyright (c) mmssl contributors. All rights reserved.
"""PIRL."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, NECKS, build_head, build_memory, build_neck
from ..losses import unit_vectors
from ..utils.channels import feature_channels, fill_in_channels
from ..utils.memory import check_memory
from .base import BackboneNeckHead
from .jigsaw import patch_maps


@ALGORITHMS.register_module()
class PIRL(BackboneNeckHead):
    """Self-Supervised Learning of Pretext-Invariant Representations <https://arxiv.org/abs/1912.01991>.

    An image and its shuffled patches shall both be like the entry that a memory holds of the image, and unlike those
    of other images. The entry follows the embedding of the image alone.

    The two embeddings are compared with the same negatives, none of which is the image's own entry. Each has a head, so
    that an NCE loss estimates a partition constant for each.

    Args:
        backbone (dict): Config of the backbone, which encodes images and patches.
        neck (dict): Config of the projector of images.
        patch_neck (dict): Config of that of patches: layers on each patch, ConcatTowers, layers on all of them.
        head (dict): Config of the loss, such as NCEHead or ContrastiveHead.
        memory_bank (dict): Config of the memory.
        neg_num (int): Number of negatives of each image.
        patch_weight (float): Share of the loss of the patches; the rest is that of the image.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: A number out of range, or no neck for the patches.
    """
    heads = ('ContrastiveHead', 'DCLHead', 'NCEHead')
    loss_names = ('loss_image', 'loss_patches')

    def __init__(self,
                 backbone,
                 neck=None,
                 patch_neck=None,
                 head=None,
                 memory_bank=None,
                 neg_num=32000,
                 patch_weight=0.5,
                 init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        if patch_neck is None:
            raise ConfigError('PIRL needs a patch_neck: model.patch_neck is None')
        if neg_num < 1 or not 0 <= patch_weight <= 1:
            raise ConfigError(f'neg_num must be positive and patch_weight within 0..1, got neg_num={neg_num!r} and '
                              f'patch_weight={patch_weight!r}')
        self.patch_neck = build_neck(fill_in_channels(patch_neck, feature_channels(self.backbone), NECKS))
        self.patch_head = build_head(head)
        self.memory_bank = build_memory(memory_bank)
        check_memory(self, 'score', 'SimpleMemory', necks=('neck', 'patch_neck'))
        self.neg_num = neg_num
        self.patch_weight = patch_weight

    def fit_to_data(self, samples, views=None):
        """Memory and heads take the number of samples, see BaseModel.fit_to_data."""
        super().fit_to_data(samples, views)
        if samples < 2:
            raise ConfigError(f'PIRL compares an image with others, the training data has {samples}')

    def forward_train(self, img, idx, **kwargs):
        """dict(image=B x C x H x W, patches=B x P x C x h x w) and numbers in the data set (B) to both losses."""
        if not isinstance(img, dict) or not {'image', 'patches'} <= set(img):
            raise ConfigError('PIRL takes dict(image=..., patches=...) of each image, as SampleDataset gives it with '
                              'the step ImageAndPatches')
        z = unit_vectors(self.neck(self.backbone(img['image']))[0])  # B x D
        z_patches = unit_vectors(self.patch_neck(patch_maps(self.backbone, img['patches']))[0])  # B x D
        if len(z_patches) != len(z):
            raise ConfigError(
                f'{len(z)} images give {len(z_patches)} vectors of patches: num_towers of patch_neck must '
                f'be the number of patches, {img["patches"].shape[1]}')
        # what is drawn for an image does not depend on its place in the batch: the same for both embeddings
        pos, neg = self.memory_bank.score(torch.cat([z, z_patches]), idx.repeat(2), self.neg_num, True)  # 2B x 1, x K
        if self.training:
            self.memory_bank.update(idx, z.detach())
        (pos, pos_patches), (neg, neg_patches) = pos.chunk(2), neg.chunk(2)
        return dict(
            loss_image=(1 - self.patch_weight) * self.head(pos, neg)['loss'],
            loss_patches=self.patch_weight * self.patch_head(pos_patches, neg_patches)['loss'])

    def compile_parts(self):
        """See BaseModel."""
        return [*super().compile_parts(), self.patch_neck]

# Copyright (c) mmssl contributors. All rights reserved.
"""NPID."""
from ..builder import ALGORITHMS, build_memory
from ..losses import unit_vectors
from ..memories import bank_similarities
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class NPID(BackboneNeckHead):
    """Non-Parametric Instance Discrimination <https://arxiv.org/abs/1805.01978>.

    Each image is a class of its own, represented by the feature that a memory bank holds of it. In place of the
    paper's noise-contrastive estimate the published recipes take the softmax over the positive and the negatives.

    The negatives are random, and each process draws its own: several processes do what one does, but not with the same
    random numbers.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        memory_bank (dict): Config of the memory; its `length` is the number of training samples.
        neg_num (int): Number of negatives of each image.
        ensure_neg (bool): Never take an image as a negative of itself.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ValueError: No negatives can be drawn.
    """

    def __init__(self,
                 backbone,
                 neck=None,
                 head=None,
                 memory_bank=None,
                 neg_num=65536,
                 ensure_neg=False,
                 init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        self.memory_bank = build_memory(memory_bank)
        self.neg_num = neg_num
        self.ensure_neg = ensure_neg
        if neg_num < 1 or self.memory_bank.length is not None and self.memory_bank.length <= ensure_neg:
            raise ValueError(f'neg_num must be positive, got {neg_num!r}, and memory_bank.length more than '
                             f'{int(ensure_neg)}, got {self.memory_bank.length}')

    def forward_train(self, img, idx, **kwargs):
        """Images (B x C x H x W) and their numbers in the data set (B) to the loss."""
        z = unit_vectors(self.neck(self.backbone(one_view(img)))[0])  # B x D
        bank = self.memory_bank.feature_bank  # L x D
        pos = bank_similarities(z, bank, idx[:, None])  # B x 1
        neg = bank_similarities(z, bank, self.memory_bank.draw(idx, self.neg_num, self.ensure_neg))  # B x neg_num
        if self.training:
            self.memory_bank.update(idx, z.detach())
        return self.head(pos, neg)

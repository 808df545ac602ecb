# Copyright (c) mmssl contributors. All rights reserved.
"""NPID."""
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, build_memory
from ..losses import unit_vectors
from ..utils.memory import check_memory
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class NPID(BackboneNeckHead):
    """Non-Parametric Instance Discrimination <https://arxiv.org/abs/1805.01978>.

    Each image is a class of its own, represented by the feature that a memory bank holds of it. The head is the loss:
    NCEHead is the paper's noise-contrastive estimate, ContrastiveHead the softmax over the positive and the negatives,
    which MMSelfSup's recipes take. The paper's proximal term, a weight on how far a feature moved, is not there.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        memory_bank (dict): Config of the memory.
        neg_num (int): Number of negatives of each image.
        ensure_neg (bool): Never take an image as a negative of itself.
        update_memory (bool): Whether entries move towards the features of their images in training. False keeps
            those that the memory has.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ValueError: No negatives can be drawn.
    """
    heads = ('ContrastiveHead', 'DCLHead', 'NCEHead')

    def __init__(self,
                 backbone,
                 neck=None,
                 head=None,
                 memory_bank=None,
                 neg_num=65536,
                 ensure_neg=False,
                 init_cfg=None,
                 update_memory=True):
        super().__init__(backbone, neck, head, init_cfg)
        self.memory_bank = build_memory(memory_bank)
        check_memory(self, 'score', 'SimpleMemory')
        self.neg_num = neg_num
        self.ensure_neg = ensure_neg
        self.update_memory = update_memory
        if neg_num < 1:
            raise ValueError(f'neg_num must be positive, got {neg_num!r}')
        if self.memory_bank.length is not None:
            self.fit_to_data(self.memory_bank.length)

    def fit_to_data(self, samples, views=None):
        """Memory and head take the number of samples, see BaseModel.fit_to_data."""
        super().fit_to_data(samples, views)
        if samples <= self.ensure_neg:
            raise ConfigError(f'with ensure_neg=True memory_bank.length must be more than 1, got {samples}')

    def forward_train(self, img, idx, **kwargs):
        """Images (B x C x H x W) and their numbers in the data set (B) to the loss."""
        z = unit_vectors(self.neck(self.backbone(one_view(img)))[0])  # B x D
        pos, neg = self.memory_bank.score(z, idx, self.neg_num, self.ensure_neg)  # B x 1, B x neg_num
        if self.training and self.update_memory:
            self.memory_bank.update(idx, z.detach())
        return self.head(pos, neg)

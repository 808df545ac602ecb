# Copyright (c) mmssl contributors. All rights reserved.
"""Prediction of rotations."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from .base import BackboneNeckHead


@ALGORITHMS.register_module()
class RotationPred(BackboneNeckHead):
    """Unsupervised Representation Learning by Predicting Image Rotations <https://arxiv.org/abs/1803.07728>.

    Args:
        backbone (dict): Config of the backbone.
        head (dict): Config of the classifier of the four rotations.
        init_cfg (dict, optional): Initialisation.
    """

    optional_parts = ('neck', )

    def __init__(self, backbone, head=None, init_cfg=None):
        super().__init__(backbone, None, head, init_cfg)

    def classify(self, img):
        """Four copies of each image (list of B x C x H x W) to [scores, 4B x 4], the first copy of all images first."""
        if not isinstance(img, (list, tuple)) or len(img) != 4:
            given = f'{len(img)} views' if isinstance(img, (list, tuple)) else 'one tensor'
            raise ConfigError(f'RotationPred takes 4 rotated copies of each image, the data gives {given}; '
                              'use RotationPredDataset')
        return self.head(self.backbone(torch.cat(img)))

    def forward(self, img, rot_label=None, mode='train', **kwargs):
        """See BaseModel. As in MMSelfSup 0.x the label comes second, and the copies may be one B x 4 x C x H x W."""
        img = img.unbind(1) if torch.is_tensor(img) and img.dim() == 5 else img
        return super().forward(img, mode, rot_label=rot_label, **kwargs)

    def forward_train(self, img, rot_label, **kwargs):
        """Copies (see classify) and their rotations (B x 4) to loss and accuracy."""
        return self.head.loss(self.classify(img), rot_label.T.flatten())

    def forward_test(self, img, **kwargs):
        """Copies (see classify) to scores (B x 4 copies x 4 rotations, on the CPU) by head."""
        return dict(head0=self.classify(img)[0].unflatten(0, (4, -1)).transpose(0, 1).cpu())

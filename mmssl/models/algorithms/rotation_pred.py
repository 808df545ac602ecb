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
        head (dict): Config of the classifier of the rotations; its `num_classes` is their number.
        init_cfg (dict, optional): Initialisation.
    """

    optional_parts = ('neck', )

    def __init__(self, backbone, head=None, init_cfg=None):
        super().__init__(backbone, None, head, init_cfg)

    def _refuse(self, given):
        angles = getattr(self.head, 'num_classes', 4)
        raise ConfigError(f'RotationPred takes {angles} rotated copies of each image, the data gives {given}; '
                          'use RotationPredDataset, or SampleDataset with RandomAngle for one random rotation each')

    def classify(self, img):
        """Turned images to [scores, B * copies x angles].

        `img` holds one copy an angle (list of B x C x H x W; the first copy of all images comes first), or is one
        tensor of images that were each turned by one of the angles.
        """
        if isinstance(img, torch.Tensor):
            return self.head(self.backbone(img))
        if len(img) != getattr(self.head, 'num_classes', 4):
            self._refuse(f'{len(img)} views')
        return self.head(self.backbone(torch.cat(img)))

    def forward(self, img, rot_label=None, mode='train', **kwargs):
        """See BaseModel. As in MMSelfSup 0.x the label comes second, and the copies may be one B x 4 x C x H x W."""
        img = img.unbind(1) if torch.is_tensor(img) and img.dim() == 5 else img
        if mode != 'extract' and isinstance(img, torch.Tensor) and torch.is_tensor(rot_label) and rot_label.dim() > 1:
            self._refuse('one tensor')
        return super().forward(img, mode, rot_label=rot_label, **kwargs)

    def forward_train(self, img, rot_label, **kwargs):
        """Images (see classify) and their rotations (B x copies, or B) to loss and accuracy."""
        if rot_label is None:
            self._refuse('no rot_label')
        return self.head.loss(self.classify(img), rot_label.T.flatten() if rot_label.dim() == 2 else rot_label)

    def forward_test(self, img, **kwargs):
        """Images (see classify) to scores (B x copies x angles, on the CPU) by head."""
        copies = 1 if isinstance(img, torch.Tensor) else len(img)
        return dict(head0=self.classify(img)[0].unflatten(0, (copies, -1)).transpose(0, 1).cpu())

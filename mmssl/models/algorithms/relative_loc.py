# Copyright (c) mmssl contributors. All rights reserved.
"""Relative location of patches."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from .base import BackboneNeckHead


@ALGORITHMS.register_module()
class RelativeLoc(BackboneNeckHead):
    """Unsupervised Visual Representation Learning by Context Prediction <https://arxiv.org/abs/1505.05192>.

    Two processes equal one up to the neck's dropout, which each process draws for its own pairs.

    Args:
        backbone (dict): Config of the backbone, which encodes each patch.
        neck (dict): Config of the layers on a pair (RelativeLocNeck).
        head (dict): Config of the classifier of the eight places.
        init_cfg (dict, optional): Initialisation.
    """

    def refuses_one_image(self, processes):
        """None: the norm of the neck gets eight pairs an image."""

    def classify_pairs(self, img):
        """Nine patches in raster order (list of B x C x H x W) to [scores of the pairs, 8B x 8].

        The pairs of the first neighbour come first, those of all B images.
        """
        if not isinstance(img, (list, tuple)) or len(img) != 9:
            given = f'{len(img)} views' if isinstance(img, (list, tuple)) else 'one tensor'
            raise ConfigError(f'RelativeLoc takes 9 patches of each image, the data gives {given}; '
                              'use RelativeLocDataset')
        # the pass over the neighbours and that over the centres have their own batch statistics, as in MMSelfSup,
        # which repeats each centre for its eight pairs; that changes no statistics and no scores
        neighbours = self.backbone(torch.cat([*img[:4], *img[5:]]))[-1]  # 8B x D x h x w
        centres = self.backbone(img[4])[-1]  # B x D x h x w
        centres = centres.repeat(8, *[1] * (centres.dim() - 1))
        return self.head(self.neck((torch.cat([neighbours, centres], 1), )))

    def forward(self, img, patch_label=None, mode='train', **kwargs):
        """See BaseModel. As in MMSelfSup 0.x the label comes second, and the patches may be pairs.

        Pairs are B x 8 x 2C x H x W: in each a neighbour's channels, and behind them the centre's.
        """
        if torch.is_tensor(img) and img.dim() == 5:
            neighbours, centres = img.chunk(2, 2)
            first, last = neighbours.unbind(1)[:4], neighbours.unbind(1)[4:]
            img = [*first, centres[:, 0], *last]
        return super().forward(img, mode, patch_label=patch_label, **kwargs)

    def forward_train(self, img, patch_label, **kwargs):
        """Patches (see classify_pairs) and the places of the neighbours (B x 8) to loss and accuracy."""
        return self.head.loss(self.classify_pairs(img), patch_label.T.flatten())

    def forward_test(self, img, **kwargs):
        """Patches (see classify_pairs) to scores (B x 8 pairs x 8 places, on the CPU) by head."""
        scores = self.classify_pairs(img)[0]
        return dict(head0=scores.unflatten(0, (8, -1)).transpose(0, 1).cpu())

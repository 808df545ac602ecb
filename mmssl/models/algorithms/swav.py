# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV."""
import itertools

import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from .base import BackboneNeckHead


@ALGORITHMS.register_module()
class SwAV(BackboneNeckHead):
    """Unsupervised Learning of Visual Features by Contrasting Cluster Assignments <https://arxiv.org/abs/2006.09882>.

    `SwAVHook` begins the head's queue, and optimizer_config.frozen_layers_cfg keeps the prototypes at first.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, which holds the prototypes.
        init_cfg (dict, optional): Initialisation.
    """

    compares_images = True

    def forward_train(self, img, **kwargs):
        """Crops (list of B x C x H x W, those of one size in a row) to the loss.

        Raises:
            ConfigError: The data gives another number of crops than the head expects.
        """
        given = len(img) if isinstance(img, (list, tuple)) else 1
        if given != sum(self.head.num_crops):
            raise ConfigError(f'the data gives {given} crops of each image, the head expects num_crops='
                              f'{self.head.num_crops}, {sum(self.head.num_crops)} together; use MultiViewDataset with '
                              f'num_views={self.head.num_crops}')
        # one pass for all crops of a size
        maps = [self.backbone(torch.cat(list(crops))) for _, crops in itertools.groupby(img, lambda crop: crop.shape)]
        return self.head(self.neck(maps)[0])

# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV."""
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from ..utils.channels import feature_channels
from .base import BackboneNeckHead, by_size


@ALGORITHMS.register_module()
class SwAV(BackboneNeckHead):
    """Unsupervised Learning of Visual Features by Contrasting Cluster Assignments <https://arxiv.org/abs/2006.09882>.

    `SwAVHook` begins the head's queue, and optimizer_config.frozen_layers_cfg keeps the prototypes at first.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the head, which holds the prototypes. What it leaves out of `num_crops` and `feat_dim` it
            takes from the data and the neck.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('SwAVHead', )
    compares_images = True

    def __init__(self, backbone, neck=None, head=None, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        width = feature_channels(self.neck)
        if width not in (None, self.head.feat_dim):
            raise ConfigError(f'model.head.feat_dim is {self.head.feat_dim}, the neck gives {width} dimensions: set '
                              f'model.head.feat_dim={width}, or leave it out')

    def forward_train(self, img, **kwargs):
        """Crops (list of B x C x H x W, those of one size in a row) to the loss.

        Raises:
            ConfigError: The data gives another number of crops than the head expects.
        """
        self.check_crops(img)
        return self.head(self.project(img))

    def check_crops(self, img):
        """See that the batch has the crops that the head expects; it takes those of the first one if nobody said."""
        given = len(img) if isinstance(img, (list, tuple)) else 1
        if self.head.num_crops is None:
            self.head.set_crops([given])
        if given != sum(self.head.num_crops):
            raise ConfigError(f'the data gives {given} crops of each image, the head expects num_crops='
                              f'{self.head.num_crops}, {sum(self.head.num_crops)} together; use MultiViewDataset with '
                              f'num_views={self.head.num_crops}')

    def project(self, img):
        """Crops to their projections, one below the other: one pass for all crops of a size."""
        return self.neck([self.backbone(crops) for crops in by_size(img)])[0]

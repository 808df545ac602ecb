# Copyright (c) mmssl contributors. All rights reserved.
"""SupCon."""
import torch

from mmssl.utils.dist import get_rank, get_world_size
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from ..losses import check_several_images
from .simclr import SimCLR


@ALGORITHMS.register_module()
class SupCon(SimCLR):
    """Supervised Contrastive Learning <https://arxiv.org/abs/2004.11362>: SimCLR for images with labels.

    The views of all images of a class belong together. An image without a label (-1) has its own views alone, as in
    SimCLR, and is a negative key of all others; so a few labels among many images are used as well.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss, a SupConHead.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('SupConHead', )

    def forward_train(self, img, label=None, **kwargs):
        """V views (list of B x C x H x W) and labels (B integers, -1 = unlabelled) to the loss.

        Raises:
            ConfigError: There is not one label an image.
        """
        if label is None or label.dim() != 1:
            given = 'none' if label is None else f'labels of shape {tuple(label.shape)}'
            raise ConfigError(f'SupCon takes one label an image, the data gives {given}: use MultiViewDataset with '
                              'with_label=True and a data source of one label an image')
        size = len(label)
        check_several_images(size * get_world_size())
        own = -1 - torch.arange(size, device=label.device) - get_rank() * size  # no two images have the same
        return self.head(self.project(img), torch.where(label < 0, own, label).repeat(len(img)))

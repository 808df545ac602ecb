# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, build_memory
from ..losses import unit_vectors
from ..utils.channels import feature_channels
from ..utils.memory import check_memory
from .base import BackboneNeckHead, by_size


@ALGORITHMS.register_module()
class DeepClusterV2(BackboneNeckHead):
    """DeepCluster v2, of SwAV's paper <https://arxiv.org/abs/2006.09882>.

    Before each epoch `DeepClusterV2Hook` clusters the features that a memory kept of the last epoch. All crops of an
    image then predict its cluster, by the similarity to centroids that stay as they are for the epoch.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        memory_bank (dict): Config of CropMemory; it infers the number of samples and the dimension of the features.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: The dimension of the memory is not that of the neck.
    """
    heads = ('DeepClusterV2Head', )

    def __init__(self, backbone, neck, head, memory_bank, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        dim = feature_channels(self.neck)
        given = dim if memory_bank.get('feat_dim') is None else memory_bank['feat_dim']
        if given is None or dim not in (None, given):
            raise ConfigError(f'model.memory_bank.feat_dim is {given}, {type(self.neck).__name__} gives {dim or "?"} '
                              'dimensions: set it to that of the neck' + (', or leave it out' if dim else ''))
        self.memory_bank = build_memory(dict(memory_bank, feat_dim=given))
        check_memory(self, 'cluster', 'CropMemory')

    def refuses_one_image(self, processes):
        # the norms of the neck see all crops of an image
        return None if len(self.memory_bank.crops) > 1 else super().refuses_one_image(processes)

    def project(self, img):
        """Crops (list of V, each B x C x H x W, those of one size in a row) to unit vectors, V x B x D."""
        # one pass for all crops of a size
        maps = [self.backbone(crops) for crops in by_size(img)]
        return unit_vectors(self.neck(maps)[0]).unflatten(0, (len(img), -1))

    def project_kept(self, img):
        """The same for those crops alone that the memory keeps."""
        self.check_crops(img)
        return self.project([img[crop] for crop in self.memory_bank.crops])

    def check_crops(self, img):
        """See that the batch has the crops that the memory keeps.

        Raises:
            ConfigError: The data gives one image a sample, or fewer crops.
        """
        kept = max(self.memory_bank.crops) + 1
        if not isinstance(img, (list, tuple)) or len(img) < kept:
            given = f'{len(img)} crops of each image' if isinstance(img, (list, tuple)) else 'one image a sample'
            raise ConfigError(f'the data gives {given}, the memory keeps crops up to number {kept - 1} (memory_bank.'
                              f'crops): use MultiViewDataset with {kept} views or more')

    def forward_train(self, img, idx, **kwargs):
        """Crops (list of B x C x H x W) and the numbers of their images in the data set (B) to the loss."""
        self.check_crops(img)
        labels = self.memory_bank.label_bank[:, idx]  # H x B
        torch._assert_async((labels >= 0).any(), 'no image of the batch has a cluster: DeepClusterV2 needs '
                            'custom_hooks=[dict(type="DeepClusterV2Hook")]')
        z = self.project(img)
        losses = self.head(z, self.memory_bank.centroids, labels)
        if self.training:
            self.memory_bank.update(idx, z)
        return losses

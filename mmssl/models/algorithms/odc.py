# Copyright (c) mmssl contributors. All rights reserved.
"""Online deep clustering."""
import torch

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, build_memory
from ..losses import balanced_weights
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class ODC(BackboneNeckHead):
    """ODC <https://arxiv.org/abs/2006.10645>: classify samples by their clusters, which move along in each iteration.

    The first clusters come from DeepClusterHook with `init_memory=True`; ODCHook keeps centroids, small clusters and
    class weights up to date.

    Args:
        backbone (dict): Config of the backbone.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.
        neck (dict): Config of the projector, whose output is clustered.
        head (dict): Config of the classifier on top of it.
        memory_bank (dict): Config of ODCMemory.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: Head and memory have different numbers of classes.
    """
    heads = ('ClsHead', )

    def __init__(self, backbone, with_sobel=False, neck=None, head=None, memory_bank=None, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg, with_sobel)
        self.memory_bank = build_memory(memory_bank)
        self.num_classes = num_classes = self.memory_bank.num_classes
        if self.head.num_classes != num_classes:
            raise ConfigError(f'head.num_classes is {self.head.num_classes} and memory_bank.num_classes is '
                              f'{num_classes}: the head tells the clusters of the memory apart')
        self.register_buffer('loss_weight', torch.full((num_classes, ), 1 / num_classes))

    def forward_train(self, img, idx, **kwargs):
        """Images (B x C x H x W) and their indices in the data set (B) to the loss and the share of changed labels."""
        features = self.neck(self.extract_feat(one_view(img)))  # [B x D]
        scores = self.head(features)  # [B x K]
        losses = self.head.loss(scores, self.memory_bank.label_bank[idx], self.loss_weight)
        if self.training:
            losses['change_ratio'] = self.memory_bank.update_samples_memory(idx, features[0].detach())
        return losses

    def forward_test(self, img, **kwargs):
        """Images to dict(head0=scores of the clusters, N x K, on the CPU)."""
        return dict(head0=self.head(self.neck(self.extract_feat(img)))[0].cpu())

    @torch.no_grad()
    def set_reweight(self, labels=None, reweight_pow=0.5):
        """Set the weights of classes in the loss by the sizes of the clusters; see balanced_weights. No host sync.

        Args:
            labels (ndarray | Tensor, optional): The cluster of each sample; those of the memory by default.
            reweight_pow (float): How strongly small clusters gain.
        """
        self.loss_weight.copy_(balanced_weights(self.memory_bank.cluster_sizes(labels), reweight_pow))

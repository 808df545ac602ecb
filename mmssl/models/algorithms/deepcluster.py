# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster."""
import torch

from ..builder import ALGORITHMS
from ..losses import balanced_weights
from .base import BackboneNeckHead, one_view


@ALGORITHMS.register_module()
class DeepCluster(BackboneNeckHead):
    """Deep Clustering for Unsupervised Learning of Visual Features <https://arxiv.org/abs/1807.05520>.

    A classifier of clusters; DeepClusterHook makes these of the network's own features between epochs.

    Args:
        backbone (dict): Config of the backbone, with in_channels=2 for `with_sobel`.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.
        neck (dict, optional): Config of what makes a vector of the last map; its output is clustered and classified.
        head (dict): Config of the classifier; its `num_classes` is the number of clusters.
        init_cfg (dict, optional): Initialisation.
    """
    heads = ('ClsHead', )
    optional_parts = ('neck', )

    def __init__(self, backbone, with_sobel=True, neck=None, head=None, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg, with_sobel)
        self.num_classes = num_classes = self.head.num_classes
        self.register_buffer('loss_weight', torch.full((num_classes, ), 1 / num_classes))

    def classify(self, img):
        """Images to [scores, N x num_classes]."""
        feat = self.extract_feat(one_view(img))
        return self.head(self.neck(feat) if self.with_neck else feat)

    def forward_train(self, img, pseudo_label, **kwargs):
        """Images (N x C x H x W) and their clusters (N) to loss and accuracy."""
        # without a wait for the device: a mean over no label at all would be 0 and teach nothing
        torch._assert_async((pseudo_label >= 0).any(), 'no image of the batch has a cluster: DeepCluster needs '
                            'custom_hooks=[dict(type="DeepClusterHook", initial=True, ...)]')
        return self.head.loss(self.classify(img), pseudo_label, self.loss_weight)

    def forward_test(self, img, **kwargs):
        """Images to dict(head0=scores), N x num_classes, on the CPU."""
        return dict(head0=self.classify(img)[0].cpu())

    def set_reweight(self, labels, reweight_pow=0.5):
        """Weigh clusters in the loss by their sizes.

        Args:
            labels (ndarray | Tensor): Cluster of each sample of the training set, N integers.
            reweight_pow (float): How strongly small clusters gain; see balanced_weights.
        """
        sizes = torch.bincount(torch.as_tensor(labels), minlength=len(self.loss_weight))
        self.loss_weight.copy_(balanced_weights(sizes, reweight_pow))

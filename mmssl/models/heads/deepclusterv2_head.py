# Copyright (c) mmssl contributors. All rights reserved.
"""Head of DeepCluster v2."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import cluster_prediction


@HEADS.register_module()
class DeepClusterV2Head(BaseModule):
    """Classify crops by centroids that stay as they are: the mean of `cluster_prediction` over clusterings.

    Args:
        temperature (float): Divides the similarities to the centroids.

    Raises:
        ValueError: The temperature is not positive.
    """

    def __init__(self, temperature=0.1):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        self.temperature = temperature

    def forward(self, z, centroids, labels):
        """Unit vectors (V x B x D), H sets of centroids (K x D each) and clusters (H x B) to dict(loss=...)."""
        losses = [cluster_prediction(z, c, own, self.temperature) for c, own in zip(centroids, labels, strict=True)]
        return dict(loss=sum(losses) / len(losses))

# Copyright (c) mmssl contributors. All rights reserved.
"""Loss of DeepCluster v2."""
from .cross_entropy import cross_entropy
from .precision import in_float32


@in_float32
def cluster_prediction(z, centroids, labels, temperature=0.1):
    """Every crop predicts the cluster of its image (DeepCluster v2, https://arxiv.org/abs/2006.09882, appendix).

    Args:
        z (Tensor): Unit vectors of V crops of B images, V x B x D.
        centroids (Tensor): Unit vectors, K x D; they get no gradient.
        labels (Tensor): The cluster of each image, B integers; -1 leaves an image out.
        temperature (float): Divides the similarities.

    Returns:
        Tensor: Mean over crops and over the images of all processes that have a cluster, 0-dim.
    """
    scores = z.flatten(0, 1) @ centroids.detach().T / temperature  # VB x K
    return cross_entropy(scores, labels.repeat(len(z)))

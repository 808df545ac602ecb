# Copyright (c) mmssl contributors. All rights reserved.
"""Memories of ODC and InterCLR: feature and cluster of each sample of the data set, and centroids of the clusters."""
import torch
from torch.nn import functional as F

from mmssl.utils.dist import broadcast
from mmssl.utils.errors import ConfigError
from ..builder import MEMORIES
from ..losses import similarities, unit_vectors
from .simple import SizedMemory, blend_features

CHUNK = 8192  # samples that are compared to all centroids at once, which bounds the memory it takes


def nearest(features, centroids):
    """Index of the nearest centroid (K x D) of each feature (N x D), all of unit length."""
    return torch.cat([similarities(part, centroids).argmax(1) for part in features.split(CHUNK)])


def split_in_two(features, least, steps=20):
    """Split unit vectors by 2-means on the sphere. Nothing is drawn: the same vectors are always split the same way.

    Args:
        features (Tensor): N x D.
        least (int): Size of the smaller part at least, at most N // 2. Where 2-means makes a smaller one, or where all
            vectors are equal, the samples next to the border go over.
        steps (int): Steps of Lloyd's algorithm.

    Returns:
        Tensor: N booleans, the second part.
    """
    # two vectors far from each other: the one farthest from the mean, and the one farthest from that
    a = features[similarities(unit_vectors(features.mean(0, keepdim=True)), features).argmin()]
    b = features[similarities(a[None], features).argmin()]
    for _ in range(steps):
        in_b = (similarities((b - a)[None], features) > 0).to(features.dtype)  # 1 x N
        a, b = unit_vectors(torch.cat([1 - in_b, in_b]) @ features)
    towards_b = similarities((b - a)[None], features)[0]
    size = (towards_b > 0).sum().clamp(least, len(features) - least)
    rank = towards_b.argsort(descending=True, stable=True).argsort()
    return rank < size


@MEMORIES.register_module()
class ODCMemory(SizedMemory):
    """Samples memory and centroids memory of ODC <https://arxiv.org/abs/2006.10645>.

    Everything is in buffers, on the device of the model and in its checkpoints, and equal on all processes.

    The paper compares features of unit length to the plain means of clusters; here centroids are scaled to unit length
    too (k-means on the sphere), as otherwise the dot product would favour tight clusters, whose means are longer.
    Before `init_memory` centroids are random directions and features are zero: such a sample counts in no centroid, and
    its first feature replaces the zero.

    Args:
        length (int | None): Number of samples of the data set; None is as many as the training data has.
        feat_dim (int): Dimension of a feature.
        momentum (float): Share of the new feature when a sample's feature is updated, in (0, 1]; 1 replaces.
        num_classes (int): Number of clusters.
        min_cluster (int): Clusters of fewer samples are rebuilt by `deal_with_small_clusters`.
        debug (bool): Accepted for old configs.

    Attributes:
        feature_bank (Tensor): length x feat_dim, unit length.
        label_bank (Tensor): The cluster of each sample, `length` integers from 0 to num_classes - 1.
        centroids (Tensor): num_classes x feat_dim, unit length.

    Raises:
        ValueError: Sizes or a momentum that cannot be.
    """

    def __init__(self, length=None, feat_dim=256, momentum=0.5, num_classes=10000, min_cluster=20, debug=False):
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f'momentum is the share of the new feature, above 0 and at most 1, got {momentum!r}')
        if num_classes < 1 or feat_dim < 1:
            raise ValueError(f'sizes must be positive, got num_classes={num_classes!r}, feat_dim={feat_dim!r}')
        self.feat_dim = feat_dim
        self.momentum = momentum
        self.num_classes = num_classes
        self.min_cluster = min_cluster
        self.register_buffer('feature_bank', torch.zeros(0, feat_dim))
        self.register_buffer('label_bank', torch.zeros(0, dtype=torch.long))
        # a generator of its own: the same in every process
        directions = torch.randn(num_classes, feat_dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer('centroids', F.normalize(directions, dim=1))
        self.begin(length)

    def begin(self, length):
        if length is not None and length < self.num_classes:
            raise ConfigError(f'{length} samples (length) are too few for {self.num_classes} clusters (num_classes)')
        if length is not None and self.num_classes * self.min_cluster > length:
            raise ConfigError(
                f'{length} samples (length) make no {self.num_classes} clusters (num_classes) of at least '
                f'{self.min_cluster} samples (min_cluster): min_cluster can be '
                f'{length // self.num_classes} at most')
        super().begin(length)
        self.feature_bank = self.feature_bank.new_zeros(length or 0, self.feat_dim)
        self.label_bank = torch.arange(length or 0, device=self.label_bank.device) % self.num_classes

    @torch.no_grad()
    def init_memory(self, feature, label):
        """Take over features and clusters of all samples.

        Args:
            feature (ndarray | Tensor): length x feat_dim, of any length.
            label (ndarray | Tensor): `length` integers from 0 to num_classes - 1.

        Raises:
            ValueError: Another shape, NaN or infinity, or a cluster out of range.
        """
        feature = torch.as_tensor(feature, dtype=self.feature_bank.dtype, device=self.feature_bank.device)
        if feature.shape != self.feature_bank.shape:
            raise ValueError(f'the memory holds features of {self.length} samples (length) in {self.feat_dim} '
                             f'dimensions (feat_dim), got features of shape {tuple(feature.shape)}')
        broken = (~feature.isfinite().all(1)).nonzero()[:, 0]
        if len(broken):
            raise ValueError(f'the features of {len(broken)} samples have NaN or infinity, the first is sample '
                             f'{broken[0].item()}')
        self._set_labels(label)
        self.feature_bank.copy_(unit_vectors(feature))
        self.update_centroids_memory()

    def _set_labels(self, label):
        label = torch.as_tensor(label, dtype=torch.long, device=self.label_bank.device)
        if label.shape != self.label_bank.shape:
            raise ValueError(f'the memory holds the clusters of {self.length} samples (length), got labels of shape '
                             f'{tuple(label.shape)}')
        low, high = label.aminmax()
        if low < 0 or high >= self.num_classes:
            raise ValueError(f'the memory has clusters 0 to {self.num_classes - 1} (num_classes), got labels from '
                             f'{low.item()} to {high.item()}')
        self.label_bank.copy_(label)

    def _update_features(self, ind, feature):
        """Blend features of all processes into the bank; returns their samples and what the bank holds now."""
        if feature.dim() != 2 or feature.shape[1] != self.feat_dim:
            raise ValueError(f'the memory holds features of dimension {self.feat_dim} (feat_dim), got features of '
                             f'shape {tuple(feature.shape)}')
        return blend_features(self.feature_bank, ind, feature, self.momentum)

    @torch.no_grad()
    def update_samples_memory(self, ind, feature):
        """Update features of a batch and move its samples to the nearest cluster. No host sync.

        Args:
            ind (Tensor): Indices of this process's samples in the data set, B integers.
            feature (Tensor): B x feat_dim, of any length.

        Returns:
            Tensor: Share of the samples of all processes that changed their cluster, 0-dim.
        """
        ind, feature = self._update_features(ind, feature)
        label = nearest(feature, self.centroids)
        change_ratio = (label != self.label_bank[ind]).to(feature.dtype).mean()
        self.label_bank.index_copy_(0, ind, label)
        return change_ratio

    def cluster_sizes(self, label=None):
        """Number of samples of each cluster, num_classes integers. No host sync, unlike torch.bincount.

        Args:
            label (ndarray | Tensor, optional): The cluster of each sample; `label_bank` by default.
        """
        label = self.label_bank if label is None else torch.as_tensor(label, device=self.label_bank.device).long()
        return label.new_zeros(self.num_classes).index_add_(0, label, torch.ones_like(label))

    @torch.no_grad()
    def deal_with_small_clusters(self):
        """Rebuild clusters of fewer than `min_cluster` samples.

        Their samples go to the nearest of the other centroids. Then each emptied cluster in turn takes over one of the
        two parts into which the largest cluster splits. It stays empty where the largest one is too small to give two
        clusters of `min_cluster` samples, which would be small ones again.
        """
        # rank 0 says what is to be done: no rank waits for others that see nothing to do
        sizes = broadcast(self.cluster_sizes())
        small = sizes < self.min_cluster
        if not small.any():  # waits for the device, because what follows has no fixed size
            return
        others = (~small).nonzero()[:, 0]
        moving = small[self.label_bank].nonzero()[:, 0]
        if len(moving):
            self.label_bank[moving] = others[nearest(self.feature_bank[moving], self.centroids[others])]

        sizes = self.cluster_sizes().cpu()
        changed = []
        for cluster in small.nonzero()[:, 0].tolist():
            largest = sizes.argmax().item()
            if sizes[largest] < 2 * self.min_cluster:
                break
            members = (self.label_bank == largest).nonzero()[:, 0]
            members = members[split_in_two(self.feature_bank[members], self.min_cluster)]
            self.label_bank[members] = cluster
            sizes[largest] -= len(members)
            sizes[cluster] = len(members)
            changed += [largest, cluster]
        broadcast(self.label_bank)
        self.update_centroids_memory(changed)

    @torch.no_grad()
    def update_centroids_memory(self, cinds=None):
        """Set centroids to the direction of the mean feature. Without such a direction they stay where they are.

        Args:
            cinds (Sequence[int], optional): The clusters concerned; all by default.
        """
        sums = torch.zeros_like(self.centroids).index_add_(0, self.label_bank, self.feature_bank)
        means = unit_vectors(sums)
        replaced = means.any(1)
        if cinds is not None:
            concerned = torch.zeros_like(replaced)
            concerned[cinds] = True
            replaced &= concerned
        self.centroids.copy_(torch.where(replaced[:, None], means, self.centroids))
        # on a GPU the order of a sum is left to chance
        broadcast(self.centroids)


@MEMORIES.register_module()
class InterCLRMemory(ODCMemory):
    """Memory of InterCLR <https://arxiv.org/abs/2008.11702>: that of ODC, for labels that can also be set from outside.

    Args: see ODCMemory.
    """

    @torch.no_grad()
    def assign_label(self, label):
        """Take over the clusters of all samples (`length` integers), as found by clustering, and their centroids."""
        self._set_labels(label)
        self.update_centroids_memory()

    @torch.no_grad()
    def broadcast_feature_bank(self):
        """Give each process the features of rank 0."""
        broadcast(self.feature_bank)

    @torch.no_grad()
    def update_simple_memory(self, ind, feature):
        """Update features of a batch (see update_samples_memory); clusters stay."""
        self._update_features(ind, feature)

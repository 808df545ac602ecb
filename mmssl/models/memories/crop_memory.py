# Copyright (c) mmssl contributors. All rights reserved.
"""Memory of DeepCluster v2: features of some crops of each sample, and what k-means makes of them."""
import torch

from mmssl.utils.dist import all_reduce_sum, gather_variable, get_dist_info
from mmssl.utils.errors import ConfigError
from mmssl.utils.kmeans import distributed_kmeans
from ..builder import MEMORIES
from .simple import SizedMemory, blend_features


@MEMORIES.register_module()
class CropMemory(SizedMemory):
    """The last features of some crops of each sample, and clusterings of them.

    All is in buffers, the same in each process, of which each clusters its share. So a checkpoint does not depend on
    the number of processes, and a training can go on with another one. For ImageNet and 128 dimensions a crop takes
    0.66 GB. (A share in each process would save memory there, but a checkpoint would have to be gathered from all.)

    Args:
        num_clusters (list[int]): Number of clusters in each clustering.
        feat_dim (int): Dimension of a feature.
        crops (list[int]): Crops whose features are kept, counted from 0. Clustering h takes those of crop
            crops[h % len(crops)].
        length (int | None): Number of samples; None is as many as the training data has, see SizedMemory.
        iterations (int): Updates of the centroids in k-means.

    Attributes:
        feature_bank (Tensor): length x len(crops) x feat_dim, unit length, or 0 for a sample not seen yet.
        label_bank (Tensor): Cluster of each sample in each clustering, len(num_clusters) x length int64; -1: none yet.

    Raises:
        ConfigError: Numbers that cannot be, or fewer samples than clusters.
    """

    def __init__(self, num_clusters, feat_dim, crops=[0, 1], length=None, iterations=10):
        super().__init__()
        if not num_clusters or min(num_clusters) < 1:
            raise ConfigError(f'num_clusters lists a positive number for each clustering, got {num_clusters!r}')
        if not crops or min(crops) < 0 or len(set(crops)) < len(crops):
            raise ConfigError(f'crops lists different crops of an image, counted from 0, got {crops!r}')
        if feat_dim < 1 or iterations < 0:
            raise ConfigError('feat_dim must be positive and iterations 0 or more, got '
                              f'feat_dim={feat_dim!r} and iterations={iterations!r}')
        self.num_clusters = list(num_clusters)
        self.feat_dim = feat_dim
        self.crops = list(crops)
        self.iterations = iterations
        self.register_buffer('feature_bank', torch.zeros(0, len(crops), feat_dim))
        self.register_buffer('label_bank', torch.zeros(len(num_clusters), 0, dtype=torch.long))
        for h, number in enumerate(num_clusters):
            self.register_buffer(f'centroids{h}', torch.zeros(number, feat_dim))
        self.begin(length)

    @property
    def centroids(self):
        """list[Tensor]: K x feat_dim for each clustering, unit length."""
        return [getattr(self, f'centroids{h}') for h in range(len(self.num_clusters))]

    def begin(self, length):
        if length is not None and length < max(self.num_clusters):
            raise ConfigError(f'{length} samples (length) are too few for {max(self.num_clusters)} clusters '
                              '(num_clusters)')
        super().begin(length)
        self.feature_bank = self.feature_bank.new_zeros(length or 0, *self.feature_bank.shape[1:])
        self.label_bank = self.label_bank.new_full((len(self.num_clusters), length or 0), -1)

    def fit_to_data(self, samples, views=None):
        """Take the number of samples from the training data, or check it, and the crops; see BaseModel.fit_to_data."""
        if views is not None and max(self.crops) >= sum(views):
            raise ConfigError(f'crops={self.crops} keeps crop {max(self.crops)}, the data gives crops 0 to '
                              f'{sum(views) - 1} of each image')
        super().fit_to_data(samples, views)

    @torch.no_grad()
    def fill(self, batches):
        """Take over the features of all samples, of which each process brings some.

        Args:
            batches (Iterable[tuple[Tensor, Tensor]]): Samples (B integers) and the features of their kept crops,
                len(crops) x B x feat_dim, unit length.
        """
        self.feature_bank.zero_()
        for ind, z in batches:
            self.feature_bank[ind] = z.transpose(0, 1).to(self.feature_bank.dtype)
        all_reduce_sum(self.feature_bank)  # each row is zero in all processes but one

    def update(self, ind, z):
        """Replace the features of the samples of all processes.

        Args:
            ind (Tensor): The samples of this process, B integers.
            z (Tensor): Features of all their crops, V x B x feat_dim.
        """
        for bank, crop in zip(self.feature_bank.unbind(1), self.crops):
            blend_features(bank, ind, z[crop].detach(), momentum=1.)

    @torch.no_grad()
    def cluster(self, seed):
        """Spherical k-means of the features, once for each clustering; see distributed_kmeans.

        Args:
            seed (int): Of the first centroids; the clusterings begin with different ones.

        Raises:
            ValueError: NaN or infinity in the features, or fewer samples seen than clusters.
        """
        rank, world_size = get_dist_info()
        for h, number in enumerate(self.num_clusters):
            bank = self.feature_bank[:, h % len(self.crops)]
            seen = bank.any(1).nonzero()[:, 0]
            mine = seen.tensor_split(world_size)[rank]
            found = distributed_kmeans(
                bank[mine], number, self.iterations, spherical=True, index=mine, seed=seed * len(self.num_clusters) + h)
            self.label_bank[h] = -1
            self.label_bank[h, seen] = torch.cat(gather_variable(found.labels))
            self.centroids[h].copy_(found.centroids)

# Copyright (c) mmssl contributors. All rights reserved.
"""Head of SwAV: prototypes, codes, and a queue of features that makes the codes of small batches better."""
import torch
from mmcv.runner import BaseModule
from torch import nn
from torch.nn import functional as F

from mmssl.utils.dist import concat_all_gather, get_dist_info
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn
from ..builder import HEADS
from ..losses import check_several_images, similarities, swapped_prediction
from ..utils.multi_prototypes import MultiPrototypes


@HEADS.register_module()
class SwAVHead(BaseModule):
    """Swapped prediction of cluster codes (SwAV, https://arxiv.org/abs/2006.09882).

    Args:
        feat_dim (int): Dimension of the projections.
        sinkhorn_iterations (int): See distributed_sinkhorn.
        epsilon (float): See distributed_sinkhorn.
        temperature (float): Divides the scores in the prediction.
        crops_for_assign (list[int]): Crops of which codes are computed.
        num_crops (list[int]): Number of crops of each resolution.
        num_prototypes (int | list[int]): Number of prototypes, or of those in each of several sets; the loss is the
            mean over sets.
        init_cfg (dict, optional): Initialisation.

    Attributes:
        queue (Tensor | None): Features of earlier batches, the newest first, of all processes and the same on each:
            len(crops_for_assign) x length x feat_dim. Checkpoints hold it where there is one.
        filled (int): How many of its `length` rows hold features. The codes make use of a full queue only.

    Raises:
        ValueError: Crops or prototypes of which there is no loss.
    """

    def __init__(self,
                 feat_dim,
                 sinkhorn_iterations=3,
                 epsilon=0.05,
                 temperature=0.1,
                 crops_for_assign=[0, 1],
                 num_crops=[2],
                 num_prototypes=3000,
                 init_cfg=None):
        super().__init__(init_cfg)
        crops = sum(num_crops)
        if crops < 2 or not crops_for_assign or not set(crops_for_assign) <= set(range(crops)):
            raise ValueError('a code is predicted from other crops: num_crops must sum up to 2 or more, and '
                             f'crops_for_assign name some of them, counted from 0; got num_crops={num_crops} and '
                             f'crops_for_assign={crops_for_assign}')
        sets = num_prototypes if isinstance(num_prototypes, (list, tuple)) else [num_prototypes]
        if not sets or min(sets) < 1:
            raise ValueError(f'num_prototypes must be positive, got {num_prototypes!r}')
        self.feat_dim = feat_dim
        self.sinkhorn_iterations = sinkhorn_iterations
        self.epsilon = epsilon
        self.temperature = temperature
        self.crops_for_assign = list(crops_for_assign)
        self.num_crops = list(num_crops)
        # only the weights are used, so that one layer and several need no distinction below
        self.prototypes = nn.Linear(feat_dim, num_prototypes, bias=False) if isinstance(num_prototypes, int) else \
            MultiPrototypes(feat_dim, num_prototypes)
        self.register_buffer('queue', None)
        self.filled = 0

    def build_queue(self, length):
        """Begin an empty queue of this many features for each crop that gets codes; 0 for no queue."""
        like = next(self.prototypes.parameters())
        self.queue = like.new_zeros(len(self.crops_for_assign), length, self.feat_dim) if length else None
        self.filled = 0

    def forward(self, x):
        """Projections of all crops, (sum(num_crops) * N) x feat_dim, crop by crop, to the loss.

        Returns:
            dict[str, Tensor]: `loss`.

        Raises:
            ValueError: Other crops or dimensions than the head is for.
            ConfigError: The batch of all processes is one image, to which equal shares of all prototypes are due.
        """
        crops = sum(self.num_crops)
        if x.shape[1:] != (self.feat_dim, ) or len(x) % crops:
            raise ValueError(f'projections of {crops} crops (num_crops={self.num_crops}) with {self.feat_dim} '
                             f'dimensions (feat_dim) are expected, got the shape {tuple(x.shape)}')
        check_several_images(len(x) // crops * get_dist_info()[1])
        by_crop = x.detach().unflatten(0, (crops, -1))
        # a list as index would be copied to the device, and the host wait for that
        feats = torch.stack([by_crop[crop] for crop in self.crops_for_assign])  # A x N x D
        losses = []
        for prototypes in self.prototypes.parameters():
            if self.training:
                with torch.no_grad():
                    prototypes.copy_(F.normalize(prototypes, dim=1))
            else:  # an evaluation leaves the weights as they are
                prototypes = F.normalize(prototypes, dim=1)
            scores = similarities(x, prototypes).unflatten(0, (crops, -1))  # V x N x K
            codes = self.compute_codes(feats, prototypes)
            losses.append(swapped_prediction(scores, codes, self.crops_for_assign, temperature=self.temperature))
        if self.training and self.queue is not None:
            self.enqueue(feats)
        return dict(loss=sum(losses) / len(losses))

    @torch.no_grad()
    def compute_codes(self, feats, prototypes):
        """Codes of crops, A x N x K, from their projections, A x N x feat_dim."""
        rank, world_size = get_dist_info()
        codes = []
        for i, rows in enumerate(feats):
            if self.queue is not None and self.filled >= self.queue.shape[1]:
                # each process takes its share of the features of all
                rows = torch.cat([rows.to(self.queue.dtype), self.queue[i].tensor_split(world_size)[rank]])
            rows = distributed_sinkhorn(
                similarities(rows, prototypes), self.sinkhorn_iterations, world_size, self.epsilon)
            codes.append(rows[:feats.shape[1]])
        return torch.stack(codes)

    @torch.no_grad()
    def enqueue(self, feats):
        """Put the features of all processes (here A x N x D of this one) in front of the queue; the oldest go."""
        length = self.queue.shape[1]
        feats = concat_all_gather(feats.transpose(0, 1)).transpose(0, 1)
        number = feats.shape[1]
        if number > length:
            raise ValueError(f'the queue of {length} features (queue_length) is shorter than a batch of all processes, '
                             f'{number}')
        self.queue.copy_(torch.cat([feats.to(self.queue.dtype), self.queue[:, :length - number]], dim=1))
        self.filled = min(self.filled + number, length)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # resuming comes before the hook that builds the queue
        saved = state_dict.get(prefix + 'queue')
        if saved is not None:
            self.build_queue(saved.shape[1])
        super()._load_from_state_dict(state_dict, prefix, *args)
        if saved is not None:
            self.filled = int((self.queue[0] != 0).any(1).sum())

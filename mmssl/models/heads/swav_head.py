# Copyright (c) mmssl contributors. All rights reserved.
"""Head of SwAV: prototypes, codes, and a queue of features that makes the codes of small batches better."""
import math

import torch
from mmcv.runner import BaseModule
from torch import nn
from torch.nn import functional as F

from mmssl.utils.dist import concat_all_gather, get_dist_info
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import master_of, update_weights
from mmssl.utils.sharded import changeable
from ..builder import HEADS
from ..losses import check_several_images, similarities, swapped_prediction
from ..utils.channels import settle
from ..utils.iteration_counter import IterationCounter
from ..utils.multi_prototypes import MultiPrototypes


@HEADS.register_module()
class SwAVHead(BaseModule):
    """Swapped prediction of cluster codes (SwAV, https://arxiv.org/abs/2006.09882).

    Args:
        feat_dim (int): Dimension of the projections; left out, that of the neck.
        sinkhorn_iterations (int): See distributed_sinkhorn.
        epsilon (float): See distributed_sinkhorn.
        temperature (float): Divides the scores in the prediction.
        crops_for_assign (list[int]): Crops of which codes are computed.
        num_crops (list[int], optional): Number of crops of each resolution; None takes what the data gives.
        num_prototypes (int | list[int]): Number of prototypes, or of those in each of several sets; the loss is the
            mean over sets.
        init_cfg (dict, optional): Initialisation.
        hard_assign_iters (int): In that many iterations at first a code is the one prototype that has the largest
            share in it.
        double_precision (bool): Compute the codes in float64.
        power (float): Prototype i of K gets a share of all samples that goes with (i + 1) ** -power; 0 gives all the
            same.

    Attributes:
        uniform_values, sharpness, uniform_kind: See DINOHead.
        queue (Tensor | None): Features of earlier batches, the newest first, of all processes and the same on each:
            len(crops_for_assign) x length x feat_dim. Checkpoints hold it where there is one.
        filled (int): How many of its `length` rows hold features. The codes make use of a full queue only.

    Raises:
        ValueError: Crops or prototypes of which there is no loss, or a number out of range.
    """

    sharpness = ('epsilon', )
    uniform_kind = 'prototypes'

    def __init__(self,
                 feat_dim,
                 sinkhorn_iterations=3,
                 epsilon=0.05,
                 temperature=0.1,
                 crops_for_assign=[0, 1],
                 num_crops=None,
                 num_prototypes=3000,
                 init_cfg=None,
                 hard_assign_iters=0,
                 double_precision=False,
                 power=0.):
        super().__init__(init_cfg)
        self.crops_for_assign = list(crops_for_assign)
        self.num_crops = None
        if num_crops is not None:
            self.set_crops(num_crops)
        sets = num_prototypes if isinstance(num_prototypes, (list, tuple)) else [num_prototypes]
        if not sets or min(sets) < 1:
            raise ValueError(f'num_prototypes must be positive, got {num_prototypes!r}')
        if not (hard_assign_iters >= 0 and power >= 0):
            raise ValueError(f'hard_assign_iters and power cannot be negative, got {hard_assign_iters!r} and {power!r}')
        if not (temperature > 0 and epsilon > 0 and sinkhorn_iterations > 0):
            raise ValueError(f'temperature, epsilon and sinkhorn_iterations must be positive, got {temperature!r}, '
                             f'{epsilon!r} and {sinkhorn_iterations!r}')
        self.uniform_values = dict(loss=sum(map(math.log, sets)) / len(sets))
        self.feat_dim = feat_dim
        self.sinkhorn_iterations = sinkhorn_iterations
        self.epsilon = epsilon
        self.temperature = temperature
        self.hard_assign_iters = hard_assign_iters
        self.double_precision = double_precision
        self.power = power
        # only the weights are used, so that one layer and several need no distinction below
        self.prototypes = nn.Linear(feat_dim, num_prototypes, bias=False) if isinstance(num_prototypes, int) else \
            MultiPrototypes(feat_dim, num_prototypes)
        self.counter = IterationCounter() if hard_assign_iters else None
        self.register_buffer('queue', None)
        self.filled = 0

    def set_crops(self, num_crops):
        """Expect these numbers of crops of each resolution."""
        crops = sum(num_crops)
        if crops < 2 or not self.crops_for_assign or not set(self.crops_for_assign) <= set(range(crops)) \
                or len(set(self.crops_for_assign)) < len(self.crops_for_assign):
            raise ConfigError('a code is predicted from other crops: num_crops must sum up to 2 or more, and '
                              f'crops_for_assign name some of them once each, counted from 0; got num_crops='
                              f'{num_crops} and crops_for_assign={self.crops_for_assign}')
        self.num_crops = list(num_crops)

    def fit_to_data(self, samples, views=None):
        """Take the number of crops from the data, where the config leaves it out; see BaseModel."""
        if views is None:
            return
        if self.num_crops is not None and sum(self.num_crops) != sum(views):
            settle('num_crops', self.num_crops, list(views), 'crops (num_views)')
        self.set_crops(views if self.num_crops is None else self.num_crops)

    def build_queue(self, length):
        """Begin an empty queue of this many features for each crop that gets codes; 0 for no queue."""
        like = master_of(next(self.prototypes.parameters()))
        self.queue = like.new_zeros(len(self.crops_for_assign), length, self.feat_dim) if length else None
        self.filled = 0

    @torch.no_grad()
    def normalize_prototypes(self, prototypes=None):
        """Give all prototypes, or those of a copy of `self.prototypes`, the length 1."""
        prototypes = self.prototypes if prototypes is None else prototypes
        for weight in changeable(prototypes):
            weight.copy_(F.normalize(weight, dim=1))
        update_weights(prototypes)

    def forward(self, x, targets=None, prototypes=None):
        """Projections of all crops, (sum(num_crops) * N) x feat_dim, crop by crop, to the loss.

        Args:
            x (Tensor): The projections, of length 1.
            targets (Tensor, optional): Projections of `crops_for_assign` by another network, of which the codes are
                computed, (A * N) x feat_dim; those in x where it is left out.
            prototypes (Module, optional): Such a network's copy of `self.prototypes`, of length 1, for the codes.

        Returns:
            dict[str, Tensor]: `loss`.

        Raises:
            ValueError: Other crops or dimensions than the head is for.
            ConfigError: The batch of all processes is one image, to which equal shares of all prototypes are due.
        """
        crops = sum(self.num_crops or ())
        if not crops:
            raise ConfigError('SwAVHead has to be told the number of crops of each resolution: set num_crops, or train '
                              'by train_model, which takes it from the data')
        if x.shape[1:] != (self.feat_dim, ) or len(x) % crops:
            raise ValueError(f'projections of {crops} crops (num_crops={self.num_crops}) with {self.feat_dim} '
                             f'dimensions (feat_dim) are expected, got the shape {tuple(x.shape)}')
        check_several_images(len(x) // crops * get_dist_info()[1])
        if targets is None:
            by_crop = x.detach().unflatten(0, (crops, -1))
            # a list as index would be copied to the device, and the host wait for that
            feats = torch.stack([by_crop[crop] for crop in self.crops_for_assign])  # A x N x D
        else:
            feats = targets.detach().unflatten(0, (len(self.crops_for_assign), -1))
        if self.training:
            self.normalize_prototypes()
        # an evaluation leaves the weights as they are
        online = [p if self.training else F.normalize(p, dim=1) for p in self.prototypes.parameters()]
        losses = []
        for weight, for_codes in zip(online, online if prototypes is None else prototypes.parameters()):
            scores = similarities(x, weight).unflatten(0, (crops, -1))  # V x N x K
            codes = self.compute_codes(feats, for_codes)
            losses.append(swapped_prediction(scores, codes, self.crops_for_assign, temperature=self.temperature))
        if self.training:
            if self.queue is not None:
                self.enqueue(feats)
            if self.counter is not None:
                self.counter.step()
        return dict(loss=sum(losses) / len(losses))

    @torch.no_grad()
    def compute_codes(self, feats, prototypes):
        """Codes of crops, A x N x K, from their projections, A x N x feat_dim."""
        rank, world_size = get_dist_info()
        shares = None
        if self.power:
            shares = torch.arange(1, len(prototypes) + 1, device=feats.device)**-float(self.power)
        codes = []
        for i, rows in enumerate(feats):
            if self.queue is not None and self.filled >= self.queue.shape[1]:
                # each process takes its share of the features of all
                rows = torch.cat([rows.to(self.queue.dtype), self.queue[i].tensor_split(world_size)[rank]])
            scores = similarities(rows, prototypes)
            if self.double_precision:
                scores = scores.double()
            rows = distributed_sinkhorn(scores, self.sinkhorn_iterations, world_size, self.epsilon, shares)
            codes.append(rows[:feats.shape[1]])
        codes = torch.stack(codes)
        if self.counter is not None and self.counter.done < self.hard_assign_iters:
            codes = torch.zeros_like(codes).scatter_(2, codes.argmax(2, keepdim=True), 1.)
        return codes.to(torch.promote_types(feats.dtype, torch.float32))

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

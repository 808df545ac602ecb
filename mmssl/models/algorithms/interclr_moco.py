# Copyright (c) mmssl contributors. All rights reserved.
"""InterCLR on MoCo."""
import functools

import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import concat_all_gather
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, build_memory, build_neck
from ..losses import arc_margin, cosine_margin, similarities, unit_vectors
from ..memories import enqueue
from .base import two_views
from .moco import MoCo


class TwoNecks(BaseModule):
    """Two necks of one config, each initialised on its own, that give [projection for inter, projection for intra]."""

    def __init__(self, neck):
        super().__init__()
        self.inter = build_neck(neck)
        self.intra = build_neck(neck)

    def forward(self, x):
        return [self.inter(x)[0], self.intra(x)[0]]


def choose_margin(branch, by_cosine, cos_margin, by_arc, arc):
    """The function that applies the margin which a branch's arguments ask for."""
    if by_cosine and by_arc:
        raise ConfigError(f'{branch}_cos_marign_loss and {branch}_arc_marign_loss exclude each other: set one to False')
    if by_arc:
        return functools.partial(arc_margin, margin=arc)
    return functools.partial(cosine_margin, margin=cos_margin if by_cosine else 0.)


@ALGORITHMS.register_module()
class InterCLRMoCo(MoCo):
    """InterCLR <https://arxiv.org/abs/2008.11702> on MoCo: a key of another image of the same cluster is positive too.

    The intra-image branch is MoCo. The inter-image branch takes positives and negatives from a memory bank of all
    samples, whose clusters move along in each iteration. InterCLRHook makes the first clusters and keeps them up.

    Positives and negatives are drawn on the device, by each process for its own samples: one process with a batch of
    two others draws others, so that their losses are equal in the mean only.

    Args:
        backbone, head, queue_len, feat_dim, momentum, init_cfg: See MoCo; the head serves both branches.
        neck (dict): Config of the projector.
        memory_bank (dict): Config of InterCLRMemory.
        online_labels (bool): Samples move to the nearest cluster in each iteration; else only InterCLRHook does that.
        neg_num (int): Number of negatives of a query in the inter-image branch. All are of other clusters: where there
            are fewer of these, the rest is left out.
        neg_sampling (str): 'hard' (the most similar ones), 'semihard' (drawn from the `semihard_neg_pool_num` most
            similar ones), 'random', or 'semieasy' (drawn from the `semieasy_neg_pool_num` least similar ones).
        semihard_neg_pool_num (int): See above.
        semieasy_neg_pool_num (int): See above.
        intra_cos_marign_loss (bool): Subtract `intra_cos_margin` from the similarity of positive pairs of views.
        intra_cos_margin (float): See cosine_margin.
        intra_arc_marign_loss (bool): Add `intra_arc_margin` to the angle between positive pairs of views.
        intra_arc_margin (float): In radians; see arc_margin.
        inter_cos_marign_loss, inter_cos_margin, inter_arc_marign_loss, inter_arc_margin: The same for pairs of images.
        intra_loss_weight (float): Weight of the loss of views.
        inter_loss_weight (float): Weight of the loss of images.
        share_neck (bool): One neck for both branches; else a second one of the same config, initialised on its own.
            The bank then holds the projections of the inter-image branch.
        num_classes (int): Number of clusters, as in `memory_bank`.

    Attributes:
        warming_up (bool): Whether only the loss of views counts, with weight 1: this is MoCo then. Set by InterCLRHook.

    Raises:
        ConfigError: Arguments that contradict each other, or more negatives than there are.
    """
    heads = ('ContrastiveHead', 'DCLHead')
    loss_names = ('intra_loss', 'inter_loss')
    warming_up = False

    def __init__(self,
                 backbone,
                 neck=None,
                 head=None,
                 queue_len=65536,
                 feat_dim=128,
                 momentum=0.999,
                 memory_bank=None,
                 online_labels=True,
                 neg_num=16384,
                 neg_sampling='semihard',
                 semihard_neg_pool_num=128000,
                 semieasy_neg_pool_num=128000,
                 intra_cos_marign_loss=False,
                 intra_cos_margin=0,
                 intra_arc_marign_loss=False,
                 intra_arc_margin=0,
                 inter_cos_marign_loss=True,
                 inter_cos_margin=-0.5,
                 inter_arc_marign_loss=False,
                 inter_arc_margin=0,
                 intra_loss_weight=0.75,
                 inter_loss_weight=0.25,
                 share_neck=True,
                 num_classes=10000,
                 init_cfg=None):
        super().__init__(backbone, neck if share_neck or neck is None else dict(type=TwoNecks, neck=neck), head,
                         queue_len, feat_dim, momentum, init_cfg)
        self.memory_bank = build_memory(memory_bank)
        for name, value in dict(num_classes=num_classes, feat_dim=feat_dim).items():
            if getattr(self.memory_bank, name) != value:
                raise ConfigError(f'{name} is {value} and memory_bank.{name} {getattr(self.memory_bank, name)}: '
                                  'both must be the same')
        pools = dict(hard=neg_num, semihard=semihard_neg_pool_num, random=neg_num, semieasy=semieasy_neg_pool_num)
        if neg_sampling not in pools:
            raise ConfigError(f'neg_sampling is one of {list(pools)}, got {neg_sampling!r}')
        self.pool_num = pools[neg_sampling]
        self.online_labels = online_labels
        self.neg_num = neg_num
        self.neg_sampling = neg_sampling
        if self.memory_bank.length is not None:
            self._check_pool()
        self.intra_margin = choose_margin('intra', intra_cos_marign_loss, intra_cos_margin, intra_arc_marign_loss,
                                          intra_arc_margin)
        self.inter_margin = choose_margin('inter', inter_cos_marign_loss, inter_cos_margin, inter_arc_marign_loss,
                                          inter_arc_margin)
        self.intra_loss_weight = intra_loss_weight
        self.inter_loss_weight = inter_loss_weight

    def fit_to_data(self, samples, views=None):
        """See BaseModel."""
        super().fit_to_data(samples, views)
        self._check_pool()

    def _check_pool(self):
        if not 1 <= self.neg_num <= self.pool_num <= self.memory_bank.length:
            raise ConfigError(f'{self.neg_sampling} negatives: neg_num={self.neg_num} of a pool of {self.pool_num} out '
                              f'of memory_bank.length={self.memory_bank.length} samples; the first can be no larger '
                              'than the second, nor that than the third')

    def forward_train(self, img, idx, **kwargs):
        """Two views (list of B x C x H x W) and indices in the data set (B) to both losses, weighted."""
        img_q, img_k = two_views(img)
        # [for inter, for intra], or one projection for both: B x D each
        q = [unit_vectors(z) for z in self.neck(self.backbone(img_q))]
        k = [unit_vectors(z) for z in self.run_key_encoder(img_k)]

        intra, inter = self.contrast_intra(q[-1], k[-1]), self.contrast_inter(q[0], idx)
        weights = (1., 0.) if self.warming_up else (self.intra_loss_weight, self.inter_loss_weight)
        losses = dict(intra_loss=weights[0] * intra, inter_loss=weights[1] * inter)

        if not self.training:
            return losses
        enqueue(self.queue, self.queue_ptr, concat_all_gather(k[-1]))
        if self.online_labels:
            losses['change_ratio'] = self.memory_bank.update_samples_memory(idx, k[0])
        else:
            self.memory_bank.update_simple_memory(idx, k[0])
        return losses

    def contrast_intra(self, q, k):
        """InfoNCE of queries (B x D), their keys (B x D) and the queue, 0-dim."""
        pos, neg = self.compare(q, k, self.queue)
        return self.head(self.intra_margin(pos), neg)['loss']

    def contrast_inter(self, q, idx):
        """InfoNCE of queries (B x D, of the samples `idx`) and the memory bank, 0-dim."""
        labels = self.memory_bank.label_bank
        same = labels[idx][:, None] == labels  # B x N
        # to all samples, and of a copy, because the bank changes before the backward pass reads it
        sim = similarities(q, self.memory_bank.feature_bank.clone())  # B x N
        positives, negatives = self.pick_positives(same, idx), self.pick_negatives(sim.detach(), same)
        pos = sim.gather(1, positives)  # B x 1
        neg = sim.gather(1, negatives).masked_fill(same.gather(1, negatives), -torch.inf)  # B x neg_num
        return self.head(self.inter_margin(pos), neg)['loss']

    @staticmethod
    def pick_positives(same, idx):
        """Draw another sample of the same cluster.

        Args:
            same (Tensor): Whether a sample of the bank is of the cluster of a query, B x N booleans.
            idx (Tensor): The query's own place in the bank, B integers.

        Returns:
            Tensor: Places in the bank, B x 1; the query's own where its cluster has no other sample.
        """
        lots = torch.rand(same.shape, device=same.device).masked_fill_(~same, -1)
        return lots.scatter_(1, idx[:, None], -0.5).argmax(1, keepdim=True)

    def pick_negatives(self, sim, same):
        """Choose samples of other clusters as `neg_sampling` says; where there are too few, others of the same one.

        Args:
            sim (Tensor): Similarities of queries to all samples of the bank, B x N.
            same (Tensor): See pick_positives.

        Returns:
            Tensor: Places in the bank, B x neg_num.
        """
        rank = dict(random=torch.rand_like, semieasy=torch.neg).get(self.neg_sampling, torch.clone)(sim)
        pool = rank.masked_fill_(same, -torch.inf).topk(self.pool_num, sorted=False).indices  # B x pool_num
        if self.pool_num == self.neg_num:
            return pool
        # one draw for the whole batch: each query has a pool of its own
        return pool[:, torch.randperm(self.pool_num, device=pool.device)[:self.neg_num]]

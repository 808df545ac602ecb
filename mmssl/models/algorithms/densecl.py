# Copyright (c) mmssl contributors. All rights reserved.
"""DenseCL."""
import torch

from mmssl.utils.dist import concat_all_gather
from ..builder import ALGORITHMS
from ..losses import in_float32, unit_vectors
from ..memories import enqueue, new_queue
from .base import two_views
from .moco import MoCo


@torch.no_grad()
@in_float32
def nearest_positions(queries, keys):
    """For each position of one map the position of another with the greatest cosine.

    Args:
        queries, keys (Tensor): Maps, B x C x P and B x C x R.

    Returns:
        Tensor: Numbers of positions in `keys`, B x P.
    """
    return (unit_vectors(queries).transpose(1, 2) @ unit_vectors(keys)).argmax(2)


@ALGORITHMS.register_module()
class DenseCL(MoCo):
    """Dense Contrastive Learning <https://arxiv.org/abs/2011.09157>: MoCo v2 and the same for positions of the map.

    `DenseCLHook` keeps `loss_lambda` at 0 in the first iterations, in which correspondences mean nothing yet.

    Args:
        backbone, queue_len, feat_dim, momentum, init_cfg: See MoCo.
        neck (dict): Config of the projector, a DenseCLNeck.
        head (dict): Config of the loss, which serves images and positions.
        loss_lambda (float): Weight of the loss of positions, from 0 to 1; that of images has the rest.
    """
    heads = ('ContrastiveHead', 'DCLHead')
    loss_names = ('loss_single', 'loss_dense')

    def __init__(self,
                 backbone,
                 neck=None,
                 head=None,
                 queue_len=65536,
                 feat_dim=128,
                 momentum=0.999,
                 loss_lambda=0.5,
                 init_cfg=None):
        super().__init__(backbone, neck, head, queue_len, feat_dim, momentum, init_cfg)
        if not 0 <= loss_lambda <= 1:
            raise ValueError(f'loss_lambda is a share from 0 to 1, got {loss_lambda!r}')
        self.loss_lambda = loss_lambda
        queue2, queue2_ptr = new_queue(feat_dim, queue_len)
        self.register_buffer('queue2', queue2)  # keys of averaged positions, feat_dim x queue_len
        self.register_buffer('queue2_ptr', queue2_ptr)

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the weighted losses of images and of positions."""
        img_q, img_k = two_views(img)
        maps_q = self.backbone(img_q)
        q, dense_q, _ = self.neck(maps_q)  # B x D, B x D x P
        q, dense_q = unit_vectors(q), unit_vectors(dense_q)
        grid_k, k, dense_k, mean_k = self.run_key_encoder(img_k)
        k, dense_k, mean_k = map(unit_vectors, (k, dense_k, mean_k))

        # a position's positive key is that of the most similar position, by features of the backbone
        grid_q = self.neck.pool(maps_q[-1]).flatten(2)  # B x C x P
        match = nearest_positions(grid_q, grid_k)  # B x P
        match_k = dense_k.gather(2, match[:, None].expand_as(dense_q))  # B x D x P
        pos, neg = self.compare(q, k, self.queue)
        rows_q, rows_k = (x.transpose(1, 2).flatten(0, 1) for x in (dense_q, match_k))  # BP x D
        dense_pos, dense_neg = self.compare(rows_q, rows_k, self.queue2)

        if self.training:
            enqueue(self.queue, self.queue_ptr, concat_all_gather(k))
            enqueue(self.queue2, self.queue2_ptr, concat_all_gather(mean_k))
        return dict(
            loss_single=(1 - self.loss_lambda) * self.head(pos, neg)['loss'],
            loss_dense=self.loss_lambda * self.head(dense_pos, dense_neg)['loss'])

    def forward_keys(self, img):
        """Map of the backbone on the grid of the dense projections, B x C x P, and the three projections."""
        backbone, neck = self.encoder_k
        maps = backbone(img)
        return [neck.pool(maps[-1]).flatten(2), *neck(maps)]

    def forward_test(self, img, **kwargs):
        """Images, N x C x H x W, to dict(dense=normalised projections of all positions, N x D x P)."""
        return dict(dense=unit_vectors(self.neck(self.backbone(img))[1]))

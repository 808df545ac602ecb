# Copyright (c) mmssl contributors. All rights reserved.
"""MoCo v1 and v2."""
import torch

from mmssl.utils.dist import batch_shuffle_ddp, batch_unshuffle_ddp, concat_all_gather, get_world_size
from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS
from ..losses import similarities, unit_vectors
from ..memories import enqueue, new_queue
from ..utils.channels import feature_channels
from ..utils.momentum_encoder import MomentumEncoder
from ..utils.norm import SplitBatchNorm
from .base import BackboneNeckHead, two_views


@ALGORITHMS.register_module()
class MoCo(BackboneNeckHead):
    """Momentum Contrast, v1 <https://arxiv.org/abs/1911.05722> and v2 <https://arxiv.org/abs/2003.04297>.

    The two differ in neck, temperature and augmentation, which the config gives.

    Args:
        backbone (dict): Config of the backbone. In one process `norm_cfg=dict(type='SplitBN')` takes the place of
            shuffling between GPUs.
        neck (dict): Config of the projector.
        head (dict): Config of the loss.
        queue_len (int): Number of keys in the queue.
        feat_dim (int): Dimension of the projection.
        momentum (float): Share of the key encoder that stays at an update.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: `feat_dim` is not what the neck gives.
    """
    heads = ('ContrastiveHead', 'DCLHead')
    online_name = 'encoder_q'
    momentum_parts = ('encoder_k', )

    def __init__(self, backbone, neck=None, head=None, queue_len=65536, feat_dim=128, momentum=0.999, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        own = feature_channels(self.neck)
        if own not in (None, feat_dim):
            raise ConfigError(f'the neck gives projections of {own} dimensions, the queue has those of {feat_dim}: set '
                              f'model.feat_dim={own}')
        self.encoder_k = MomentumEncoder(self.backbone, self.neck)
        self.queue_len = queue_len
        self.momentum = momentum
        queue, queue_ptr = new_queue(feat_dim, queue_len)
        self.register_buffer('queue', queue)  # feat_dim x queue_len
        self.register_buffer('queue_ptr', queue_ptr)
        self.split_bn = any(isinstance(m, SplitBatchNorm) for m in self.modules())

    def copy_momentum_parts(self):
        self.encoder_k.copy_from(self.backbone, self.neck)

    def forward_train(self, img, **kwargs):
        """Two views (list of B x C x H x W) to the loss."""
        img_q, img_k = two_views(img)
        q = unit_vectors(self.neck(self.backbone(img_q))[0])  # B x D
        k = self.compute_keys(img_k)  # B x D

        pos, neg = self.compare(q, k, self.queue)
        if self.training:
            enqueue(self.queue, self.queue_ptr, concat_all_gather(k))
        return self.head(pos, neg)

    @staticmethod
    def compare(q, k, queue):
        """Similarities of queries (B x D) to their keys (B x D) and to a queue (D x K): B x 1 and B x K."""
        # a copy, because the queue changes before the backward pass reads it
        return (q * k).sum(1, keepdim=True), similarities(q, queue.clone().T)

    def compute_keys(self, img):
        """Keys of B images, normalised, B x D. The key encoder takes its momentum step first."""
        return unit_vectors(self.run_key_encoder(img)[0])

    @torch.no_grad()
    def run_key_encoder(self, img):
        """What `forward_keys` gives for B images. The key encoder takes its momentum step first."""
        if self.training and self.is_update_iter:
            self.encoder_k.follow(self.backbone, self.neck, momentum=self.momentum)
        # batch statistics must not tell which query belongs to a key
        shuffle = get_world_size() > 1 or self.split_bn
        if not shuffle:
            return self.forward_keys(img)
        img, undo = batch_shuffle_ddp(img)
        return [batch_unshuffle_ddp(out, undo) for out in self.forward_keys(img)]

    def forward_keys(self, img):
        """Tensors, one row an image each, from the key encoder."""
        return self.encoder_k(img)

    def compile_parts(self):
        return [*super().compile_parts(), *self.encoder_k]

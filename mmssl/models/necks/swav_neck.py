# Copyright (c) mmssl contributors. All rights reserved.
"""Projection head of SwAV."""
import torch
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..losses import unit_vectors
from ..utils.channels import check_channels
from .mlp import build_vector_norm


@NECKS.register_module()
class SwAVNeck(BaseModule):
    """Two linear layers with a norm and a ReLU between them, for crops of several resolutions together.

    MLPNeck with `with_l2norm=True` has any number of layers.

    Args:
        in_channels (int): Channels of the features.
        hid_channels (int): Hidden dimension; 0 makes it one linear layer.
        out_channels (int): Dimension of the projection.
        with_avg_pool (bool): Average over positions first; without it maps are flattened.
        with_l2norm (bool): Divide the projections by their lengths.
        norm_cfg (dict, optional): Kind of norm; None for none.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
    """

    def __init__(self,
                 in_channels,
                 hid_channels,
                 out_channels,
                 with_avg_pool=True,
                 with_l2norm=True,
                 norm_cfg=dict(type='SyncBN'),
                 init_cfg=[dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.with_avg_pool = with_avg_pool
        self.with_l2norm = with_l2norm
        if hid_channels == 0:
            self.projection_neck = nn.Linear(in_channels, out_channels)
        else:
            norms = [] if norm_cfg is None else [build_vector_norm(norm_cfg, hid_channels)]
            self.projection_neck = nn.Sequential(
                nn.Linear(in_channels, hid_channels), *norms, nn.ReLU(inplace=True),
                nn.Linear(hid_channels, out_channels))

    def forward_projection(self, x):
        """Pooled features, N x in_channels, to projections, N x out_channels."""
        x = self.projection_neck(x)
        return unit_vectors(x) if self.with_l2norm else x

    def forward(self, x):
        """Maps of a backbone, or a list with those of each resolution, to [projections of all, N x out_channels].

        Of each tuple of maps (N x C x H x W or N x C) the last is taken.
        """
        if torch.is_tensor(x[0]):
            x = [x]
        pooled = [maps[-1] for maps in x]
        if self.with_avg_pool:
            pooled = [last.mean((2, 3)) if last.dim() == 4 else last for last in pooled]
        pooled = [last.flatten(1) for last in pooled]
        check_channels(pooled[0], self.in_channels, self)
        return [self.forward_projection(torch.cat(pooled))]

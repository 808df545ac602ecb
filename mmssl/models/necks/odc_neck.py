# Copyright (c) mmssl contributors. All rights reserved.
"""Neck of ODC."""
from torch import nn

from ..builder import NECKS
from .mlp import ProjectionNeck, build_vector_norm


@NECKS.register_module()
class ODCNeck(ProjectionNeck):
    """fc0, batch norm, ReLU, dropout, fc1, ReLU, as in ODC <https://arxiv.org/abs/2006.10645>.

    The norm has no learned scale and shift, and its running statistics move slowly (momentum 0.001).

    Args:
        in_channels (int): Channels of the features.
        hid_channels (int): Hidden dimension.
        out_channels (int): Dimension of the projection.
        with_avg_pool (bool): Average over positions first.
        norm_cfg (dict): Kind of batch norm.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
    """

    def __init__(self,
                 in_channels,
                 hid_channels,
                 out_channels,
                 with_avg_pool=True,
                 norm_cfg=dict(type='SyncBN'),
                 init_cfg=[dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]):
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=in_channels, out_channels=out_channels)
        self.fc0 = nn.Linear(in_channels, hid_channels)
        self.bn0 = build_vector_norm(norm_cfg, hid_channels, momentum=0.001, affine=False)
        self.fc1 = nn.Linear(hid_channels, out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()

    def project(self, x):
        x = self.drop(self.relu(self.bn0(self.fc0(x))))
        return self.relu(self.fc1(x))

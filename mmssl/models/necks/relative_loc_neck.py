# Copyright (c) mmssl contributors. All rights reserved.
"""The layers on a pair of patches."""
from torch import nn

from ..builder import NECKS
from .mlp import ProjectionNeck, build_vector_norm


@NECKS.register_module()
class RelativeLocNeck(ProjectionNeck):
    """Linear layer, batch norm, ReLU and dropout on the features of two patches, one behind the other.

    Args:
        in_channels (int): Channels of the features of one patch.
        out_channels (int): Dimension of the result.
        with_avg_pool (bool): Average over positions first.
        norm_cfg (dict): Kind of batch norm; its running statistics follow slowly, with the momentum 0.003.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
    """

    def __init__(self,
                 in_channels,
                 out_channels,
                 with_avg_pool=True,
                 norm_cfg=dict(type='BN1d'),
                 init_cfg=[
                     dict(type='Normal', std=0.01, layer='Linear'),
                     dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
                 ]):
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=2 * in_channels)
        self.fc = nn.Linear(2 * in_channels, out_channels)
        self.bn = build_vector_norm(norm_cfg, out_channels, momentum=0.003)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)

    def project(self, x):
        return self.drop(self.relu(self.bn(self.fc(x))))

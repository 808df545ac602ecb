# Copyright (c) mmssl contributors. All rights reserved.
"""Projection heads on pooled features, by their known names, and what they share."""
from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from ..builder import NECKS
from ..utils.channels import check_channels


def build_vector_norm(norm_cfg, channels, **kwargs):
    """A norm layer for N x C tensors; 'BN' means BN1d here."""
    cfg = dict(norm_cfg, **kwargs)
    if cfg['type'] == 'BN':
        cfg['type'] = 'BN1d'
    return build_norm_layer(cfg, channels)[1]


class ProjectionNeck(BaseModule):
    """Pools the last maps of a backbone to vectors and gives them to `project`, which a subclass defines.

    Args:
        with_avg_pool (bool): Average over positions; without it maps are flattened, and vectors stay as they are.
        vit_backbone (bool): The backbone returns (map, class token) pairs, of which the token is taken.
        init_cfg (dict | list[dict], optional): Initialisation.
        in_channels (int, optional): Dimension of the vectors that `project` takes; others are then refused.
    """

    def __init__(self, with_avg_pool=True, vit_backbone=False, init_cfg=None, in_channels=None):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.with_avg_pool = with_avg_pool
        self.vit_backbone = vit_backbone

    def forward(self, x):
        """Features of the last stage (the last of a tuple or list; N x C x H x W or N x C) to [N x D]."""
        if not isinstance(x, (tuple, list)):
            raise TypeError(f'a neck takes the tuple of maps that a backbone returns, got {type(x).__name__}')
        x = x[-1]
        if self.vit_backbone:
            x = x[-1]
        if self.with_avg_pool and x.dim() == 4:
            x = x.mean((2, 3))
        x = x.flatten(1)
        check_channels(x, self.in_channels, self)
        return [self.project(x)]


@NECKS.register_module()
class LinearNeck(ProjectionNeck):
    """One linear layer, as in MoCo v1.

    Args:
        in_channels (int): Channels of the features.
        out_channels (int): Dimension of the projection.
        with_avg_pool (bool): Average over positions first.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self, in_channels, out_channels, with_avg_pool=True, init_cfg=None):
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=in_channels)
        self.fc = nn.Linear(in_channels, out_channels)

    def project(self, x):
        return self.fc(x)


@NECKS.register_module()
class MoCoV2Neck(ProjectionNeck):
    """Two linear layers with a ReLU between them, as in MoCo v2 <https://arxiv.org/abs/2003.04297>.

    Args:
        in_channels (int): Channels of the features.
        hid_channels (int): Hidden dimension.
        out_channels (int): Dimension of the projection.
        with_avg_pool (bool): Average over positions first.
        init_cfg (dict, optional): Initialisation.
    """

    def __init__(self, in_channels, hid_channels, out_channels, with_avg_pool=True, init_cfg=None):
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=in_channels)
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels), nn.ReLU(inplace=True), nn.Linear(hid_channels, out_channels))

    def project(self, x):
        return self.mlp(x)


@NECKS.register_module()
class NonLinearNeck(ProjectionNeck):
    """Linear layers with batch norm and ReLU: the projector and predictor of SimCLR, BYOL, SimSiam and others.

    Layers fc0, bn0, relu, fc1, bn1, relu, ...; no ReLU after the last one.

    Args:
        in_channels (int): Channels of the features.
        hid_channels (int): Hidden dimension.
        out_channels (int): Dimension of the projection.
        num_layers (int): Number of linear layers, at least 2.
        with_bias (bool): Bias in all linear layers but the last.
        with_last_bn (bool): Batch norm after the last layer.
        with_last_bn_affine (bool): Learned scale and shift in that norm.
        with_last_bias (bool): Bias in the last linear layer.
        with_avg_pool (bool): Average over positions first.
        vit_backbone (bool): See ProjectionNeck.
        norm_cfg (dict): Kind of norm.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.

    Raises:
        ValueError: Fewer than two layers.
    """

    def __init__(self,
                 in_channels,
                 hid_channels,
                 out_channels,
                 num_layers=2,
                 with_bias=False,
                 with_last_bn=True,
                 with_last_bn_affine=True,
                 with_last_bias=False,
                 with_avg_pool=True,
                 vit_backbone=False,
                 norm_cfg=dict(type='SyncBN'),
                 init_cfg=[dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]):
        super().__init__(with_avg_pool, vit_backbone, init_cfg, in_channels)
        if num_layers < 2:
            raise ValueError(f'num_layers must be at least 2, got {num_layers!r}; LinearNeck is one layer')
        self.num_layers = num_layers
        self.relu = nn.ReLU(inplace=True)
        last = num_layers - 1
        for i in range(num_layers):
            channels = out_channels if i == last else hid_channels
            bias = with_last_bias if i == last else with_bias
            self.add_module(f'fc{i}', nn.Linear(in_channels, channels, bias=bias))
            if i < last:
                self.add_module(f'bn{i}', build_vector_norm(norm_cfg, channels))
            elif with_last_bn:
                # norms other than batch norm have no such argument, so it is given only where it says something
                affine = {} if with_last_bn_affine else dict(affine=False)
                self.add_module(f'bn{i}', build_vector_norm(norm_cfg, channels, **affine))
            in_channels = channels

    def project(self, x):
        for i in range(self.num_layers):
            if i > 0:
                x = self.relu(x)
            x = getattr(self, f'fc{i}')(x)
            if hasattr(self, f'bn{i}'):
                x = getattr(self, f'bn{i}')(x)
        return x

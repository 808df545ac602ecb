# Copyright (c) mmssl contributors. All rights reserved.
"""Projection heads on pooled features, by their known names, and what they share."""
import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmcv.cnn.bricks.registry import ACTIVATION_LAYERS
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from ..builder import NECKS
from ..losses import unit_vectors
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
        out_channels (int, optional): Dimension of what it gives.
    """

    def __init__(self, with_avg_pool=True, vit_backbone=False, init_cfg=None, in_channels=None, out_channels=None):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.with_avg_pool = with_avg_pool
        self.vit_backbone = vit_backbone

    def forward(self, x):
        """Features of the last stage (the last of a tuple or list; N x C x H x W or N x C) to [N x D].

        A list with such a tuple for each of several resolutions, or towers, gives the projections of all, one behind
        the other.
        """
        if not isinstance(x, (tuple, list)):
            raise TypeError(f'a neck takes the tuple of maps that a backbone returns, got {type(x).__name__}')
        return [self.project(torch.cat([self._vectors(part) for part in self._parts(x)]))]

    def _parts(self, x):
        """The tuple of maps of each resolution; where there is one alone, x is that."""
        inner = x[0][-1] if self.vit_backbone and isinstance(x[0], (tuple, list)) else x[0]
        return x if isinstance(inner, (tuple, list)) else [x]

    def _vectors(self, x):
        """The maps of a backbone to vectors."""
        x = x[-1]
        token = isinstance(x, (tuple, list)) and x[-1].dim() == 2
        if not (token if self.vit_backbone else isinstance(x, torch.Tensor)):
            wanted = 'pairs of a map and a class token' if self.vit_backbone else 'maps'
            raise ConfigError(f'{type(self).__name__} with vit_backbone={self.vit_backbone} takes {wanted}, which the '
                              f'backbone does not give: set vit_backbone={not self.vit_backbone}')
        if self.vit_backbone:
            x = x[-1]
        if self.with_avg_pool and x.dim() == 4:
            x = x.mean((2, 3))
        x = x.flatten(1)
        check_channels(x, self.in_channels, self)
        return x


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
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=in_channels, out_channels=out_channels)
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
        super().__init__(with_avg_pool, init_cfg=init_cfg, in_channels=in_channels, out_channels=out_channels)
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
        super().__init__(with_avg_pool, vit_backbone, init_cfg, in_channels, out_channels)
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


@NECKS.register_module()
class MLPNeck(ProjectionNeck):
    """Linear layers of any number and width, each with norm, activation and dropout behind it where these are set.

    Layer i is fc<i>, bn<i>, activation, dropout. The last layer is fc alone, unless `with_last_norm` or `with_last_act`
    say otherwise; dropout follows the activation. A batch norm takes eps and momentum from `norm_cfg`.

    Args:
        in_channels (int, optional): Channels of the features; None where what stands before the neck tells them.
        channels (list[int]): Width of each layer; the last is the dimension of the projection.
        norm_cfg (dict, optional): Kind of norm behind the layers, such as dict(type='BN'); None for none.
        with_bias (bool): Bias in the linear layers.
        with_last_norm (bool): The norm behind the last layer too.
        with_last_act (bool): The activation, and with it the dropout, behind the last layer too.
        dropout (float): Share of activations that are set to 0 in training.
        act (str, optional): Activation, such as 'ReLU' or 'GELU'; None for none.
        with_avg_pool (bool): Average over positions first; without it maps are flattened.
        with_l2norm (bool): Divide the projections by their lengths.
        vit_backbone (bool): See ProjectionNeck.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.

    Raises:
        ConfigError: No layer, no in_channels, a width below 1, a norm that is asked for and absent, a dropout outside
            0 to 1, or an unknown activation.
    """

    def __init__(self,
                 in_channels=None,
                 channels=[2048, 128],
                 norm_cfg=None,
                 with_bias=True,
                 with_last_norm=False,
                 with_last_act=False,
                 dropout=0.,
                 act='ReLU',
                 with_avg_pool=True,
                 with_l2norm=False,
                 vit_backbone=False,
                 init_cfg=None):
        super().__init__(with_avg_pool, vit_backbone, init_cfg, in_channels)
        if in_channels is None:
            raise ConfigError('MLPNeck: nothing before it tells the width of its input; set in_channels')
        if not channels or min(in_channels, *channels) < 1:
            raise ConfigError(f'MLPNeck: channels are the widths of its layers, such as [2048, 128], got {channels} '
                              f'on in_channels={in_channels}')
        if with_last_norm and norm_cfg is None:
            raise ConfigError("MLPNeck: with_last_norm=True needs a norm_cfg, such as dict(type='BN')")
        if not 0 <= dropout < 1:
            raise ConfigError(f'MLPNeck: dropout must be at least 0 and below 1, got {dropout}')
        if act is not None and act not in ACTIVATION_LAYERS:
            raise ConfigError(f'MLPNeck: unknown activation {act!r}; {nearest(act, ACTIVATION_LAYERS.module_dict)}')
        self.with_l2norm = with_l2norm
        self.out_channels = channels[-1]
        self.num_layers = len(channels)
        self.with_last_act = with_last_act
        self.act = nn.Identity() if act is None else build_activation_layer(dict(type=act))
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()  # which draws nothing
        for i, width in enumerate(channels):
            last = i == len(channels) - 1
            self.add_module(f'fc{i}', nn.Linear(in_channels, width, bias=with_bias))
            if norm_cfg is not None and (with_last_norm or not last):
                self.add_module(f'bn{i}', build_vector_norm(norm_cfg, width))
            in_channels = width

    def project(self, x):
        for i in range(self.num_layers):
            x = getattr(self, f'fc{i}')(x)
            if hasattr(self, f'bn{i}'):
                x = getattr(self, f'bn{i}')(x)
            if i < self.num_layers - 1 or self.with_last_act:
                x = self.drop(self.act(x))
        return unit_vectors(x) if self.with_l2norm else x

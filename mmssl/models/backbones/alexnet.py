# Copyright (c) mmssl contributors. All rights reserved.
"""AlexNet as the first methods of self-supervised learning changed it, one table for all."""
from collections import OrderedDict
from typing import NamedTuple

from mmcv.cnn import build_norm_layer
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from ..builder import BACKBONES
from ..utils.channels import check_image_channels
from ..utils.norm import keep_statistics
from ..utils.sobel import Sobel
from ..utils.stages import check_frozen_stages, stage_numbers


class Variant(NamedTuple):
    """What the variants differ in.

    Attributes:
        channels (tuple[int]): Channels of the five convolutions.
        stride, padding (int): Those of the first one, whose kernel is 11 x 11.
        batch_norms (tuple[int]): Convolutions with a batch norm.
        grouped (tuple[int]): Convolutions of two groups, which AlexNet had on two GPUs.
        local_norm (str | None): Local response norm 'before' or 'after' the first two poolings.
        sees (str): What it sees of the image: 'all', 'lightness' (the first channel, L of Lab) or 'edges'.
    """
    channels: tuple
    stride: int
    padding: int
    batch_norms: tuple
    grouped: tuple
    local_norm: str
    sees: str = 'all'


_WIDE = (96, 256, 384, 384, 256)
_ALL = (1, 2, 3, 4, 5)


@BACKBONES.register_module()
class AlexNet(BaseModule):
    """AlexNet <https://papers.nips.cc/paper/4824> in the variants of its self-supervised descendants.

    Args:
        variant (str): 'bvlc' (Caffe's, of supervised training), 'colorization' <https://arxiv.org/abs/1603.08511>,
            'deepcluster' <https://arxiv.org/abs/1807.05520>, 'jigsaw' <https://arxiv.org/abs/1603.09246> or 'rotnet'
            <https://arxiv.org/abs/1803.07728>, all as VISSL has them; see `variants`.
        in_channels (int, optional): Channels of the image, by default 3. 'colorization' sees the first of them alone,
            which must be L of Lab; 'deepcluster' sees edges of their mean.
        sobel (bool): Whether 'deepcluster' finds the edges itself. With False it takes them, 2 channels by default, as
            algorithms with `with_sobel=True` give them.
        out_indices (Sequence[int | str]): Maps to return, in this order: 0 conv1 (behind its ReLU), 1 pool1, 2 conv2,
            3 pool2, 4 conv3, 5 conv4, 6 conv5, 7 pool5, 8 flatten (pool5 as a vector), or these names. Those behind the
            last of them are not run.
        frozen_stages (int): The stages up to this one get no gradient, and their norms stay in evaluation mode; -1
            freezes nothing.
        norm_cfg (dict): Kind of the batch norms, in the variants that have some.
        norm_eval (bool): Keep all batch norms in evaluation mode.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.

    Raises:
        ConfigError: An unknown variant, or stages that are not there.
    """
    variants = dict(
        bvlc=Variant(_WIDE, 4, 0, (), (2, 4, 5), 'before'),
        colorization=Variant(_WIDE, 4, 0, _ALL, (2, 4, 5), None, 'lightness'),
        deepcluster=Variant(_WIDE, 4, 2, _ALL, (), None, 'edges'),
        jigsaw=Variant(_WIDE, 2, 0, (3, 4, 5), (2, 4, 5), 'after'),
        rotnet=Variant((64, 192, 384, 256, 256), 4, 2, _ALL, (), None))
    stage_names = ('conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'conv4', 'conv5', 'pool5', 'flatten')
    num_stages = len(stage_names)

    def __init__(self,
                 variant='bvlc',
                 in_channels=None,
                 sobel=True,
                 out_indices=(7, ),
                 frozen_stages=-1,
                 norm_cfg=dict(type='BN'),
                 norm_eval=False,
                 init_cfg=[dict(type='Kaiming', layer=['Conv2d']),
                           dict(type='Constant', val=1, layer=['_BatchNorm'])]):
        super().__init__(init_cfg)
        if variant not in self.variants:
            raise ConfigError(f'AlexNet has no variant {variant!r}; {nearest(variant, self.variants)}')
        facts = self.variants[variant]
        check_frozen_stages(frozen_stages, self.num_stages - 1)
        self.variant, self.sees = variant, facts.sees
        self.sobel = Sobel() if facts.sees == 'edges' and sobel else None
        self.in_channels = in_channels or (2 if facts.sees == 'edges' and not sobel else 3)
        self.out_indices = stage_numbers(out_indices, self.stage_names)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval

        channels = 2 if self.sobel else 1 if facts.sees == 'lightness' else self.in_channels
        for i, width in enumerate(facts.channels, 1):
            kernel = (11, 5, 3, 3, 3)[i - 1]
            step = dict(stride=facts.stride, padding=facts.padding) if i == 1 else dict(padding=kernel // 2)
            layers = dict(conv=nn.Conv2d(channels, width, kernel, groups=2 if i in facts.grouped else 1, **step))
            if i in facts.batch_norms:
                layers['bn'] = build_norm_layer(norm_cfg, width)[1]
            self.add_module(f'conv{i}', nn.Sequential(OrderedDict(layers, relu=nn.ReLU(inplace=True))))
            channels = width
            if i in (1, 2, 5):
                pool = [nn.MaxPool2d(kernel_size=3, stride=2)]
                if facts.local_norm and i < 5:
                    place = 0 if facts.local_norm == 'before' else 1
                    pool.insert(place, nn.LocalResponseNorm(5, alpha=1e-4, beta=.75))
                self.add_module(f'pool{i}', nn.Sequential(*pool))
        self.flatten = nn.Flatten()
        self._freeze_stages()

    @property
    def out_channels(self):
        """list[int]: Channels of the maps that are returned; None for flatten, whose length the image decides."""
        widths = self.variants[self.variant].channels
        places = [None if name == 'flatten' else int(name[-1]) - 1 for name in self.stage_names]
        return [None if places[i] is None else widths[places[i]] for i in self.out_indices]

    def _freeze_stages(self):
        for name in self.stage_names[:self.frozen_stages + 1]:
            getattr(self, name).eval().requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            keep_statistics(self)
        return self

    def forward(self, x):
        """Maps of the stages in `out_indices`, in that order (tuple of N x C x H x W, flatten N x D)."""
        check_image_channels(x.shape[1], self.in_channels)
        if self.sobel is not None:
            x = self.sobel(x)
        elif self.sees == 'lightness':
            x = x[:, :1]
        outs = {}
        for i, name in enumerate(self.stage_names[:max(self.out_indices) + 1]):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs[i] = x
        return tuple(outs[i] for i in self.out_indices)

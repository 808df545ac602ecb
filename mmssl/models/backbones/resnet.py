# Copyright (c) mmssl contributors. All rights reserved.
"""ResNet <https://arxiv.org/abs/1512.03385> with the variants that self-supervised learning uses."""
from mmcv.cnn import ConvModule, build_conv_layer, build_norm_layer, constant_init
from mmcv.cnn.bricks import DropPath
from mmcv.runner import BaseModule
from torch import nn

from ..builder import BACKBONES
from ..utils.channels import check_image_channels
from ..utils.norm import keep_statistics
from ..utils.recompute import recompute
from ..utils.stages import check_frozen_stages, check_stages


class _Block(BaseModule):
    """What the residual blocks share: layers are (convolution, norm) pairs, with an activation between them.

    Args:
        in_channels (int): Channels of the input.
        layers (list[dict]): Arguments of each convolution, from the first to the last.
        downsample (nn.Module, optional): Brings the input to the shape of the output.
        conv_cfg, norm_cfg (dict): Kinds of convolution and norm.
        with_cp (bool): Recompute the block in the backward pass instead of keeping its activations.
        drop_path_rate (float): Probability that a sample skips the block's residual branch.
    """

    def __init__(self, in_channels, layers, downsample, conv_cfg, norm_cfg, with_cp, drop_path_rate):
        super().__init__()
        self.norm_names = []
        for i, layer in enumerate(layers, 1):
            self.add_module(f'conv{i}', build_conv_layer(conv_cfg, in_channels, bias=False, **layer))
            in_channels = layer['out_channels']
            name, norm = build_norm_layer(norm_cfg, in_channels, postfix=i)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.with_cp = with_cp
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    @property
    def last_norm(self):
        return getattr(self, self.norm_names[-1])

    def _residual(self, x):
        out = x
        for i, name in enumerate(self.norm_names, 1):
            out = getattr(self, name)(getattr(self, f'conv{i}')(out))
            if i < len(self.norm_names):
                out = self.relu(out)
        out = self.drop_path(out)
        out += x if self.downsample is None else self.downsample(x)
        return out

    def forward(self, x):
        if self.with_cp and x.requires_grad:
            return self.relu(recompute(self, self._residual, x))
        return self.relu(self._residual(x))


class BasicBlock(_Block):
    """Two 3x3 convolutions."""
    expansion = 1

    def __init__(self, in_channels, out_channels, mid_channels, stride, dilation, style, groups, **kwargs):
        if groups != 1:
            raise ValueError(f'the blocks of ResNets of depth 10, 18 and 34 have no groups, got groups={groups!r}')
        super().__init__(in_channels, [
            dict(out_channels=mid_channels, kernel_size=3, stride=stride, padding=dilation, dilation=dilation),
            dict(out_channels=out_channels, kernel_size=3, padding=1)
        ], **kwargs)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions; the stride is at the 3x3 (style 'pytorch') or the first 1x1 (style 'caffe')."""
    expansion = 4

    def __init__(self, in_channels, out_channels, mid_channels, stride, dilation, style, groups, **kwargs):
        strides = (1, stride) if style == 'pytorch' else (stride, 1)
        super().__init__(in_channels, [
            dict(out_channels=mid_channels, kernel_size=1, stride=strides[0]),
            dict(
                out_channels=mid_channels,
                kernel_size=3,
                stride=strides[1],
                padding=dilation,
                dilation=dilation,
                groups=groups),
            dict(out_channels=out_channels, kernel_size=1)
        ], **kwargs)


@BACKBONES.register_module()
class ResNet(BaseModule):
    """ResNet. Its state-dict keys are torchvision's, without the classifier.

    Args:
        depth (int): 10, 18, 34, 50, 101, 152 or 200.
        in_channels (int): Channels of the image.
        stem_channels (int): Channels after the stem.
        base_channels (int): Channels inside the blocks of the first stage; doubled from stage to stage.
        width_multiplier (int): Multiplies the channels of the stem and of every stage, inside the blocks and behind
            them, as in SimCLR, BYOL and VISSL ("R50 w2"): a ResNet-50 of 2 gives 4096 channels. torchvision's
            wide_resnet is another network, whose blocks alone are wider inside.
        expansion (int, optional): Channels after a block over those inside; by default 4 for bottlenecks, else 1.
        num_stages (int): Number of stages, 1 to 4.
        strides (Sequence[int]): Stride of the first block of each stage.
        dilations (Sequence[int]): Dilation of the 3x3 convolutions of each stage.
        out_indices (Sequence[int]): Maps to return, in this order: 0 is the stem (before the max pool), i is stage i.
            Stages after the last of them are built, so that checkpoints fit, but not run.
        style (str): Where bottlenecks have their stride: 'pytorch' at the 3x3 convolution, 'caffe' at the first 1x1.
        deep_stem (bool): Three 3x3 convolutions instead of one 7x7.
        avg_down (bool): Shortcuts downsample by average pooling instead of a strided convolution.
        frozen_stages (int): The stem (0) and the stages up to this one get no gradient, and their norms stay in
            evaluation mode; -1 freezes nothing.
        conv_cfg (dict, optional): Kind of convolution.
        norm_cfg (dict): Kind of norm.
        norm_eval (bool): Keep all batch norms in evaluation mode.
        with_cp (bool): Save memory by recomputing the blocks in the backward pass.
        zero_init_residual (bool): Start with blocks that pass their input on: the last norm of each begins at 0.
        init_cfg (dict | list[dict] | None): Initialisation; None keeps that of PyTorch.
        drop_path_rate (float): Probability that a sample skips a block's residual branch.

    Raises:
        ValueError: An argument is none of those named here.
        ConfigError: Stages that are not there.
    """
    arch_settings = {
        10: (BasicBlock, (1, 1, 1, 1)),
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
        200: (Bottleneck, (3, 24, 36, 3)),
    }

    def __init__(self,
                 depth,
                 in_channels=3,
                 stem_channels=64,
                 base_channels=64,
                 expansion=None,
                 num_stages=4,
                 strides=(1, 2, 2, 2),
                 dilations=(1, 1, 1, 1),
                 out_indices=(4, ),
                 style='pytorch',
                 deep_stem=False,
                 avg_down=False,
                 frozen_stages=-1,
                 conv_cfg=None,
                 norm_cfg=dict(type='BN', requires_grad=True),
                 norm_eval=False,
                 with_cp=False,
                 zero_init_residual=False,
                 init_cfg=[
                     dict(type='Kaiming', layer=['Conv2d']),
                     dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
                 ],
                 drop_path_rate=0.0,
                 width_multiplier=1):
        super().__init__(init_cfg)
        if depth not in self.arch_settings:
            raise ValueError(f'depth must be one of {list(self.arch_settings)}, got {depth!r}')
        if not 1 <= num_stages <= 4 or len(strides) != num_stages or len(dilations) != num_stages:
            raise ValueError('num_stages must be 1 to 4, with a stride and a dilation for each stage; got '
                             f'num_stages={num_stages!r}, strides={strides!r}, dilations={dilations!r}')
        check_stages(out_indices, 0, num_stages, note=' (0 is the stem)')
        check_frozen_stages(frozen_stages, num_stages)
        if width_multiplier < 1:
            raise ValueError(f'width_multiplier must be 1, 2, ..., got {width_multiplier!r}')
        if style not in ('pytorch', 'caffe'):
            raise ValueError(f"style must be 'pytorch' or 'caffe', got {style!r}")
        self.in_channels = in_channels
        self.block, stage_blocks = self.arch_settings[depth]
        self.expansion = expansion or self.block.expansion
        self.base_channels = base_channels
        self.width_multiplier = width_multiplier
        self.out_indices = out_indices
        self.style = style
        self.deep_stem = deep_stem
        self.avg_down = avg_down
        self.frozen_stages = frozen_stages
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.zero_init_residual = zero_init_residual
        self.drop_path_rate = drop_path_rate

        channels = stem_channels * width_multiplier
        self._make_stem(in_channels, channels)
        self.stage_channels = [channels]
        self.res_layers = []
        for i, num_blocks in enumerate(stage_blocks[:num_stages]):
            mid_channels = base_channels * width_multiplier * 2**i
            layer = self.make_res_layer(
                num_blocks=num_blocks,
                in_channels=channels,
                out_channels=mid_channels * self.expansion,
                mid_channels=mid_channels,
                stride=strides[i],
                dilation=dilations[i])
            channels = mid_channels * self.expansion
            self.stage_channels.append(channels)
            self.add_module(f'layer{i + 1}', layer)
            self.res_layers.append(f'layer{i + 1}')
        self.feat_dim = channels
        self._freeze_stages()

    @property
    def out_channels(self):
        """list[int]: Channels of each map that is returned."""
        return [self.stage_channels[i] for i in self.out_indices]

    @property
    def norm1(self):
        return getattr(self, self.norm1_name)

    def _make_stem(self, in_channels, channels):
        if self.deep_stem:
            widths = (in_channels, channels // 2, channels // 2, channels)
            self.stem = nn.Sequential(*[
                ConvModule(
                    widths[i],
                    widths[i + 1],
                    3,
                    stride=2 if i == 0 else 1,
                    padding=1,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg) for i in range(3)
            ])
        else:
            self._make_conv1(in_channels, channels, kernel_size=7, stride=2, padding=3)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def _make_conv1(self, in_channels, channels, **kernel):
        self.conv1 = build_conv_layer(self.conv_cfg, in_channels, channels, bias=False, **kernel)
        self.norm1_name, norm1 = build_norm_layer(self.norm_cfg, channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)

    def make_res_layer(self, num_blocks, in_channels, out_channels, mid_channels, stride, dilation, groups=1):
        """The blocks of one stage."""
        blocks = []
        for i in range(num_blocks):
            first = i == 0
            changes = first and (stride != 1 or in_channels != out_channels)
            blocks.append(
                self.block(
                    in_channels if first else out_channels,
                    out_channels,
                    mid_channels,
                    stride=stride if first else 1,
                    dilation=dilation,
                    style=self.style,
                    groups=groups,
                    downsample=self._make_shortcut(in_channels, out_channels, stride) if changes else None,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    with_cp=self.with_cp,
                    drop_path_rate=self.drop_path_rate))
        return nn.Sequential(*blocks)

    def _make_shortcut(self, in_channels, out_channels, stride):
        layers = []
        if self.avg_down and stride != 1:
            layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
            stride = 1
        layers.append(build_conv_layer(self.conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False))
        layers.append(build_norm_layer(self.norm_cfg, out_channels)[1])
        return nn.Sequential(*layers)

    def _freeze_stages(self):
        frozen = [getattr(self, f'layer{i}') for i in range(1, self.frozen_stages + 1)]
        if self.frozen_stages >= 0:
            frozen += [self.stem] if self.deep_stem else [self.conv1, self.norm1]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def init_weights(self):
        super().init_weights()
        pretrained = isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'
        if self.zero_init_residual and not pretrained:
            for module in self.modules():
                if isinstance(module, _Block):
                    constant_init(module.last_norm, 0)

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            keep_statistics(self)
        return self

    def _stem(self, x):
        return self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))

    def forward(self, x):
        """Maps of the stages in `out_indices`, in that order (tuple of N x C x H x W)."""
        check_image_channels(x.shape[1], self.in_channels)
        x = self._stem(x)
        outs = {0: x} if 0 in self.out_indices else {}
        for i, name in enumerate(self.res_layers[:max(self.out_indices)], 1):
            x = getattr(self, name)(self.maxpool(x) if i == 1 else x)
            if i in self.out_indices:
                outs[i] = x
        return tuple(outs[i] for i in self.out_indices)


@BACKBONES.register_module()
class ResNetV1d(ResNet):
    """ResNet with a deep stem and average-pooled shortcuts <https://arxiv.org/abs/1812.01187>.

    Args:
        kwargs: Those of ResNet, but for deep_stem and avg_down.
    """

    def __init__(self, **kwargs):
        super().__init__(deep_stem=True, avg_down=True, **kwargs)


@BACKBONES.register_module()
class ResNet_CIFAR(ResNet):
    """ResNet for images of about 32 px: a 3x3 stem of stride 1 and no max pool.

    Args:
        depth (int): See ResNet.
        kwargs: Those of ResNet, but for deep_stem.
    """

    def __init__(self, depth, **kwargs):
        super().__init__(depth, deep_stem=False, **kwargs)

    def _make_stem(self, in_channels, channels):
        self._make_conv1(in_channels, channels, kernel_size=3, stride=1, padding=1)
        self.maxpool = nn.Identity()

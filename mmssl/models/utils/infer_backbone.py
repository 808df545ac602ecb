# Copyright (c) mmssl contributors. All rights reserved.
"""The config of a backbone from its weights."""
import math
import re

from mmssl.utils.checkpoint import CheckpointError


def infer_backbone(weights, num_heads=None, size=None):
    """The config of the backbone that a set of weights is for, as far as names and shapes tell.

    They do not tell strides, the style of bottlenecks, constants of norms, nor heads of a ViT.

    Args:
        weights (dict[str, Tensor]): By our names, without 'backbone.'.
        num_heads (int, optional): Heads of a ViT; by default one for each 64 channels, and 16 for the 1280 of ViT-H.
        size (tuple[int], optional): Height and width of the images in pixels. Those of a ViT must be as many patches as
            it has positions; without it they are square.

    Returns:
        dict: For build_backbone: an AlexNet, RegNet, ResNet, ResNeXt, VisionTransformer, MIMVisionTransformer
        or SwinTransformer.

    Raises:
        CheckpointError: They are of no such network.
    """
    try:
        if 'conv5.conv.weight' in weights:
            return _alexnet(weights)
        if 'timm_model.s1.b1.conv1.conv.weight' in weights:
            return _regnet(weights)
        if 'layer1.0.conv1.weight' in weights:
            return _resnet(weights)
        if 'layers.0.ln1.weight' in weights:
            return _vit(weights, num_heads, size)
        if 'stages.0.blocks.0.norm1.weight' in weights:
            return _swin(weights, size)
    except KeyError as error:
        raise CheckpointError(f'the weights lack {error.args[0]}, which every network of this kind has') from error
    except StopIteration:
        raise CheckpointError('no ResNet has as many blocks in each stage: '
                              f'{_counts(weights, "layer{}")}') from None
    raise CheckpointError(
        f'no AlexNet, RegNet, ResNet, ViT or Swin has weights named {", ".join(list(weights)[:3])}, ...')


def _count(weights, pattern):
    """1 + the largest number in the names that fit a pattern."""
    return 1 + max(int(m[1]) for m in map(re.compile(pattern).match, weights) if m)


def _counts(weights, name):
    """How many blocks each stage has, for stages counted from 1 (layer{}) or 0 (stages.{}.blocks)."""
    counts, stage = [], int('layer' in name)
    while any(key.startswith(name.format(stage) + '.') for key in weights):
        counts.append(_count(weights, re.escape(name.format(stage)) + r'\.(\d+)\.'))
        stage += 1
    return tuple(counts)


def _resnet(weights):
    from ..backbones import ResNet
    blocks = _counts(weights, 'layer{}')
    bottleneck = 'layer1.0.conv3.weight' in weights
    depth = next(depth for depth, (block, stages) in ResNet.arch_settings.items()
                 if stages[:len(blocks)] == blocks and (block.__name__ == 'Bottleneck') == bottleneck)
    deep_stem = 'stem.0.conv.weight' in weights
    first = weights['stem.0.conv.weight' if deep_stem else 'conv1.weight']
    stem_channels = weights['stem.2.conv.weight' if deep_stem else 'conv1.weight'].shape[0]
    grouped = weights['layer1.0.conv2.weight']
    width = grouped.shape[0]  # inside a block
    base = weights['layer1.0.conv3.weight'].shape[0] // 4 if bottleneck else width
    groups = width // grouped.shape[1] if bottleneck else 1
    cfg = dict(type='ResNet', depth=depth, in_channels=first.shape[1])
    if groups > 1 or width != base:  # with one group it is a wide ResNet
        cfg.update(type='ResNeXt', groups=groups, width_per_group=width // groups)
    elif not deep_stem and first.shape[-1] == 3:
        cfg.update(type='ResNet_CIFAR')
    if (stem_channels, base) != (64, 64):
        cfg.update(stem_channels=stem_channels, base_channels=base)
    if deep_stem:
        cfg.update(deep_stem=True)
    if 'layer2.0.downsample.2.weight' in weights:
        cfg.update(avg_down=True)
    if len(blocks) < 4:
        cfg.update(num_stages=len(blocks), strides=(1, 2, 2, 2)[:len(blocks)], dilations=(1, ) * len(blocks))
    return dict(cfg, out_indices=(len(blocks), ))


def _alexnet(weights):
    from ..backbones import AlexNet
    first = weights['conv1.conv.weight']
    found = (tuple(weights[f'conv{i}.conv.weight'].shape[0]
                   for i in range(1, 6)), tuple(i for i in range(1, 6) if f'conv{i}.bn.weight' in weights),
             tuple(
                 i for i in range(2, 6)
                 if weights[f'conv{i}.conv.weight'].shape[1] < weights[f'conv{i - 1}.conv.weight'].shape[0]))
    variant = next(
        (name
         for name, facts in AlexNet.variants.items() if (facts.channels, facts.batch_norms, facts.grouped) == found),
        None)
    if variant is None:
        raise CheckpointError('no AlexNet has these channels, convolutions with batch norm, and grouped ones: '
                              f'{", ".join(map(str, found))}')
    cfg = dict(type='AlexNet', variant=variant, in_channels=3)
    if variant == 'deepcluster' and first.shape[1] != 2:
        cfg.update(sobel=False)
    if first.shape[1] != (1 if variant == 'colorization' else 2):
        cfg.update(in_channels=first.shape[1])
    return dict(cfg, out_indices=(7, ))


def _regnet(weights):
    from timm.models.regnet import model_cfgs

    from ..backbones import RegNet
    name = 'timm_model.s{}'
    grouped = [weights[f'timm_model.s{i}.b1.conv2.conv.weight'] for i in (1, 2, 3, 4)]
    stages = [(len(weight), weight.shape[1], _count(weights, rf'{name.format(i)}\.b(\d+)\.') - 1)
              for i, weight in enumerate(grouped, 1)]
    stem = weights['timm_model.stem.conv.weight']
    # parameters that weights do not tell: those of a published network of the same stages
    known = {arch: RegNet.arch_of(arch) for arch in RegNet.arch_zoo}
    for cfg in model_cfgs.values():
        if not cfg.preact and cfg.bottle_ratio == 1:
            arch = dict(depth=cfg.depth, w_0=cfg.w0, w_a=cfg.wa, w_m=cfg.wm, group_width=cfg.group_size)
            known[tuple(arch.items())] = arch
    arch = next((arch for arch, facts in known.items() if RegNet.stages_of(**facts) == stages), None)
    if arch is None:
        raise CheckpointError('no published RegNet has stages of these widths, group widths and blocks: '
                              f'{", ".join(map(str, stages))}')
    return dict(
        type='RegNet',
        arch=arch if isinstance(arch, str) else dict(arch),
        se_ratio=.25 if 'timm_model.s1.b1.se.fc1.weight' in weights else 0.,
        in_channels=stem.shape[1],
        stem_channels=len(stem),
        out_indices=(4, ))


def _vit(weights, num_heads, size):
    patches = weights['patch_embed.projection.weight']
    dims, patch = patches.shape[0], patches.shape[-1]
    token = 'cls_token' in weights
    positions = weights['pos_embed'].shape[1] - token
    words = f'pos_embed is for {positions} patches' + ' and a class token' * token
    if size is None:
        side = math.isqrt(positions)
        if side**2 != positions:
            raise CheckpointError(f'{words}, which are no square: give height and width of the images (--size H W)')
        size = (side * patch, side * patch)
    elif any(length % patch for length in size) or math.prod(size) != positions * patch**2:
        raise CheckpointError(f'{words} of {patch} x {patch} pixels; images of {size[0]} x {size[1]} have others')
    num_heads = num_heads or (16 if dims == 1280 else max(1, dims // 64))
    gated = 'layers.0.ffn.w3.weight' in weights
    cfg = dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=dims,
            num_layers=_count(weights, r'layers\.(\d+)\.'),
            num_heads=num_heads,
            feedforward_channels=_mlp_of(dims, weights['layers.0.ffn.w3.weight'].shape[1])
            if gated else weights['layers.0.ffn.layers.0.0.weight'].shape[0]),
        img_size=size[0] if size[0] == size[1] else tuple(size),
        patch_size=patch,
        in_channels=patches.shape[1])
    if not token:
        cfg.update(with_cls_token=False)
    if 'register_tokens' in weights:
        cfg.update(num_registers=weights['register_tokens'].shape[1])
    if 'mask_token' in weights:
        cfg.update(with_mask_token=True)
    if gated:
        cfg.update(ffn='swiglu')
    if 'layers.0.gamma_1' in weights:
        cfg.update(init_values=1.)
    if 'layers.0.attn.qkv.bias' not in weights:
        cfg.update(qkv_bias=False)
    if 'fc_norm.weight' in weights:
        cfg.update(type='MIMVisionTransformer', final_norm=False)
    elif 'ln1.weight' not in weights:
        cfg.update(final_norm=False)
    return cfg


def _mlp_of(dims, hidden):
    """The hidden dimension of the MLP in whose place a gated one of this hidden dimension stands; see SwiGLUFFN."""
    if hidden % 8:
        raise CheckpointError(f'gated MLPs here have a hidden dimension that is a multiple of 8, not {hidden}')
    usual = 4 * dims
    return usual if -(-(usual * 2 // 3) // 8) * 8 == hidden else hidden * 3 // 2


def _swin(weights, size):
    depths = _counts(weights, 'stages.{}.blocks')
    tables = [weights[f'stages.{i}.blocks.0.attn.w_msa.relative_position_bias_table'] for i in range(len(depths))]
    patches = weights['patch_embed.projection.weight']
    window = (math.isqrt(tables[0].shape[0]) + 1) // 2
    side = patches.shape[-1] * 8 * window  # such as 224 for windows of 7 and patches of 4
    size = size or (side, side)
    return dict(
        type='SwinTransformer',
        arch=dict(embed_dims=patches.shape[0], depths=list(depths), num_heads=[t.shape[1] for t in tables]),
        stage_cfgs=dict(block_cfgs=dict(window_size=window)),
        img_size=size[0] if size[0] == size[1] else tuple(size),
        patch_size=patches.shape[-1],
        in_channels=patches.shape[1],
        out_indices=(len(depths) - 1, ))

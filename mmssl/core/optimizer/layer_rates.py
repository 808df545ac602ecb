# Copyright (c) mmssl contributors. All rights reserved.
"""Learning rates that fall from the last layer of a transformer to its patch embedding."""
import math

from mmssl.utils.errors import ConfigError

# what stands before the first block, of ours, mmcls's and timm's transformers
_INPUT = ('cls_token', 'mask_token', 'register_tokens', 'reg_token', 'pos_embed', 'absolute_pos_embed', 'patch_embed')


def vit_depths(backbone):
    """Depth of each block of a ViT (ours, mmcls's, or timm's in its wrapper), by the beginning of parameter names."""
    name, blocks = 'layers', getattr(backbone, 'layers', None)
    if blocks is None:
        name, blocks = 'timm_model.blocks', getattr(getattr(backbone, 'timm_model', None), 'blocks', None)
    return {f'{name}.{i}.': i + 1 for i in range(len(blocks))} if blocks is not None else {}


def swin_depths(backbone):
    """Depth of each block of a Swin transformer, and of the patch merging behind a stage, as above."""
    depths, depth = {}, 0
    for stage, blocks in enumerate(getattr(backbone, 'stages', ())):
        for block in range(len(getattr(blocks, 'blocks', ()))):
            depth += 1
            depths[f'stages.{stage}.blocks.{block}.'] = depth
        depths[f'stages.{stage}.downsample.'] = depth
    return depths


MODEL_TYPES = dict(vit=vit_depths, swin=swin_depths)


def layer_factors(model, layer_decay_rate=1., patch_embed_mult=1., model_type=None):
    """By what the learning rate of each parameter is multiplied.

    With L blocks in `model.backbone`, a parameter at depth d has layer_decay_rate ** (L + 1 - d), as in BEiT
    (https://arxiv.org/abs/2106.08254). Depth 0 are class, mask and register tokens, position and patch embedding, depth
    i + 1 is block i; in a Swin transformer the blocks of all stages are counted through, and the patch merging behind a
    stage has the depth of its last block. All other parameters, such as the last norm, necks and heads, are at depth
    L + 1. The patch embedding has `patch_embed_mult` besides, as in DINOv2 (https://arxiv.org/abs/2304.07193).

    Args:
        model (nn.Module): The model.
        layer_decay_rate (float): Above 0 and at most 1.
        patch_embed_mult (float): At least 0.
        model_type (str, optional): 'vit' or 'swin'; by default what the backbone is.

    Returns:
        dict[str, float]: By name of parameter.

    Raises:
        ConfigError: A number outside its range, or a backbone without such layers.
    """
    if not (is_number(layer_decay_rate) and 0 < layer_decay_rate <= 1):
        raise ConfigError(f'layer_decay_rate is a number above 0 and at most 1, got {layer_decay_rate!r}')
    if not (is_number(patch_embed_mult) and patch_embed_mult >= 0):
        raise ConfigError(f'patch_embed_mult is a number from 0 on, got {patch_embed_mult!r}')
    backbone = getattr(model, 'backbone', None)
    depths = {}
    for kind in (model_type, ) if model_type else MODEL_TYPES:
        depths = depths or MODEL_TYPES[kind](backbone)
    if not depths:
        told = f'model_type={model_type!r} does' if model_type else 'layer_decay_rate and patch_embed_mult do'
        raise ConfigError(f'{told} not fit a model of type {type(model).__name__} with the backbone '
                          f'{type(backbone).__name__}, which has no such blocks')
    last = max(depths.values()) + 1
    depths = {**{f'{prefix}{name}': 0 for prefix in ('', 'timm_model.') for name in _INPUT}, **depths}
    factors = {}
    for name, _ in model.named_parameters():
        depth = next((d for start, d in depths.items() if name.startswith(f'backbone.{start}')), last)
        factors[name] = layer_decay_rate**(last - depth)
        if name.startswith(('backbone.patch_embed.', 'backbone.timm_model.patch_embed.')):
            factors[name] *= patch_embed_mult
    return factors


def is_number(value):
    """Whether a value is a finite number and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

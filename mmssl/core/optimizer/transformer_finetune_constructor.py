# Copyright (c) mmssl contributors. All rights reserved.
"""Learning rates that fall from the head of a transformer to its patch embedding."""
from mmssl.utils.errors import ConfigError, nearest
from ..builder import OPTIMIZER_BUILDERS
from .builder import DefaultOptimizerConstructor

# what stands before the first block
_INPUT = ('cls_token', 'mask_token', 'pos_embed', 'absolute_pos_embed', 'patch_embed')


def _vit_depths(backbone):
    """Depth of each block of a ViT (ours, mmcls's, or timm's in its wrapper), by the beginning of parameter names."""
    name, blocks = 'layers', getattr(backbone, 'layers', None)
    if blocks is None:
        name, blocks = 'timm_model.blocks', getattr(getattr(backbone, 'timm_model', None), 'blocks', None)
    return {f'{name}.{i}.': i + 1 for i in range(len(blocks))} if blocks is not None else {}


def _swin_depths(backbone):
    """Depth of each block of a Swin transformer, and of the patch merging behind a stage, as above."""
    depths, depth = {}, 0
    for stage, blocks in enumerate(getattr(backbone, 'stages', ())):
        for block in range(len(getattr(blocks, 'blocks', ()))):
            depth += 1
            depths[f'stages.{stage}.blocks.{block}.'] = depth
        depths[f'stages.{stage}.downsample.'] = depth
    return depths


_MODEL_TYPES = dict(vit=_vit_depths, swin=_swin_depths)


@OPTIMIZER_BUILDERS.register_module()
class TransformerFinetuneConstructor(DefaultOptimizerConstructor):
    """Build an optimizer for the fine-tuning of a transformer, with rates that decay from layer to layer.

    With L blocks in the backbone, a parameter at depth d gets the rate `lr * layer_decay ** (L + 1 - d)`, as in BEiT
    (https://arxiv.org/abs/2106.08254). Depth 0 are class token, mask token, position and patch embedding, depth i + 1
    is block i; in a Swin transformer the blocks of all stages are counted through, and the patch merging behind a stage
    has the depth of its last block. All other parameters, such as the last norm and the head, are at depth L + 1.

    Args:
        optimizer_cfg (dict): `type`, `lr` and the other arguments of the optimizer; `model_type`, 'vit' or 'swin'; and
            `layer_decay`, above 0 and at most 1, where 0 is for none.
        paramwise_cfg (dict, optional): Options as of DefaultOptimizerConstructor. A rate that is set there (lr,
            lr_mult) decays too.

    Raises:
        ConfigError: Another `model_type` or `layer_decay`, no `lr`, or a model whose backbone has no such blocks.
    """

    def __init__(self, optimizer_cfg, paramwise_cfg=None):
        cfg = dict(optimizer_cfg)
        self.model_type, self.layer_decay = cfg.pop('model_type', None), cfg.pop('layer_decay', 0.)
        if not 0 <= self.layer_decay <= 1:
            raise ConfigError(f'layer_decay is above 0 and at most 1, or 0 for none, got {self.layer_decay!r}')
        if self.layer_decay and self.model_type not in _MODEL_TYPES:
            raise ConfigError(f"layer_decay needs model_type='vit' or 'swin', got {self.model_type!r}; "
                              f'{nearest(self.model_type, _MODEL_TYPES)}')
        if self.layer_decay and cfg.get('lr') is None:
            raise ConfigError('layer_decay needs the base rate `lr` in the config of the optimizer')
        super().__init__(cfg, paramwise_cfg)

    def options(self, model, cfg, known):
        if not self.layer_decay:
            yield from super().options(model, cfg, known)
            return
        backbone = getattr(model, 'backbone', None)
        depths = _MODEL_TYPES[self.model_type](backbone)
        if not depths:
            raise ConfigError(
                f'model_type={self.model_type!r} does not fit a model of type {type(model).__name__} with '
                f'the backbone {type(backbone).__name__}, which has no such blocks')
        last = max(depths.values()) + 1
        depths = {**{f'{prefix}{name}': 0 for prefix in ('', 'timm_model.') for name in _INPUT}, **depths}
        for name, parameter, own in super().options(model, cfg, known):
            depth = next((d for start, d in depths.items() if name.startswith(f'backbone.{start}')), last)
            yield name, parameter, {**own, 'lr': own.get('lr', cfg['lr']) * self.layer_decay**(last - depth)}

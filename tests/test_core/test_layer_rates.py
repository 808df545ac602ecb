"""Rates by layer and decay by shape in pre-trainings: tables written by hand, published code, schedules, errors."""
import warnings

import pytest
import torch
from torch import nn

from mmssl.core import build_optimizer
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

VIT = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
    init_values=1e-5)
DINO = dict(
    type='DINO',
    neck=dict(type='DINONeck', channels=[32, 8], out_channels=12, vit_backbone=True),
    head=dict(type='DINOHead'))
SWIN = dict(
    type='SimMIM',
    backbone=dict(
        type='SimMIMSwinTransformer',
        arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        out_indices=(1, ),
        stage_cfgs=dict(block_cfgs=dict(window_size=4))),
    neck=dict(type='SimMIMNeck', in_channels=16, encoder_stride=8),
    head=dict(type='SimMIMHead', patch_size=4, encoder_in_channels=3))
ADAMW = dict(type='AdamW', lr=2., weight_decay=0.04)


def options_of(model, **changes):
    """The group of each parameter, by name."""
    optimizer = build_optimizer(model, {**ADAMW, **changes})
    return {name: group for group in optimizer.param_groups for name in group['names']}


def dino(**backbone):
    return build_algorithm(dict(DINO, backbone=backbone or dict(VIT, type='DINOViT')))


def published(name, layers, decay, patch_embed):
    """The factor that DINOv2's published code gives to a parameter of the backbone."""
    if any(part in name for part in ('pos_embed', 'patch_embed', 'mask_token', 'cls_token', 'register_tokens')):
        depth = 0
    elif 'layers.' in name:
        depth = int(name.split('layers.')[1].split('.')[0]) + 1
    else:
        depth = layers + 1
    return decay**(layers + 1 - depth) * (patch_embed if 'patch_embed' in name else 1)


def test_each_rate_of_dino():
    """Heads learn at the full rate, averages are no parameters of the optimizer, flat parameters do not decay."""
    model = dino()
    # as networks with masks and registers have them
    model.backbone.mask_token = nn.Parameter(torch.zeros(1, 1, 16))
    model.backbone.register_tokens = nn.Parameter(torch.zeros(1, 4, 16))
    by_name = options_of(model, paramwise_options=dict(layer_decay_rate=0.5, patch_embed_mult=0.2, flat_decay_mult=0.))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert by_name.keys() == trained.keys() and not [name for name in by_name if name.startswith('teacher')]
    for name, group in by_name.items():
        factor = published(name, 2, 0.5, 0.2) if name.startswith('backbone.') else 1.
        assert group['lr'] == pytest.approx(2 * factor, rel=1e-12), name
        assert group['weight_decay'] == (0. if trained[name].dim() == 1 else 0.04), name
    rates = {name: by_name[f'backbone.{name}']['lr'] for name in (
        'cls_token', 'mask_token', 'register_tokens', 'pos_embed', 'patch_embed.projection.weight',
        'layers.0.attn.qkv.weight', 'layers.1.gamma_1', 'ln1.weight')}  # yapf: disable
    assert list(rates.values()) == pytest.approx([0.25, 0.25, 0.25, 0.25, 0.05, 0.5, 1., 2.])
    assert by_name['backbone.layers.1.gamma_1']['weight_decay'] == 0.  # LayerScale
    assert by_name['neck.last_layer.weight_v']['lr'] == 2.


def test_one_mechanism_serves_pre_training_and_fine_tuning():
    model = build_algorithm(
        dict(type='Classification', backbone=dict(VIT, type='MIMVisionTransformer'),
             head=dict(type='ClsHead', in_channels=16, num_classes=3)))  # yapf: disable
    fine = options_of(model, constructor='TransformerFinetuneConstructor', model_type='vit', layer_decay=0.5)
    for cfg in (dict(paramwise_options=dict(layer_decay_rate=0.5)), dict(paramwise_cfg=dict(layer_decay_rate=0.5))):
        ours = options_of(model, **cfg)
        assert {name: group['lr'] for name, group in ours.items()} == {n: group['lr'] for n, group in fine.items()}
    both = dict(constructor='TransformerFinetuneConstructor', model_type='vit', layer_decay=0.5)
    options = dict(layer_decay_rate=0.5)
    with pytest.raises(ConfigError, match='are the same, give one'):
        options_of(model, **both, paramwise_options=options)
    factor = options_of(model, **both, paramwise_options=dict(patch_embed_mult=0.1))
    assert factor['backbone.patch_embed.projection.bias']['lr'] == pytest.approx(2 * 0.5**3 * 0.1)


def test_options_by_expression_combine():
    """Rates that are set by expression are multiplied too; a decay that is set by expression stays."""
    model = dino()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        by_name = options_of(
            model,
            paramwise_options={
                'patch_embed_mult': 0.5,
                'flat_decay_mult': 0.5,
                'norm_decay_mult': 0.5,
                'patch_embed': dict(lr=8.),
                'gamma': dict(weight_decay=0.3)
            })
    assert by_name['backbone.patch_embed.projection.weight']['lr'] == 4.
    assert by_name['backbone.layers.0.attn.qkv.weight']['lr'] == 2.
    decays = {name: by_name[f'backbone.layers.0.{name}']['weight_decay'] for name in (
        'gamma_1', 'ln1.weight', 'attn.qkv.bias', 'attn.qkv.weight')}  # yapf: disable
    assert list(decays.values()) == [0.3, 0.01, 0.02, 0.04]


def test_swin_and_timm():
    swin = build_algorithm(SWIN)
    depth = max(i for i, blocks in enumerate(swin.backbone.stages))
    by_name = options_of(swin, paramwise_options=dict(layer_decay_rate=0.5, patch_embed_mult=0.2))
    count = sum(len(stage.blocks) for stage in swin.backbone.stages)
    assert by_name['backbone.patch_embed.projection.weight']['lr'] == pytest.approx(2 * 0.5**(count + 1) * 0.2)
    assert by_name['backbone.mask_token']['lr'] == pytest.approx(2 * 0.5**(count + 1))
    last = f'backbone.stages.{depth}.blocks.{len(swin.backbone.stages[depth].blocks) - 1}.'
    assert {group['lr'] for name, group in by_name.items() if name.startswith(last)} == {1.}
    timm = dino(type='TIMMBackbone', model_name='vit_tiny_patch16_224', img_size=32, depth=2)
    by_name = options_of(timm, paramwise_options=dict(layer_decay_rate=0.5, patch_embed_mult=0.2))
    assert by_name['backbone.timm_model.patch_embed.proj.weight']['lr'] == pytest.approx(0.05)
    assert by_name['backbone.timm_model.blocks.1.attn.qkv.weight']['lr'] == 1.


@pytest.mark.parametrize('options, changes, message', [
    (dict(layer_decay_rat=0.9), {}, "'layer_decay_rat'.* did you mean 'layer_decay_rate'"),
    (dict(layer_decay_rate=0), {}, 'layer_decay_rate is a number above 0 and at most 1, got 0'),
    (dict(layer_decay_rate='0.9'), {}, "at most 1, got '0.9'"),
    (dict(layer_decay_rate=1.5), {}, 'got 1.5'),
    (dict(patch_embed_mult=-1), {}, 'patch_embed_mult is a number from 0 on, got -1'),
    (dict(flat_decay_mult=None), {}, 'flat_decay_mult is a number from 0 on, got None'),
    (dict(flat_decay_mult=0.), dict(weight_decay=None), 'flat_decay_mult needs `weight_decay`'),
    (dict(patch_embed_mult=0.2), dict(lr=None), 'patch_embed_mult needs the base rate'),
])
def test_wrong_options(options, changes, message):
    with pytest.raises(ConfigError, match=message):
        options_of(dino(), paramwise_options=options, **changes)


def test_networks_without_such_layers():
    with pytest.raises(ConfigError, match='do not fit a model of type DINO with the backbone ResNet, which has no'):
        options_of(dino(type='ResNet', depth=18), paramwise_options=dict(layer_decay_rate=0.9))

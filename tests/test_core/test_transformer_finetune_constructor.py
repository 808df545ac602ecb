"""Layer-wise decay of rates: hand-written tables, timm's own groups, options that combine with it, schedules."""
import copy
import math
import warnings

import pytest
import torch
from torch import nn

from mmssl.core import HOOKS, build_optimizer
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import build_from_cfg

VIT = dict(
    type='Classification',
    backbone=dict(
        type='mmcls.VisionTransformer',
        img_size=16,
        patch_size=8,
        arch=dict(embed_dims=8, num_layers=3, num_heads=2, feedforward_channels=16)),
    head=dict(type='ClsHead', in_channels=8, num_classes=3, vit_backbone=True))
SWIN = dict(
    type='mmcls.SwinTransformer',
    img_size=32,
    use_abs_pos_embed=True,
    arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 2]),
    out_indices=(1, ),
    stage_cfgs=dict(block_cfgs=dict(window_size=4)))
ADAMW = dict(
    type='AdamW',
    lr=2.,
    weight_decay=0.05,
    constructor='TransformerFinetuneConstructor',
    model_type='vit',
    layer_decay=0.5)


def build(model, **changes):
    """Options by name of parameter, and the optimizer."""
    optimizer = build_optimizer(model, {**ADAMW, **changes})
    return {name: group for group in optimizer.param_groups for name in group['names']}, optimizer


def test_vit():
    """Every parameter, at 2 * 0.5 ** (4 - depth)."""
    model = build_algorithm(VIT)
    model.backbone.fc_norm = nn.LayerNorm(8)
    model.backbone.mask_token = nn.Parameter(torch.zeros(1, 1, 8))
    model.backbone.layers[1].attn.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
    model.backbone.layers[2].gamma_1 = nn.Parameter(torch.zeros(8))
    table = {
        0.125: ['cls_token', 'mask_token', 'pos_embed', 'patch_embed.projection.weight', 'patch_embed.projection.bias'],
        2.: ['ln1.weight', 'ln1.bias', 'fc_norm.weight', 'fc_norm.bias']
    }
    block = [
        f'{part}.{kind}' for part in ('ln1', 'attn.qkv', 'attn.proj', 'ln2', 'ffn.layers.0.0', 'ffn.layers.1')
        for kind in ('weight', 'bias')
    ]
    for i, rate in enumerate((0.25, 0.5, 1.)):
        table[rate] = [f'layers.{i}.{name}' for name in block]
    table[0.5].append('layers.1.attn.relative_position_bias_table')
    table[1.].append('layers.2.gamma_1')
    expected = {f'backbone.{name}': rate for rate, names in table.items() for name in names}
    expected.update({'head.fc_cls.weight': 2., 'head.fc_cls.bias': 2.})
    by_name, optimizer = build(model)
    assert {name: group['lr'] for name, group in by_name.items()} == expected
    assert len(optimizer.param_groups) == 5


def test_swin():
    """Every parameter, at 2 * 0.5 ** (5 - depth), inside mmcls's classifier too."""
    pairs = ('norm1', 'norm2', 'attn.w_msa.qkv', 'attn.w_msa.proj', 'ffn.layers.0.0', 'ffn.layers.1')
    block = [f'{part}.{kind}' for part in pairs for kind in ('weight', 'bias')]
    block.append('attn.w_msa.relative_position_bias_table')
    expected = {'absolute_pos_embed': 0.0625}
    for part in ('projection', 'norm'):
        expected.update({f'patch_embed.{part}.weight': 0.0625, f'patch_embed.{part}.bias': 0.0625})
    for stage, number, rate in ((0, 0, 0.125), (0, 1, 0.25), (1, 0, 0.5), (1, 1, 1.)):
        expected.update({f'stages.{stage}.blocks.{number}.{name}': rate for name in block})
    for name in ('norm.weight', 'norm.bias', 'reduction.weight'):
        expected[f'stages.0.downsample.{name}'] = 0.25
    expected.update({'norm1.weight': 2., 'norm1.bias': 2.})
    model = build_algorithm(
        dict(
            type='MMClsImageClassifierWrapper',
            backbone=SWIN,
            neck=dict(type='mmcls.GlobalAveragePooling'),
            head=dict(type='mmcls.LinearClsHead', in_channels=16, num_classes=3)))
    by_name, _ = build(model, model_type='swin')
    assert {n.removeprefix('backbone.'): g['lr'] for n, g in by_name.items() if n.startswith('backbone.')} == expected
    assert by_name['head.fc.weight']['lr'] == by_name['head.fc.bias']['lr'] == 2.


@pytest.mark.parametrize('decay', [0.65, 0.9])
def test_same_rates_as_timm(decay):
    """timm's ViT-Tiny in our wrapper against timm's own groups, which have the last norm with the last block."""
    import timm
    from timm.optim import param_groups_layer_decay
    theirs = timm.create_model('vit_tiny_patch16_224', num_classes=3)
    names = {id(p): name for name, p in theirs.named_parameters()}
    rates = {
        names[id(p)]: (2. * group['lr_scale'], group['weight_decay'])
        for group in param_groups_layer_decay(theirs, 0.05, ('cls_token', 'pos_embed'), layer_decay=decay)
        for p in group['params']
    }
    assert rates.pop('norm.weight')[0] == rates.pop('norm.bias')[0] == 2. * decay
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(type='TIMMBackbone', model_name='vit_tiny_patch16_224'),
            head=dict(type='ClsHead', in_channels=192, num_classes=3)))
    no_decay = {
        'bias$': dict(weight_decay=0.),
        'norm': dict(weight_decay=0.),
        'cls_token|pos_embed': dict(weight_decay=0.)
    }
    by_name, _ = build(model, layer_decay=decay, paramwise_options=no_decay)
    ours = {
        name.replace('backbone.timm_model.', '').replace('head.fc_cls', 'head'): (group['lr'], group['weight_decay'])
        for name, group in by_name.items()
    }
    assert ours.pop('norm.weight') == ours.pop('norm.bias') == (2., 0.)
    assert ours.keys() == rates.keys() and len(ours) == 150
    for name, expected in rates.items():
        assert ours[name] == pytest.approx(expected, rel=1e-12), name


def test_options_combine_with_the_decay():
    """PITFALLS: norms decayed because `norm` missed `ln`. The order of options does not matter, rates multiply."""
    options = {
        'ln': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        r'\Ahead\.': dict(lr_mult=10),
        r'backbone\.layers\.1\.': dict(lr_mult=3)
    }
    model = build_algorithm(VIT)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        by_name, optimizer = build(model, paramwise_options=options)
        other_order, _ = build(model, paramwise_options=dict(reversed(options.items())))
    for name, parameter in model.named_parameters():
        assert by_name[name]['weight_decay'] == (0. if parameter.dim() == 1 else 0.05), name
        assert other_order[name]['lr'] == by_name[name]['lr'], name
        assert other_order[name]['weight_decay'] == by_name[name]['weight_decay'], name
    assert by_name['head.fc_cls.weight']['lr'] == 20.
    assert by_name['backbone.layers.1.attn.qkv.weight']['lr'] == 1.5
    assert by_name['backbone.layers.2.attn.qkv.weight']['lr'] == 1.
    assert len(optimizer.param_groups) == 11  # 6 rates, with and without decay; the last norm has matrix
    with pytest.warns(UserWarning, match="'norm' is found in the name of no trainable"):
        build(model, paramwise_options={'norm': dict(weight_decay=0.)})
    by_kind, _ = build(model, paramwise_cfg=dict(norm_decay_mult=0.))
    assert by_kind['backbone.ln1.weight']['weight_decay'] == 0.
    assert by_kind['backbone.layers.0.ln2.weight']['lr'] == 0.25


def test_config_stays_as_it_is():
    cfg = {**ADAMW, 'paramwise_options': {'bias': dict(weight_decay=0.), 'pos_embed': dict(weight_decay=0.)}}
    before = copy.deepcopy(cfg)
    build_optimizer(build_algorithm(VIT), cfg)
    assert cfg == before


def test_without_decay_it_is_the_default():
    model = build_algorithm(VIT)
    model.backbone.patch_embed.requires_grad_(False)
    by_name, optimizer = build(model, layer_decay=0., model_type=None)
    assert len(optimizer.param_groups) == 1 and optimizer.param_groups[0]['lr'] == 2.
    assert by_name.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {**build(model, layer_decay=1.)[0]}.keys() == by_name.keys()


@pytest.mark.parametrize('changes, message', [
    (dict(model_type='vitt'), "model_type='vit' or 'swin', got 'vitt'; did you mean 'vit'"),
    (dict(model_type=None), "model_type='vit' or 'swin', got None"),
    (dict(model_type='swin'), "model_type='swin' does not fit a model of type Classification with the backbone Vision"),
    (dict(layer_decay=1.5), 'at most 1, or 0 for none, got 1.5'),
    (dict(layer_decay=-1), 'got -1'),
    (dict(lr=None), 'needs the base rate'),
    (dict(layer_decai=0.5), "no argument 'layer_decai'"),
])
def test_wrong_settings(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(build_algorithm(VIT), **changes)


@pytest.mark.parametrize('model', [nn.Linear(2, 2), nn.Sequential()])
def test_models_without_blocks(model):
    with pytest.raises(ConfigError, match='has no such blocks'):
        build(model)


def schedule(cfg, model=None):
    """Rates of the groups in each iteration of 5 epochs of 4."""

    class Progress:
        max_epochs, max_iters, iter, epoch = 5, 20, 0, 0
        data_loader = [None] * 4
        optimizer = build(model or build_algorithm(VIT))[1]

    runner, found = Progress(), []
    hook = build_from_cfg(cfg, HOOKS)
    hook.before_run(runner)
    for runner.epoch in range(5):
        hook.before_train_epoch(runner)
        for _ in range(4):
            hook.before_train_iter(runner)
            found.append([group['lr'] for group in runner.optimizer.param_groups])
            runner.iter += 1
    return [group['initial_lr'] for group in runner.optimizer.param_groups], found


@pytest.mark.parametrize('policy', ['StepFixCosineAnnealing', 'CosineAnnealing'])
def test_schedules_scale_each_group(policy):
    """Warm-up and cosine from a group's own rate; `min_lr` is the same for all, `min_lr_ratio` the group's share."""
    cfg = dict(
        type=f'{policy}LrUpdaterHook',
        by_epoch=False,
        warmup='linear',
        warmup_iters=1,
        warmup_ratio=0.1,
        warmup_by_epoch=True)
    for floor in (dict(min_lr=0.02), dict(min_lr_ratio=0.01)):
        start, found = schedule({**cfg, **floor})
        assert sorted(start) == [0.125, 0.25, 0.5, 1., 2.]
        for i, rates in enumerate(found):
            for base, rate in zip(start, rates):
                low = floor.get('min_lr', 0.01 * base)
                share = max(0, i - 4) / 16 if policy.startswith('Step') else i / 20
                expected = low + (base - low) * (1 + math.cos(math.pi * share)) / 2
                if i < 4:
                    expected = (base if policy.startswith('Step') else expected) * (0.1 + 0.9 * i / 4)
                assert rate == pytest.approx(expected, rel=1e-9)

# Copyright (c) mmssl contributors. All rights reserved.
"""Networks of other libraries, to compare the outputs of converted weights with.

Outputs are the last maps of a ResNet or Swin (N x C x H x W, before pooling), or the tokens of a ViT behind its final
norm (N x (L + 1) x D, the class token first; N x D for one that ends with fc_norm).
"""
import re
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.utils.checkpoint import NO_WEIGHTS, CheckpointError
from mmssl.utils.errors import ConfigError
from .layouts import find_prefix, inside_network

IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


class NoReferenceError(ConfigError):
    """No library at hand has this network; the message says why."""


def photographs(size, channels=3, normalised=True):
    """The two photographs that scikit-learn carries.

    Args:
        size (int | tuple[int]): Height and width in pixels.
        channels (int): C; other than three are copies of the grey image.
        normalised (bool): As for ImageNet; else values are from 0 to 1.

    Returns:
        Tensor: 2 x C x H x W.
    """
    import cv2
    from sklearn.datasets import load_sample_images
    height, width = (size, size) if isinstance(size, int) else size
    images = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in load_sample_images().images]
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    if normalised:
        mean, std = (torch.tensor(IMAGENET[key])[:, None, None] for key in ('mean', 'std'))
        images = (images - mean) / std
    return images if channels == 3 else images.mean(1, keepdim=True).expand(-1, channels, -1, -1).contiguous()


@torch.no_grad()
def our_features(backbone, images):
    """Outputs of one of our backbones, in the form that is compared."""
    backbone.eval()
    # what a pre-training forwards has masks; that of a network which classifies is its output
    pretraining = hasattr(backbone, 'extract_feat') and not hasattr(backbone, 'fc_norm')
    last = (backbone.extract_feat if pretraining else backbone)(images)[-1]
    if getattr(backbone, 'cls_token', images) is None:
        return last.flatten(2).transpose(1, 2)
    if isinstance(last, (tuple, list)):
        maps, token = last
        return torch.cat((token[:, None], maps.flatten(2).transpose(1, 2)), 1)
    return last


@torch.no_grad()
def reference_features(layout, weights, cfg, images):
    """Outputs of the library's own network with weights by its own names.

    Args:
        layout (Layout): Of the weights.
        weights (dict[str, Tensor]): All that the network has must be among them, counters of batches aside, and nothing
            else inside of it.
        cfg (dict): Of infer_backbone, for our backbone of the same kind and size.
        images (Tensor): N x C x H x W.

    Returns:
        tuple[str, Tensor]: What computed them, and the outputs.

    Raises:
        NoReferenceError: There is no library, or it has no such network.
        CheckpointError: Weights are lacking, or the layout does not know some in the midst of the network.
    """
    foreign = inside_network(weights, layout)
    if foreign:
        raise CheckpointError(
            f'{foreign[0]} is inside of the network, which gives other outputs without it; the layout '
            f'{layout.name} has no place for it')
    make = _MAKERS.get((layout.name, layout.family))
    if make is None:
        raise NoReferenceError(f'there is no model of {layout.name} to run')
    prefix = find_prefix(weights, layout)
    weights = {
        re.sub(layout.mark, '', key).removeprefix(prefix): value.float() if value.is_floating_point() else value
        for key, value in weights.items() if key.startswith(prefix)
    }
    try:
        name, forward = make(cfg, weights)
    except ImportError as error:
        raise NoReferenceError(f'{error.name or error} is not installed') from error
    return name, forward(images)


def _without_registers(tokens, registers):
    """Tokens behind a number of registers, and the class token in front of these."""
    return torch.cat((tokens[:, :1], tokens[:, 1 + registers:]), 1) if registers else tokens


def _load(model, weights):
    _check_complete(model, model.load_state_dict(weights, strict=False).missing_keys)
    model.eval()  # mmcls's networks do not return themselves
    return model


def _check_complete(model, missing):
    """Random weights must not be compared; counters and tables are no weights."""
    missing = [key for key in missing if not key.endswith(NO_WEIGHTS)]
    if missing:
        raise CheckpointError(f'the {type(model).__name__} of another library lacks {missing[0]}')


def _resnet_facts(cfg, library):
    """Class of the blocks, blocks a stage, groups and width of a group; refuses what the library does not have."""
    from mmssl.models.backbones import ResNet
    strange = sorted({'base_channels', 'stem_channels', 'num_stages'} & set(cfg))
    if cfg['type'] == 'ResNet_CIFAR' or strange:
        raise NoReferenceError(f'{library} has no {cfg["type"]}' +
                               (f' with another {", ".join(strange)}' if strange else ''))
    block, stages = ResNet.arch_settings[cfg['depth']]
    grouped = cfg['type'] == 'ResNeXt'
    return (block.__name__, stages, cfg.get('groups', 32) if grouped else 1,
            cfg.get('width_per_group', 4) if grouped else 64)  # yapf: disable


def _torchvision_resnet(cfg, weights):
    from torchvision.models import resnet
    if cfg.get('deep_stem') or cfg['in_channels'] != 3:
        raise NoReferenceError('torchvision has no ResNet with a deep stem, nor for other than 3 channels')
    block, stages, groups, width = _resnet_facts(cfg, 'torchvision')
    model = resnet.ResNet(getattr(resnet, block), stages, groups=groups, width_per_group=width)
    model.fc = nn.Identity()
    _load(model, weights)
    body = nn.Sequential(*list(model.children())[:-2])
    return f'torchvision {cfg["type"]}-{cfg["depth"]}', body


def _sequential_resnet(cfg, weights):
    from torchvision.models import resnet
    if cfg.get('deep_stem') or cfg['in_channels'] != 3:
        raise NoReferenceError('torchvision has no ResNet with a deep stem, nor for other than 3 channels')
    block, stages, groups, width = _resnet_facts(cfg, 'torchvision')
    model = resnet.ResNet(getattr(resnet, block), stages, groups=groups, width_per_group=width)
    body = nn.Sequential(*list(model.children())[:-2])
    return f'nn.Sequential of torchvision {cfg["type"]}-{cfg["depth"]}', _load(body, weights)


def _timm_resnet(cfg, weights):
    from timm.models import resnet
    block, stages, groups, width = _resnet_facts(cfg, 'timm')
    deep = dict(stem_width=32, stem_type='deep') if cfg.get('deep_stem') else {}
    model = resnet.ResNet(
        getattr(resnet, block),
        stages,
        num_classes=0,
        in_chans=cfg['in_channels'],
        cardinality=groups,
        base_width=width,
        avg_down=cfg.get('avg_down', False),
        **deep)
    return f'timm {cfg["type"]}-{cfg["depth"]}', _load(model, weights).forward_features


_HUGGINGFACE_NAMES = dict(
    resnet='ResNet', vit='ViT', dinov2='Dinov2', dinov2_with_registers='Dinov2WithRegisters', ijepa='IJepa')


def huggingface_config(cfg):
    """The config.json of transformers for one of our backbones.

    Raises:
        NoReferenceError: transformers has no such network.
    """
    if cfg['type'] in ('ResNet', 'ResNet_CIFAR', 'ResNeXt'):
        from mmssl.models.backbones import ResNet
        if cfg['type'] != 'ResNet' or cfg.get('deep_stem') or cfg.get('num_stages', 4) != 4:
            raise NoReferenceError(f'transformers has no {cfg["type"]} of this kind')
        block, stages = ResNet.arch_settings[cfg['depth']]
        widths = [cfg.get('base_channels', 64) * block.expansion * 2**i for i in range(4)]
        return dict(
            model_type='resnet',
            architectures=['ResNetModel'],
            num_channels=cfg['in_channels'],
            embedding_size=cfg.get('stem_channels', 64),
            hidden_sizes=widths,
            depths=list(stages),
            layer_type=block.__name__.removesuffix('Block').lower(),
            hidden_act='relu')
    size = cfg['img_size']
    scaled, token = 'init_values' in cfg, cfg.get('with_cls_token', True)
    registers, gated = cfg.get('num_registers', 0), cfg.get('ffn') == 'swiglu'
    kind = 'dinov2' if scaled else 'vit' if token else 'ijepa'
    if (cfg['type'] != 'VisionTransformer' or not cfg.get('final_norm', True) or scaled and not token
            or (registers or gated) and not scaled):
        raise NoReferenceError(f'transformers has no {cfg["type"]} of this kind')
    if registers:
        kind = 'dinov2_with_registers'
    arch = cfg['arch']
    dims, hidden = arch['embed_dims'], arch['feedforward_channels']
    if scaled and (not isinstance(size, int) or hidden % dims):
        raise NoReferenceError('Dinov2Model of transformers is for square images and a hidden layer of a multiple of '
                               'the channels')
    mlp = dict(intermediate_size=hidden)
    if scaled:
        mlp = dict(mlp_ratio=hidden // dims, use_swiglu_ffn=gated)
        mlp.update(dict(num_register_tokens=registers) if registers else dict(use_mask_token='with_mask_token' in cfg))
    return dict(
        model_type=kind,
        architectures=[f'{_HUGGINGFACE_NAMES[kind]}Model'],
        hidden_size=dims,
        num_hidden_layers=arch['num_layers'],
        num_attention_heads=arch['num_heads'],
        **mlp,
        image_size=size if isinstance(size, int) else list(size),
        patch_size=cfg['patch_size'],
        num_channels=cfg['in_channels'],
        qkv_bias=cfg.get('qkv_bias', True),
        hidden_act='gelu',
        layer_norm_eps=1e-6)


def _huggingface(cfg, weights):
    import transformers
    facts = huggingface_config(cfg)
    kind = _HUGGINGFACE_NAMES[facts.pop('model_type')]
    config = getattr(transformers, f'{kind}Config')(**facts)
    options = dict(add_pooling_layer=False) if kind in ('ViT', 'IJepa') else {}
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it prints a table of what is left out
    logging.disable_progress_bar()
    try:  # not load_state_dict, since names in files are not those in memory
        model, info = getattr(transformers, f'{kind}Model').from_pretrained(
            None, config=config, state_dict=weights, output_loading_info=True, **options)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    _check_complete(model, [key for key in info['missing_keys'] if not key.endswith('mask_token')])
    model.eval()
    registers = cfg.get('num_registers', 0)
    return f'transformers {kind}Model', lambda images: _without_registers(model(images).last_hidden_state, registers)


def _classyvision(cfg, weights):
    from classy_vision.models import ResNeXt
    if cfg['type'] not in ('ResNet', 'ResNeXt') or cfg.get('deep_stem') or cfg['in_channels'] != 3:
        raise NoReferenceError(f'ClassyVision has no {cfg["type"]} of this kind')
    _, stages, groups, width = _resnet_facts(cfg, 'ClassyVision')
    grouping = (width, groups) if groups > 1 else None
    model = _load(ResNeXt(num_blocks=stages, base_width_and_cardinality=grouping), weights)
    return f'ClassyVision {cfg["type"]}-{cfg["depth"]}', nn.Sequential(model.initial_block, model.blocks)


def _timm_vit(cfg, weights):
    from timm.layers import GluMlp
    from timm.models import VisionTransformer
    arch, registers = cfg['arch'], cfg.get('num_registers', 0)
    averages, token = 'fc_norm.weight' in weights, cfg.get('with_cls_token', True)
    if not averages and 'norm.weight' not in weights:
        raise NoReferenceError('timm has no ViT without a norm at the end')
    mlp = dict(mlp_ratio=arch['feedforward_channels'] / arch['embed_dims'])
    if cfg.get('ffn') == 'swiglu':
        mlp = dict(
            mlp_ratio=len(weights['blocks.0.mlp.fc1.weight']) / arch['embed_dims'],
            mlp_layer=partial(GluMlp, gate_last=False),
            act_layer=nn.SiLU)
    model = _load(
        VisionTransformer(
            img_size=cfg['img_size'],
            patch_size=cfg['patch_size'],
            in_chans=cfg['in_channels'],
            num_classes=0,
            global_pool='avg' if averages else 'token' if token else '',
            class_token=token,
            init_values=cfg.get('init_values'),
            embed_dim=arch['embed_dims'],
            depth=arch['num_layers'],
            num_heads=arch['num_heads'],
            qkv_bias=cfg.get('qkv_bias', True),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            reg_tokens=registers,
            no_embed_class=bool(registers),
            **mlp), weights)
    if averages:
        return 'timm VisionTransformer', model
    return 'timm VisionTransformer', lambda images: _without_registers(model.forward_features(images), registers)


def dino_vit(cfg, weights):
    """The ViT of DINO, iBOT and DINOv2, with registers and gated MLPs too, as a function of weights by their names.

    Positions for images of another size are those of the authors: interpolated bicubically by factors, to which 0.1 of
    a patch is added, or in networks with registers to the size itself, and smoothed before they are made fewer.

    Args:
        cfg (dict): Of infer_backbone.
        weights (dict[str, Tensor]): By their names, with or without 'backbone.', blocks without chunks.

    Returns:
        tuple[str, Callable]: What it is, and images N x C x H x W to tokens N x (L + 1) x D.
    """
    weights = {key.removeprefix('backbone.'): value for key, value in weights.items()}
    arch = cfg['arch']
    dims, heads = arch['embed_dims'], arch['num_heads']
    registers = weights.get('register_tokens', torch.empty(1, 0, dims))

    def norm(x, name):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        return (x - mean) / (var + 1e-6).sqrt() * weights[f'{name}.weight'] + weights[f'{name}.bias']

    def linear(x, name):
        return x @ weights[f'{name}.weight'].T + weights.get(f'{name}.bias', 0)

    def attention(x, block):
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2)
                   for part in linear(x, f'{block}attn.qkv').chunk(3, -1))  # yapf: disable
        x = (q @ k.mT / q.shape[-1]**.5).softmax(-1) @ v
        return linear(x.transpose(1, 2).flatten(2), f'{block}attn.proj')

    def mlp(x, block):
        if f'{block}mlp.w3.weight' not in weights:
            return linear(F.gelu(linear(x, f'{block}mlp.fc1')), f'{block}mlp.fc2')
        gate, value = linear(x, f'{block}mlp.w12').chunk(2, -1)
        return linear(gate * gate.sigmoid() * value, f'{block}mlp.w3')

    def positions(rows, columns):
        first, grid = weights['pos_embed'][:, :1], weights['pos_embed'][:, 1:]
        side = round(grid.shape[1]**.5)
        if (rows, columns) != (side, side):
            size = dict(
                size=(rows, columns), antialias=True) if registers.numel() else dict(
                    scale_factor=((rows + .1) / side, (columns + .1) / side))
            grid = F.interpolate(grid.mT.unflatten(2, (side, side)), mode='bicubic', **size).flatten(2).mT
        return torch.cat((first, grid), 1)

    @torch.no_grad()
    def forward(images):
        x = F.conv2d(images, weights['patch_embed.proj.weight'], weights['patch_embed.proj.bias'], cfg['patch_size'])
        size = x.shape[2:]
        x = torch.cat((weights['cls_token'].expand(len(x), -1, -1), x.flatten(2).mT), 1) + positions(*size)
        x = torch.cat((x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]), 1)
        for i in range(arch['num_layers']):
            block = f'blocks.{i}.'
            x = x + attention(norm(x, f'{block}norm1'), block) * weights.get(f'{block}ls1.gamma', 1)
            x = x + mlp(norm(x, f'{block}norm2'), block) * weights.get(f'{block}ls2.gamma', 1)
        return _without_registers(norm(x, 'norm'), registers.shape[1])

    return 'ViT of DINO as a function', forward


def _student(cfg, weights):
    """The network that a training of DINO, iBOT, DINOv2, MSN or I-JEPA trains; there are others in it."""
    part = next(part for part in ('student.backbone.', 'encoder.') if any(key.startswith(part) for key in weights))
    weights = {key.removeprefix(part): value for key, value in weights.items() if key.startswith(part)}
    if cfg['type'] != 'VisionTransformer':
        return _torchvision_resnet(cfg, weights)
    return (dino_vit if part == 'student.backbone.' else _timm_vit)(cfg, {
        key: value
        for key, value in weights.items() if not key.startswith('fc.')
    })


def _dino_resnet(cfg, weights):
    return _torchvision_resnet(cfg, {key.removeprefix('backbone.'): value for key, value in weights.items()
                                     if not key.startswith('head.')})  # yapf: disable


def _torchvision_vit(cfg, weights):
    from torchvision.models import VisionTransformer
    arch = cfg['arch']
    strange = {'qkv_bias', 'final_norm', 'with_cls_token', 'init_values'} & cfg.keys()
    if cfg['in_channels'] != 3 or strange or not isinstance(cfg['img_size'], int):
        raise NoReferenceError('torchvision has no such ViT')
    model = VisionTransformer(cfg['img_size'], cfg['patch_size'], arch['num_layers'], arch['num_heads'],
                              arch['embed_dims'], arch['feedforward_channels'])
    model.heads = nn.Identity()
    _load(model, weights)

    def forward(images):
        tokens = model._process_input(images)
        return model.encoder(torch.cat((model.class_token.expand(len(tokens), -1, -1), tokens), 1))

    return 'torchvision VisionTransformer', forward


def _timm_swin(cfg, weights, original=False):
    from timm.models import swin_transformer
    arch = cfg['arch']
    model = swin_transformer.SwinTransformer(
        img_size=cfg['img_size'],
        patch_size=cfg['patch_size'],
        in_chans=cfg['in_channels'],
        num_classes=0,
        embed_dim=arch['embed_dims'],
        depths=arch['depths'],
        num_heads=arch['num_heads'],
        window_size=cfg['stage_cfgs']['block_cfgs']['window_size'])
    if original:  # timm's own reading of the original names
        weights = swin_transformer.checkpoint_filter_fn(weights, model)
    _load(model, weights)
    return 'timm SwinTransformer', lambda images: model.forward_features(images).permute(0, 3, 1, 2)


def _mmcls(cfg, weights):
    import mmcls.models
    cfg = dict(cfg)
    kind = cfg.pop('type')
    if {'init_values', 'with_cls_token'} & cfg.keys():
        raise NoReferenceError(f'mmcls has no such {kind}')
    if 'stage_cfgs' in cfg:
        cfg.update(cfg.pop('stage_cfgs')['block_cfgs'])
    if kind == 'ResNet' and cfg['depth'] == 10:
        raise NoReferenceError('mmcls has no ResNet-10')
    if 'depth' in cfg:
        cfg.update(out_indices=(cfg['out_indices'][-1] - 1, ))  # ours count the stem as 0
    if not hasattr(mmcls.models, kind):
        raise NoReferenceError(f'mmcls has no {kind}')
    model = _load(getattr(mmcls.models, kind)(**cfg), weights)
    return f'mmcls {kind}', lambda images: our_features(model, images)


def _torchvision_regnet(cfg, weights):
    from torchvision.models.regnet import BlockParams, RegNet

    from mmssl.models.backbones import RegNet as Ours
    if cfg['in_channels'] != 3:
        raise NoReferenceError('torchvision has no RegNet for other than 3 channels')
    arch = Ours.arch_of(cfg['arch'])
    params = BlockParams.from_init_params(**arch, se_ratio=cfg['se_ratio'] or None)
    if list(params.widths) != [width for width, _, _ in Ours.stages_of(**arch)]:
        raise NoReferenceError('torchvision rounds the widths of this RegNet in another way')
    model = RegNet(params, stem_width=cfg['stem_channels'])
    model.fc = nn.Identity()
    _load(model, weights)
    return 'torchvision RegNet', nn.Sequential(model.stem, model.trunk_output)


def _timm_regnet(cfg, weights):
    from timm.models.regnet import RegNet, RegNetCfg

    from mmssl.models.backbones import RegNet as Ours
    arch = Ours.arch_of(cfg['arch'])
    network = RegNetCfg(arch['depth'], arch['w_0'], arch['w_a'], arch['w_m'], arch['group_width'],
                        se_ratio=cfg['se_ratio'], stem_width=cfg['stem_channels'])  # yapf: disable
    return 'timm RegNet', _load(RegNet(network, cfg['in_channels'], num_classes=0), weights).forward_features


def _classyvision_regnet(cfg, weights):
    from classy_vision.models.regnet import RegNet, RegNetParams

    from mmssl.models.backbones import RegNet as Ours
    if cfg['in_channels'] != 3:
        raise NoReferenceError('ClassyVision has no RegNet for other than 3 channels')
    # VISSL puts its parts into a list of other names
    weights = {
        re.sub(r'^res(\d)\.', lambda m: f'trunk_output.block{int(m[1]) - 1}.', re.sub(r'^conv1\.', 'stem.', key)): value
        for key, value in weights.items()
    }
    model = _load(
        RegNet(
            RegNetParams(**Ours.arch_of(cfg['arch']), use_se=bool(cfg['se_ratio']), stem_width=cfg['stem_channels'])),
        weights)
    return 'ClassyVision RegNet', nn.Sequential(model.stem, model.trunk_output)


def _alexnet(cfg, weights, names):
    """AlexNets written down once more, as functions of weights by their own names.

    Args:
        cfg (dict): Config of our AlexNet.
        weights (dict[str, Tensor]): By their names.
        names (Callable): The number of a convolution to the names of its weight, its bias, and scale, shift, mean and
            variance of its norm.
    """
    variant = cfg['variant']
    caffe = variant in ('bvlc', 'colorization', 'jigsaw')

    def convolve(x, i, **steps):
        groups = 2 if caffe and i in (2, 4, 5) else 1
        kernel, bias, *norm = names(i)
        x = F.conv2d(x, weights[kernel], weights[bias], groups=groups, **steps)
        if variant != 'bvlc' and (variant != 'jigsaw' or i > 2):
            scale, shift, mean, var = (weights[name] for name in norm)
            x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * scale[:, None, None] + shift[:, None,
                                                                                                              None]
        return x.clamp(min=0)

    def forward(images):
        x = images
        if variant == 'colorization':
            x = images[:, :1]  # L of Lab
        elif variant == 'deepcluster' and cfg.get('sobel', True):
            side = torch.tensor([[1., 0., -1.], [2., 0., -2.], [1., 0., -1.]])
            x = F.conv2d(images.mean(1, keepdim=True), torch.stack((side, side.T))[:, None], padding=1)
        x = convolve(x, 1, stride=2 if variant == 'jigsaw' else 4, padding=0 if caffe else 2)
        for i in (2, 3):
            if variant == 'bvlc':
                x = F.local_response_norm(x, 5, 1e-4, .75, 1.)
            x = F.max_pool2d(x, 3, 2)
            if variant == 'jigsaw':
                x = F.local_response_norm(x, 5, 1e-4, .75, 1.)
            x = convolve(x, i, padding=2 if i == 2 else 1)
        x = F.max_pool2d(convolve(convolve(x, 4, padding=1), 5, padding=1), 3, 2)
        return x

    return f'AlexNet ({variant}) as functions', forward


def _caffe2_alexnet(cfg, weights):
    return _alexnet(
        cfg, weights,
        lambda i: [f'conv{i}_{end}' for end in 'wb'] + [f'conv{i}norm_{end}' for end in ('s', 'b', 'rm', 'riv')])


_MODULES = ('0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var')


def _rotnet(cfg, weights):
    return _alexnet(cfg, weights, lambda i: [f'{(0, 2, 4, 5, 6)[i - 1]}.{end}' for end in _MODULES])


def _deepcluster(cfg, weights):
    first = (0, 4, 8, 11, 14)
    return _alexnet(cfg, weights, lambda i: [f'{first[i - 1] + int(end[0])}.{end[2:]}' for end in _MODULES])


@torch.no_grad()
def timm_features(cfg, weights, images):
    """Last map of the network of timm that a TIMMBackbone wraps, with weights by timm's names, N x C x H x W.

    Args:
        cfg (dict): Config of the TIMMBackbone.
        weights (dict[str, Tensor]): All of the network's.
        images (Tensor): N x C x H x W.

    Returns:
        tuple[str, Tensor]: What computed it, and the map.
    """
    import timm
    facts = {
        key: value
        for key, value in cfg.items() if key not in ('type', 'init_cfg', 'pretrained', 'checkpoint_path')
    }
    name, channels = facts.pop('model_name'), facts.pop('in_channels', 3)
    model = timm.create_model(name, in_chans=channels, **facts)
    if not cfg.get('features_only'):
        model.reset_classifier(0, '')
    model.load_state_dict(weights)
    last = model.eval()(images)
    last = last[-1] if isinstance(last, (tuple, list)) else last
    if last.dim() == 3:
        last = last[:, model.num_prefix_tokens:].transpose(1, 2)
        last = last.unflatten(2, model.patch_embed.dynamic_feat_size(images.shape[-2:]))
    elif getattr(model, 'output_fmt', 'NCHW') == 'NHWC':
        last = last.permute(0, 3, 1, 2)
    return f'timm {name}', last


_MAKERS = {
    **dict.fromkeys([(name, 'resnet') for name in ('torchvision', 'openselfsup', 'moco', 'swav', 'barlowtwins',
                                                   'simsiam', 'mocov3', 'vissl')], _torchvision_resnet),
    ('dino', 'resnet'): _dino_resnet,
    ('dino', 'vit'): dino_vit,
    **dict.fromkeys([('training', 'resnet'), ('training', 'vit')], _student),
    ('sequential', 'resnet'): _sequential_resnet,
    ('torchvision', 'regnet'): _torchvision_regnet,
    ('timm', 'regnet'): _timm_regnet,
    **dict.fromkeys([(name, 'regnet') for name in ('classyvision', 'vissl')], _classyvision_regnet),
    ('caffe2', 'alexnet'): _caffe2_alexnet,
    **dict.fromkeys([(name, 'alexnet') for name in ('vissl', 'rotnet')], _rotnet),
    ('deepcluster', 'alexnet'): _deepcluster,
    ('timm', 'resnet'): _timm_resnet,
    ('classyvision', 'resnet'): _classyvision,
    **dict.fromkeys([(name, 'vit') for name in ('timm', 'mae', 'mocov3', 'msn')], _timm_vit),
    ('torchvision', 'vit'): _torchvision_vit,
    ('timm', 'swin'): _timm_swin,
    **dict.fromkeys([(name, 'swin') for name in ('swin', 'simmim')], partial(_timm_swin, original=True)),
    **dict.fromkeys([('huggingface', family) for family in ('resnet', 'vit')], _huggingface),
    **dict.fromkeys([(name, family) for name in ('mmcls', 'mmdet', 'mmseg') for family in ('resnet', 'vit', 'swin')],
                    _mmcls),
}  # yapf: disable

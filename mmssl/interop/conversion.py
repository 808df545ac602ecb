# Copyright (c) mmssl contributors. All rights reserved.
"""Weights from one library's layout to another's, and a check that the networks still give the same outputs."""
from dataclasses import dataclass

import torch

from mmssl.models import build_algorithm, build_backbone
from mmssl.models.utils.infer_backbone import infer_backbone
from mmssl.utils.checkpoint import NO_WEIGHTS, CheckpointError, check_other_file, teacher_weights
from mmssl.utils.config import check_sections, config_section, load_config
from mmssl.utils.errors import ConfigError
from .layouts import READ_ONLY, Layout, family_of, find_layouts, from_ours, guess_layout, inside_network, knows, to_ours
from .reference_models import (NoReferenceError, huggingface_config, our_features, photographs, reference_features,
                               timm_features)
from .weight_files import check_output, find_weights, rename_weights, write_weights

# What sees the image, by our names: of a ResNet, a ResNet-D, ViT and Swin, an AlexNet and a RegNet
FIRST_CONVOLUTIONS = tuple(f'backbone.{name}.weight' for name in ('conv1', 'stem.0.conv', 'patch_embed.projection',
                                                                  'conv1.conv', 'timm_model.stem.conv'))


@dataclass
class Conversion:
    """What a conversion read and made.

    Attributes:
        source (Layout): Of the weights that were read.
        same_names (list[str]): Further layouts that name them the same.
        read (dict[str, Tensor]): The weights that were read.
        ours (dict[str, Tensor]): By our names, with 'backbone.'.
        target (Layout): Of the weights that were made.
        weights (dict[str, Tensor]): By the names of the target.
        left_out (list[str]): Names without a place in the target: heads, projectors, momentum encoders.
        missing (list[str]): Names of our network that the weights lack; counters and tables at most.
        cfg (dict): Config of our backbone of the same kind and size.
        backbone (dict): Config of our backbone whose outputs are checked: that of a config that was given, else `cfg`.
        bgr (bool): Whether the weights that were read take images as blue, green, red; ours and the others take RGB.
    """
    source: Layout
    same_names: list
    read: dict
    ours: dict
    target: Layout
    weights: dict
    left_out: list
    missing: list
    cfg: dict
    backbone: dict
    bgr: bool = False


def convert_weights(weights, source='auto', target='mmssl', config=None, num_heads=None, bgr2rgb=False, size=None):
    """Give weights the names and shapes of another library.

    No weight of the backbone may be lost or lacking: a network with one random layer is not the network.

    Args:
        weights (dict[str, Tensor]): By their names.
        source (str): Their layout (see mmssl.interop.layouts), or 'auto', which goes by the names.
        target (str): The layout to make.
        config (str | mmcv.Config, optional): Whose model the weights must fit; by default kind and size of the network
            follow from the weights.
        num_heads (int, optional): Attention heads of a ViT, which its weights do not tell.
        bgr2rgb (bool): The weights take images as blue, green, red, as OpenCV reads them; turn the first convolution.
        size (tuple[int], optional): Height and width of the images in pixels; positions of a ViT do not tell those of
            images that are not square.

    Returns:
        Conversion: The result.

    Raises:
        CheckpointError: Names that the layout does not know, weights of the backbone that are missing or have no place
            in the target, another architecture.
    """
    if target in READ_ONLY:
        raise CheckpointError(f'the layout {target} is read only: it is that of a training, not of a library')
    wrapped = target == 'timm' and any(key.startswith(_TIMM_PREFIX) for key in weights)
    if wrapped and config is not None and load_config(config).model.backbone.type != 'RegNet':
        return _unwrap_timm(weights, config)
    try:
        layout, same_names = guess_layout(weights, None if source == 'auto' else source)
        renamed = to_ours(weights, layout)
    except CheckpointError as error:
        if wrapped:
            raise CheckpointError(f'{error}; --config names what a TIMMBackbone wraps') from error
        raise
    if renamed.unexpected:
        raise CheckpointError(
            f'the layout {layout.name} does not know {_some(renamed.unexpected)} of the {len(weights)} '
            'names; what is no part of the network can be left out with --skip-layers')
    ours, left_out = renamed.weights, renamed.left_out
    if bgr2rgb:
        ours = {key: _turn(value) if key in FIRST_CONVOLUTIONS else value for key, value in ours.items()}
    targets = find_layouts(target, family_of(ours))
    inside = {key.removeprefix('backbone.'): value for key, value in ours.items() if key.startswith('backbone.')}
    model = None if config is None else _model_of(config)
    num_heads = num_heads or getattr(getattr(model, 'backbone', None), 'arch_settings', {}).get('num_heads')
    given = {} if config is None else load_config(config).model.backbone
    if given.get('type') == 'RegNet':  # of free parameters, which weights do not tell
        cfg = dict(arch='y-400mf', se_ratio=.25, in_channels=3, stem_channels=32)
        cfg = dict({key: given.get(key, cfg[key]) for key in cfg}, type='RegNet', out_indices=(4, ))
    else:
        cfg = infer_backbone(inside, num_heads or layout.num_heads, size)
    backbone = cfg
    if model is None:
        with torch.device('meta'):  # for names and shapes alone
            network = build_backbone(dict(cfg))
        missing = _check_fit(inside, network, 'the network that these weights seem to be of')
    else:
        missing = _check_fit(inside, model.backbone, f'the backbone of {config}')
        places = model.state_dict()
        if 'pos_embed' not in inside or inside['pos_embed'].shape == places['backbone.pos_embed'].shape:
            # its strides and heads, which weights do not tell; the last map of all
            backbone = {key: value for key, value in load_config(config).model.backbone.items()
                        if key not in ('frozen_stages', 'init_cfg', 'out_indices')}  # yapf: disable
            backbone.update({key: cfg[key] for key in ('out_indices', ) if key in cfg})
        fitting = {
            key: value
            for key, value in ours.items()
            if key.startswith('backbone.') or key in places and places[key].shape == value.shape
        }
        left_out = left_out + [key for key in ours if key not in fitting]
        ours = fitting

    having = [layout for layout in targets if ours.keys() >= set(layout.needs)]
    if not having:
        needed = next(key for key in targets[0].needs if key not in ours)
        raise CheckpointError(f'the layout {target} has no network without {needed.removeprefix("backbone.")}')
    if target == 'torchvision' and not isinstance(cfg.get('img_size', 0), int):
        raise CheckpointError(f'torchvision has no ViT for images that are not square, {cfg["img_size"]}')
    made = min(((layout, from_ours(ours, layout)) for layout in having), key=lambda pair: len(pair[1].unexpected))
    if made[1].unexpected:
        raise CheckpointError(f'the layout {target} has no place for {_some(made[1].unexpected)} of our names')
    return Conversion(layout, same_names, weights, ours, made[0], made[1].weights, left_out + made[1].left_out, missing,
                      cfg, backbone, bgr2rgb)


_TIMM_PREFIX = 'backbone.timm_model.'


def _unwrap_timm(weights, config):
    """A training of ours with TIMMBackbone, of any network that timm has, to the names that timm gives it."""
    model = _model_of(config)
    cfg = dict(load_config(config).model.backbone)
    if cfg['type'] != 'TIMMBackbone':
        raise CheckpointError(f'the weights are those of a TIMMBackbone, the backbone of {config} is a {cfg["type"]}')
    ours = {key: value for key, value in weights.items() if key.startswith(_TIMM_PREFIX)}
    missing = _check_fit({key.removeprefix('backbone.'): value for key, value in ours.items()}, model.backbone,
                         f'the backbone of {config}')  # yapf: disable
    made = {key.removeprefix(_TIMM_PREFIX): value for key, value in ours.items()}
    left_out = [key for key in weights if key not in ours]
    return Conversion(
        Layout('mmssl', 'timm', ()), [], weights, ours, Layout('timm', 'timm', ()), made, left_out, missing, cfg, cfg)


def _turn(weight):
    if weight.shape[1] != 3:
        raise CheckpointError(f'--bgr2rgb is for images of three channels, the first convolution takes '
                              f'{weight.shape[1]}')
    return weight.flip(1)


def _some(names):
    """'5 (a, b, c, ...)': how many names there are, and the first of them."""
    return f'{len(names)} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'


def _model_of(config):
    cfg = load_config(config)
    check_sections(cfg, ['model.backbone'])
    with config_section(cfg, 'model'):
        return build_algorithm(cfg.model)


def _check_fit(weights, backbone, which):
    """Names that the weights lack and may lack; an error for all else that does not fit."""
    own = backbone.state_dict()
    differing = [key for key in weights if key in own and weights[key].shape != own[key].shape and key != 'pos_embed']
    if differing:
        key = differing[0]
        raise CheckpointError(f'another architecture: {len(differing)} weights differ in shape, such as {key}, '
                              f'{tuple(weights[key].shape)} in the file and {tuple(own[key].shape)} in {which}')
    # a pre-training puts mask_token in the place of masked patches, a network for features has none
    foreign = [key for key in weights if key not in own and key != 'mask_token']
    if foreign:
        raise CheckpointError(f'another architecture: {which} has no {_some(foreign)}')
    missing = [key for key in own if key not in weights]
    lost = [key for key in missing if not key.endswith((*NO_WEIGHTS, 'mask_token'))]
    if lost:
        raise CheckpointError(
            f'the file lacks {_some(lost)} of the {len(own)} weights of {which}: they would stay random')
    return missing


@dataclass
class OutputCheck:
    """How far the outputs of two networks with the same weights are apart.

    Attributes:
        names (tuple[str]): The two networks.
        difference (float): Largest absolute difference.
        scale (float): Largest absolute output of the first.
    """
    names: tuple
    difference: float
    scale: float

    @property
    def relative(self):
        """float: The difference over the scale."""
        return self.difference / self.scale if self.scale else self.difference


def check_conversion(conversion):
    """Run the networks of both libraries, and ours, on two photographs.

    Args:
        conversion (Conversion): Its weights as they were read and made.

    Returns:
        tuple[list[OutputCheck], list[str]]: Each other network against the first, and why networks are not among them.

    Raises:
        ConfigError: There is nothing to compare ours with.
    """
    images = photographs(conversion.cfg.get('img_size', 224), conversion.cfg.get('in_channels', 3))
    outputs, reasons = [], []
    backbone = build_backbone(dict(conversion.backbone))
    backbone.load_state_dict({
        key.removeprefix('backbone.'): value.float() if value.is_floating_point() else value
        for key, value in conversion.ours.items() if key.startswith('backbone.')
    }, strict=False)  # yapf: disable
    for layout, weights, theirs in ((conversion.source, conversion.read, images.flip(1) if conversion.bgr else images),
                                    (conversion.target, conversion.weights, images)):
        if layout.name in ('mmssl', 'backbone'):
            continue
        if layout.family == 'timm':
            outputs.append(timm_features(conversion.cfg, weights, theirs))
            continue
        try:
            outputs.append(reference_features(layout, weights, conversion.cfg, theirs))
        except NoReferenceError as reason:
            reasons.append(f'{layout.name} not run: {reason}')
    if not outputs:
        raise ConfigError('nothing to compare outputs with: ' + ('; '.join(reasons) or 'both layouts are our own'))
    outputs.insert(1, (f'mmssl {conversion.backbone["type"]}', our_features(backbone, images)))
    (first, expected), *others = outputs
    return [
        OutputCheck((first, name), _difference(expected, found),
                    expected.abs().max().item()) for name, found in others
    ], reasons


def _difference(a, b):
    return (a - b).abs().max().item() if a.shape == b.shape else float('inf')


def convert_file(path,
                 output,
                 source='auto',
                 target='mmssl',
                 config=None,
                 num_heads=None,
                 bgr2rgb=False,
                 check=False,
                 tolerance=1e-5,
                 state_dict_key_name=None,
                 skip_layers=(),
                 remove_prefix='',
                 append_prefix='',
                 size=None,
                 teacher=False):
    """Convert a file and print what came of each name; nothing is written where something does not fit.

    Args:
        path (str | Path): See read_weights.
        output (str | Path): See write_weights.
        source, target, config, num_heads, bgr2rgb, size: See convert_weights.
        check (bool): Compare the outputs of the networks first, that of the file with all its weights.
        tolerance (float): Largest difference of them, over the largest output, that passes.
        state_dict_key_name (str, optional): See read_weights. By default '' for the source 'training'.
        skip_layers, remove_prefix, append_prefix: See rename_weights.
        teacher (bool): Of a training of ours, the moving averages of backbone and neck; see teacher_weights.

    Raises:
        CheckpointError: Something does not fit, or outputs differ.
    """
    check_output(output, target)
    check_other_file(path, output)
    if source == 'training' and state_dict_key_name is None:
        state_dict_key_name = ''  # all that the file holds
    place, given = find_weights(path, state_dict_key_name)
    if teacher:
        given = teacher_weights(given, str(path))
    weights = rename_weights(given, skip_layers, remove_prefix, append_prefix)
    done = convert_weights(weights, source, target, config, num_heads, bgr2rgb, size)
    # the network of the file is run with what the file has, not with what is left of it
    done.read = rename_weights(given, (), remove_prefix, append_prefix)
    _check_skipped(done, weights)
    words = f'layout {done.source.name}'
    if source == 'auto':
        words += ', by its names' + (f' (as in {", ".join(dict.fromkeys(done.same_names))})' if done.same_names else '')
    if place in ('teacher', 'target_encoder'):
        words += f', of the part {place} (--state-dict-key-name names another)'
    network = _describe(done.cfg)
    print(f'{path}: {words}; {len(weights)} tensors of {"an" if network[0] in "AEIO" else "a"} {network}')
    print(f'  matched {len(weights) - len(done.left_out)}, left out {len(done.left_out)}, missing {len(done.missing)}, '
          'unexpected 0')
    for kind, names in (('left out', done.left_out), ('missing', done.missing)):
        if names:
            print(f'  {kind}: {_some(names)}')
    if check:
        checks, reasons = check_conversion(done)
        for reason in reasons:
            print(f'  {reason}')
        for pair in checks:
            print(f'  {pair.names[1]} against {pair.names[0]}: largest difference {pair.difference:.3g} of outputs up '
                  f'to {pair.scale:.3g}')
        failed = [pair for pair in checks if not pair.relative <= tolerance]
        if failed:
            raise CheckpointError(f'the outputs of {failed[0].names[1]} differ by {failed[0].relative:.3g} of the '
                                  f'largest one, {tolerance:g} is allowed: {output} is not written')
    description = huggingface_config(done.cfg) if done.target.name == 'huggingface' else None
    write_weights(done.weights, output, done.target.name, description)
    print(f'{output}: {len(done.weights)} tensors, layout {done.target.name}')


def _check_skipped(done, kept):
    """An error where what is left out is a part of the network: it would be another network."""
    layout = done.source
    lost = [key for key in done.read if key not in kept and not key.endswith((*NO_WEIGHTS, 'mask_token'))
            and knows(layout, done.read, key)]  # yapf: disable
    lost = lost or [key for key in inside_network(done.read, layout) if key not in kept]
    if lost:
        raise CheckpointError(f'--skip-layers would leave out {_some(lost)} of the network itself, which gives other '
                              'outputs without them')


def _describe(cfg):
    """A config of infer_backbone in words."""
    kind = cfg['type']
    if kind == 'TIMMBackbone':
        return f'{kind} ({cfg["model_name"]})'
    if 'variant' in cfg:
        return f'{kind} ({cfg["variant"]})'
    if kind == 'RegNet':
        return f'{kind} ({cfg["arch"]})'
    if 'depth' in cfg:
        return f'{kind}-{cfg["depth"]}'
    arch = cfg['arch']
    if 'depths' in arch:
        window = cfg['stage_cfgs']['block_cfgs']['window_size']
        return f'{kind} ({arch["embed_dims"]} channels, {arch["depths"]} blocks, windows of {window})'
    return (
        f'{kind} ({arch["embed_dims"]} channels, {arch["num_layers"]} layers, {arch["num_heads"]} heads, patches of '
        f'{cfg["patch_size"]} in images of {cfg["img_size"]}' + ', LayerScale' * ('init_values' in cfg) +
        ', no class token' * (not cfg.get('with_cls_token', True)) + ')')

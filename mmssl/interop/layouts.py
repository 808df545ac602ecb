# Copyright (c) mmssl contributors. All rights reserved.
"""How other libraries name the weights that our networks have: one table a layout, read in both directions.

A row is (our name, their name). What both share stands in braces: {p} a word, {s} or {i} a number, {s+1} the number
that is one more than s, {*} anything. Several names of theirs in a row mean that our tensor is theirs joined along the
first dimension. A third entry is a pair of functions, (theirs to ours, ours to theirs), for tensors that differ besides
in the order of their numbers. The first row that fits counts. Ours are the names in a checkpoint of a whole algorithm:
'backbone.conv1.weight', 'neck.mlp.0.weight'.
"""
import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional as F

from mmssl.utils.checkpoint import NO_WEIGHTS, CheckpointError
from mmssl.utils.errors import nearest

# Our names, without 'backbone.'; those of the ResNet are torchvision's, all of them are MMClassification's.
RESNET_STAGES = ('layer{s}.{b}.conv{n}.{p}', 'layer{s}.{b}.bn{n}.{p}', 'layer{s}.{b}.downsample.{i}.{p}')
RESNET = ('conv1.{p}', 'bn1.{p}', *RESNET_STAGES, 'stem.{i}.conv.{p}', 'stem.{i}.bn.{p}')
VIT_BLOCK = ('ln1.{p}', 'attn.qkv.{p}', 'attn.proj.{p}', 'ln2.{p}', 'ffn.layers.0.0.{p}', 'ffn.layers.1.{p}')
VIT = ('cls_token', 'pos_embed', 'patch_embed.projection.{p}', *(f'layers.{{i}}.{key}' for key in VIT_BLOCK),
       'layers.{i}.ffn.w12.{p}', 'layers.{i}.ffn.w3.{p}', 'layers.{i}.gamma_{n}', 'ln1.{p}', 'fc_norm.{p}',
       'mask_token', 'register_tokens')  # yapf: disable
SWIN_BLOCK = ('norm1.{p}', 'attn.w_msa.qkv.{p}', 'attn.w_msa.proj.{p}', 'attn.w_msa.relative_position_bias_table',
              'norm2.{p}', 'ffn.layers.0.0.{p}', 'ffn.layers.1.{p}')  # yapf: disable
SWIN = ('patch_embed.projection.{p}', 'patch_embed.norm.{p}',
        *(f'stages.{{i}}.blocks.{{j}}.{key}' for key in SWIN_BLOCK), 'stages.{i}.downsample.norm.{p}',
        'stages.{i}.downsample.reduction.{p}', 'norm{i}.{p}', 'mask_token',
        'stages.{i}.blocks.{j}.attn.w_msa.relative_position_index')  # yapf: disable
ALEXNET = ('conv{s}.conv.{p}', 'conv{s}.bn.{p}')
REGNET_BLOCK = ('conv1.conv.{p}', 'conv1.bn.{p}', 'conv2.conv.{p}', 'conv2.bn.{p}', 'se.fc1.{p}', 'se.fc2.{p}',
                'conv3.conv.{p}', 'conv3.bn.{p}', 'downsample.conv.{p}', 'downsample.bn.{p}')  # yapf: disable
REGNET = ('timm_model.stem.conv.{p}', 'timm_model.stem.bn.{p}',
          *(f'timm_model.s{{s}}.b{{b}}.{key}' for key in REGNET_BLOCK))  # yapf: disable
OURS = dict(resnet=RESNET, vit=VIT, swin=SWIN, alexnet=ALEXNET, regnet=REGNET)

_LAST_NORM = 'backbone.norm_last'  # in rows, for the norm of the last stage, such as norm3 of four
# What the loss of a pre-training needs and the network does without, and tables that each network makes itself
_OURS_ALONE = r'(?!backbone\.)|backbone\.mask_token$|.*relative_position_index$'


@dataclass(frozen=True)
class Layout:
    """Names of one library for one family of networks.

    Attributes:
        name (str): As users give it.
        family (str): 'resnet' (ResNeXt too), 'vit', 'swin', 'alexnet' or 'regnet'.
        rows (tuple): The table.
        prefixes (tuple[str]): Beginnings of all their names, of which the file has one; the first is written.
        left_out (str): Regular expression of the beginnings of names, with prefix, that our networks have no place for.
            {prefix} in it is the prefix that the file has.
        needs (tuple[str]): Our names of weights that every network of the library has.
        mark (str): Regular expression of what names may have in them and mean nothing; it is taken out.
        num_heads (int, optional): Attention heads, where they are not as many as is usual for a width.
        class_position (bool): Whether the class token has a position of its own; else it is added to the token.
    """
    name: str
    family: str
    rows: tuple
    prefixes: tuple = ('', )
    left_out: str = '(?!)'
    needs: tuple = ()
    mark: str = '(?!)'
    num_heads: int = None
    class_position: bool = True


class Renamed(NamedTuple):
    """Weights by other names.

    Attributes:
        weights (dict[str, Tensor]): By their new names.
        left_out (list[str]): Old names that the other side has no place for, and need not have.
        unexpected (list[str]): Old names that the layout does not know.
    """
    weights: dict
    left_out: list
    unexpected: list


def _zip(prefix, ours, theirs, their_prefix=''):
    """Rows of names that are in the same order in two lists; a tuple of theirs are names that are joined."""
    rows = []
    for own, other in zip(ours, theirs, strict=True):
        several = other if isinstance(other, tuple) else (other, )
        several = tuple(their_prefix + name for name in several)
        rows.append((prefix + own, several if isinstance(other, tuple) else several[0]))
    return tuple(rows)


def _same(family, prefix=''):
    return _zip('backbone.', OURS[family], OURS[family], prefix)


def _under(prefix, rows):
    """Rows whose names of theirs have a beginning."""
    return tuple((row[0], prefix + row[1], *row[2:]) for row in rows)


def _merge_to_ours(tensor):
    """Swin's patch merging: 2 x 2 neighbours are (column, row, channel) there, (channel, row, column) here."""
    return tensor.unflatten(-1, (2, 2, -1)).movedim(-1, -3).transpose(-1, -2).flatten(-3)


def _merge_to_theirs(tensor):
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -2).movedim(-3, -1).flatten(-3)


_MERGE = (_merge_to_ours, _merge_to_theirs)
_ROW = (lambda token: token[None], lambda token: token[0])  # tokens of D numbers: 1 x D there, 1 x 1 x D here
_HEAD = (('head.fc_cls.{p}', 'head.{p}'), )
_FC = (('head.fc_cls.{p}', 'fc.{p}'), )

# torchvision's names, and those of all that was built on it; without a deep stem, which is named otherwise there
_PLAIN_RESNET = _zip('backbone.', RESNET[:-2], RESNET[:-2])
# The deep stem of a ResNet-D is a sequence of convolution, norm, ReLU, and its last norm is bn1
_RESNETD = (
    ('backbone.stem.0.conv.{p}', 'conv1.0.{p}'),
    ('backbone.stem.0.bn.{p}', 'conv1.1.{p}'),
    ('backbone.stem.1.conv.{p}', 'conv1.3.{p}'),
    ('backbone.stem.1.bn.{p}', 'conv1.4.{p}'),
    ('backbone.stem.2.conv.{p}', 'conv1.6.{p}'),
    ('backbone.stem.2.bn.{p}', 'bn1.{p}'),
    # a shortcut of stride 1 has a pooling that does nothing there, and none here
    ('backbone.layer1.0.downsample.{i}.{p}', 'layer1.0.downsample.{i+1}.{p}'),
    *_zip('backbone.', RESNET_STAGES, RESNET_STAGES),
    *_FC)  # yapf: disable
_HUGGINGFACE_RESNET = (
    ('backbone.conv1.{p}', 'embedder.embedder.convolution.{p}'),
    ('backbone.bn1.{p}', 'embedder.embedder.normalization.{p}'),
    ('backbone.layer{s}.{b}.conv{n}.{p}', 'encoder.stages.{s-1}.layers.{b}.layer.{n-1}.convolution.{p}'),
    ('backbone.layer{s}.{b}.bn{n}.{p}', 'encoder.stages.{s-1}.layers.{b}.layer.{n-1}.normalization.{p}'),
    ('backbone.layer{s}.{b}.downsample.0.{p}', 'encoder.stages.{s-1}.layers.{b}.shortcut.convolution.{p}'),
    ('backbone.layer{s}.{b}.downsample.1.{p}', 'encoder.stages.{s-1}.layers.{b}.shortcut.normalization.{p}')
)  # yapf: disable
_DETECTRON2_RESNET = (
    ('backbone.conv1.{p}', 'stem.conv1.{p}'),
    ('backbone.bn1.{p}', 'stem.conv1.norm.{p}'),
    ('backbone.layer{s}.{b}.conv{n}.{p}', 'res{s+1}.{b}.conv{n}.{p}'),
    ('backbone.layer{s}.{b}.bn{n}.{p}', 'res{s+1}.{b}.conv{n}.norm.{p}'),
    ('backbone.layer{s}.{b}.downsample.0.{p}', 'res{s+1}.{b}.shortcut.{p}'),
    ('backbone.layer{s}.{b}.downsample.1.{p}', 'res{s+1}.{b}.shortcut.norm.{p}'),
    ('head.fc_cls.{p}', 'stem.fc.{p}'))  # yapf: disable
# of the bottlenecks: the last norm of a basic block would have the name of the third one
_CLASSYVISION_RESNET = (
    ('backbone.conv1.{p}', 'initial_block._module.0.{p}'),
    ('backbone.bn1.{p}', 'initial_block._module.1.{p}'),
    *((f'backbone.layer{{s}}.{{b}}.{ours}.{{p}}', f'blocks.{{s-1}}.block{{s-1}}-{{b}}.{theirs}.{{p}}')
      for ours, theirs in (('conv1', 'convolutional_block.0'), ('bn1', 'convolutional_block.1'),
                           ('conv2', 'convolutional_block.3'), ('bn2', 'convolutional_block.4'),
                           ('conv3', 'convolutional_block.6'), ('bn3', 'bn'),
                           ('downsample.{i}', 'downsample.{i}'))))  # yapf: disable
# A norm has the scale s, the shift b, and the running mean rm and variance riv
_CAFFE2_BRANCHES = (('conv1', 'bn1', '2a'), ('conv2', 'bn2', '2b'), ('conv3', 'bn3', '2c'),
                    ('downsample.0', 'downsample.1', '1'))  # yapf: disable
_CAFFE2_NORM = dict(weight='s', bias='b', running_mean='rm', running_var='riv')
_CAFFE2_RESNET = (
    ('backbone.conv1.weight', 'conv1_w'),
    *((f'backbone.bn1.{own}', f'res_conv1_bn_{other}') for own, other in _CAFFE2_NORM.items()),
    *((f'backbone.layer{{s}}.{{b}}.{conv}.weight', f'res{{s+1}}_{{b}}_branch{branch}_w')
      for conv, _, branch in _CAFFE2_BRANCHES),
    *((f'backbone.layer{{s}}.{{b}}.{norm}.{own}', f'res{{s+1}}_{{b}}_branch{branch}_bn_{other}')
      for _, norm, branch in _CAFFE2_BRANCHES for own, other in _CAFFE2_NORM.items()))  # yapf: disable

_CAFFE2_ALEXNET = (
    ('backbone.conv{s}.conv.weight', 'conv{s}_w'),
    ('backbone.conv{s}.conv.bias', 'conv{s}_b'),
    *((f'backbone.conv{{s}}.bn.{own}', f'conv{{s}}norm_{other}') for own, other in _CAFFE2_NORM.items())
)  # yapf: disable
# RotNet's list of convolutions and poolings, which VISSL took over for all its AlexNets; and DeepCluster's layers
_ROTNET = tuple((f'backbone.conv{i}.{part}.{{p}}', f'{block}.{place}.{{p}}')
                for i, block in enumerate((0, 2, 4, 5, 6), 1) for place, part in enumerate(('conv', 'bn')))
_DEEPCLUSTER = tuple((f'backbone.conv{i}.{part}.{{p}}', f'{layer + place}.{{p}}')
                     for i, layer in enumerate((0, 4, 8, 11, 14), 1) for place, part in enumerate(('conv', 'bn')))


def _regnet(stem, block, names):
    """RegNets of those who number blocks from 0."""
    return (
        ('backbone.timm_model.stem.conv.{p}', f'{stem}0.{{p}}'),
        ('backbone.timm_model.stem.bn.{p}', f'{stem}1.{{p}}'),
        *_zip('backbone.timm_model.s{s}.b{b+1}.', REGNET_BLOCK, [f'{name}.{{p}}' for name in names], block)
    )  # yapf: disable


_TORCHVISION_REGNET = _regnet(
    'stem.', 'trunk_output.block{s}.block{s}-{b}.',
    ('f.a.0', 'f.a.1', 'f.b.0', 'f.b.1', 'f.se.fc1', 'f.se.fc2', 'f.c.0', 'f.c.1', 'proj.0', 'proj.1'))
_CLASSYVISION_BLOCK = ('f.a.0', 'f.a.1', 'f.b.0', 'f.b.1', 'f.se.excitation.0', 'f.se.excitation.2', 'f.c',
                       'f.final_bn', 'proj', 'bn')  # yapf: disable
_TIMM_REGNET = tuple((f'backbone.{name}', name.removeprefix('timm_model.')) for name in REGNET)

_TIMM_BLOCK = ('norm1.{p}', 'attn.qkv.{p}', 'attn.proj.{p}', 'norm2.{p}', 'mlp.fc1.{p}', 'mlp.fc2.{p}')
_TIMM_VIT = (
    ('backbone.cls_token', 'cls_token'),
    ('backbone.pos_embed', 'pos_embed'),
    ('backbone.patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
    *_zip('backbone.layers.{i}.', VIT_BLOCK, _TIMM_BLOCK, 'blocks.{i}.'),
    ('backbone.ln1.{p}', 'norm.{p}'),
    ('backbone.fc_norm.{p}', 'fc_norm.{p}'))  # yapf: disable
# LayerScale: factors of both branches of a block
_TIMM_SCALE = (('backbone.layers.{i}.gamma_{n}', 'blocks.{i}.ls{n}.gamma'), )
# the same names of layers of another meaning: timm has both maps of a gated MLP in fc1, the gate first
_TIMM_GATED = tuple((row[0].replace('ffn.layers.0.0', 'ffn.w12').replace('ffn.layers.1', 'ffn.w3'), row[1])
                    for row in _TIMM_VIT)  # yapf: disable
_TIMM_REGISTERS = (('backbone.register_tokens', 'reg_token'), )


def _dino_head(name, neck='neck.'):
    """Rows of a head of DINO: a list of layers, without batch norms and with them, and prototypes with a length."""
    layers = [(f'{neck}fc{i}.{{p}}', f'{name}mlp.{2 * i}.{{p}}') for i in range(5)]
    normed = [(f'{neck}{part}{i}.{{p}}', f'{name}mlp.{3 * i + place}.{{p}}')
              for i in range(5) for place, part in enumerate(('fc', 'bn'))]  # yapf: disable
    prototypes = ((f'{neck}last_layer.weight_{{p}}', f'{name}last_layer.weight_{{p}}'), )
    return tuple(tuple(rows) + prototypes for rows in (layers, normed))


_MAE_DECODER = (
    ('neck.mask_token', 'mask_token'),
    ('neck.decoder_pos_embed', 'decoder_pos_embed'),
    ('neck.decoder_embed.{p}', 'decoder_embed.{p}'),
    *_zip('neck.decoder_blocks.{i}.', VIT_BLOCK, _TIMM_BLOCK, 'decoder_blocks.{i}.'),
    ('neck.ln1.{p}', 'decoder_norm.{p}'),
    ('neck.decoder_pred.{p}', 'decoder_pred.{p}'))  # yapf: disable
_TORCHVISION_VIT = (
    ('backbone.cls_token', 'class_token'),
    ('backbone.pos_embed', 'encoder.pos_embedding'),
    ('backbone.patch_embed.projection.{p}', 'conv_proj.{p}'),
    *_zip('backbone.layers.{i}.', VIT_BLOCK,
          ('ln_1.{p}', 'self_attention.in_proj_{p}', 'self_attention.out_proj.{p}', 'ln_2.{p}', 'mlp.0.{p}',
           'mlp.3.{p}'), 'encoder.layers.encoder_layer_{i}.'),
    ('backbone.ln1.{p}', 'encoder.ln.{p}'),
    ('head.fc_cls.{p}', 'heads.head.{p}'))  # yapf: disable


def _huggingface_vit(layer, block):
    return (
        ('backbone.cls_token', 'embeddings.cls_token'),
        ('backbone.pos_embed', 'embeddings.position_embeddings'),
        ('backbone.patch_embed.projection.{p}', 'embeddings.patch_embeddings.projection.{p}'),
        *_zip('backbone.layers.{i}.', VIT_BLOCK, block, layer),
        ('backbone.ln1.{p}', 'layernorm.{p}'))  # yapf: disable


_HUGGINGFACE_BLOCK = (
    'layernorm_before.{p}',
    ('attention.attention.query.{p}', 'attention.attention.key.{p}', 'attention.attention.value.{p}'),
    'attention.output.dense.{p}', 'layernorm_after.{p}', 'intermediate.dense.{p}', 'output.dense.{p}'
)  # yapf: disable
# how models of transformers 5 name them in memory; their files have the names above
_HUGGINGFACE_5_BLOCK = (
    'layernorm_before.{p}',
    ('attention.q_proj.{p}', 'attention.k_proj.{p}', 'attention.v_proj.{p}'),
    'attention.o_proj.{p}', 'layernorm_after.{p}', 'mlp.fc1.{p}', 'mlp.fc2.{p}'
)  # yapf: disable
_DINOV2_BLOCK = (
    'norm1.{p}',
    ('attention.attention.query.{p}', 'attention.attention.key.{p}', 'attention.attention.value.{p}'),
    'attention.output.dense.{p}', 'norm2.{p}', 'mlp.fc1.{p}', 'mlp.fc2.{p}'
)  # yapf: disable
_DINOV2_5_BLOCK = (
    'norm1.{p}',
    ('attention.q_proj.{p}', 'attention.k_proj.{p}', 'attention.v_proj.{p}'),
    'attention.o_proj.{p}', 'norm2.{p}', 'mlp.fc1.{p}', 'mlp.fc2.{p}'
)  # yapf: disable
# what these have besides, and gated MLPs by the names of files and those in memory
_DINOV2_MORE = (
    ('backbone.layers.{i}.gamma_{n}', 'encoder.layer.{i}.layer_scale{n}.lambda1'),
    ('backbone.register_tokens', 'embeddings.register_tokens'),
    ('backbone.mask_token', 'embeddings.mask_token', _ROW))  # yapf: disable
_DINOV2_GATED = (
    ('backbone.layers.{i}.ffn.w12.{p}', 'encoder.layer.{i}.mlp.weights_in.{p}'),
    ('backbone.layers.{i}.ffn.w3.{p}', 'encoder.layer.{i}.mlp.weights_out.{p}'))  # yapf: disable
_DINOV2_5_GATED = (
    ('backbone.layers.{i}.ffn.w12.{p}',
     ('encoder.layer.{i}.mlp.gate_proj.{p}', 'encoder.layer.{i}.mlp.up_proj.{p}')),
    ('backbone.layers.{i}.ffn.w3.{p}', 'encoder.layer.{i}.mlp.down_proj.{p}'))  # yapf: disable


def _swin(layer, downsample):
    """Swin of timm and of the original code, which put the merging of patches into different stages."""
    return (
        ('backbone.patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
        ('backbone.patch_embed.norm.{p}', 'patch_embed.norm.{p}'),
        *_zip('backbone.stages.{i}.blocks.{j}.', SWIN_BLOCK,
              ('norm1.{p}', 'attn.qkv.{p}', 'attn.proj.{p}', 'attn.relative_position_bias_table', 'norm2.{p}',
               'mlp.fc1.{p}', 'mlp.fc2.{p}'), layer),
        ('backbone.stages.{i}.downsample.norm.{p}', f'{downsample}norm.{{p}}', _MERGE),
        ('backbone.stages.{i}.downsample.reduction.{p}', f'{downsample}reduction.{{p}}', _MERGE),
        (f'{_LAST_NORM}.{{p}}', 'norm.{p}'))  # yapf: disable


_ORIGINAL_SWIN = _swin('layers.{i}.blocks.{j}.', 'layers.{i}.downsample.')
_SWIN_TABLES = r'.*(attn_mask|relative_position_index)$'
_BARE = {family: _same(family) for family in OURS}
# of the same names, without what those networks do not have
_MMCLS = {
    family: tuple(row for row in rows if not re.search(r'gamma|ffn\.w\d|register', row[0]))
    for family, rows in _BARE.items() if family not in ('alexnet', 'regnet')
}
# torchvision's ResNet as nn.Sequential(*list(resnet.children())[:-2]): relu and pooling are its 2 and 3
_SEQUENTIAL_RESNET = (
    ('backbone.conv1.{p}', '0.{p}'),
    ('backbone.bn1.{p}', '1.{p}'),
    *(('backbone.' + name, name.replace('layer{s}', '{s+3}')) for name in RESNET_STAGES))  # yapf: disable
_PREFIXED = {
    family:
    _same(family, 'backbone.') + tuple((f'{part}.{{*}}', f'{part}.{{*}}')
                                       for part in ('teacher', 'patch_neck', 'neck', 'head'))
    for family in OURS
}

_TIMM = (
    ('resnet', _PLAIN_RESNET + _FC),
    ('resnet', _RESNETD),
    *(('vit', rows + _TIMM_SCALE + _HEAD) for rows in (_TIMM_VIT, _TIMM_GATED)),
    ('swin', _swin('layers.{i}.blocks.{j}.', 'layers.{i+1}.downsample.') + (('head.fc_cls.{p}', 'head.fc.{p}'), )),
    ('regnet', _TIMM_REGNET + (('head.fc_cls.{p}', 'head.fc.{p}'), ))
)  # yapf: disable
# a model of timm, and the same in a training of ours with TIMMBackbone
_IN_TIMM = ((('', ), _SWIN_TABLES), (('backbone.timm_model.', ), r'(?!backbone\.timm_model\.)'))

_DINO_MORE = (
    ('backbone.layers.{i}.ffn.w{n}.{p}', 'blocks.{i}.mlp.w{n}.{p}'),
    ('backbone.register_tokens', 'register_tokens'),
    ('backbone.mask_token', 'mask_token', _ROW),
    ('backbone.mask_token', 'masked_embed', _ROW))  # iBOT's  # yapf: disable
_DINO = dict(vit=_TIMM_VIT + _TIMM_SCALE + _DINO_MORE, resnet=_PLAIN_RESNET)
# What trainings of DINO, iBOT and DINOv2 hold: theirs, and ours of the backbone, the projector and that of patches
_BOTH = (('student.', 'backbone.', 'neck.', 'patch_neck.'), ('teacher.', 'teacher.0.', 'teacher.1.', 'teacher.2.'))
_CENTRE = (lambda centre: centre[0], lambda centre: centre[None])  # of patches 1 x 1 x K there, 1 x K here


def _dino_training(rows, normed):
    """Rows of a student and a teacher, with heads that have batch norms or none, and of the centres."""
    found = [('head.targets.center', f'{loss}.center') for loss in ('dino_loss', 'ibot_loss')]
    found += [('head.patch_targets.center', name, _CENTRE) for name in ('ibot_patch_loss.center', 'ibot_loss.center2')]
    for part, backbone, neck, patches in _BOTH:
        found += [(row[0].replace('backbone.', backbone, 1), f'{part}backbone.{row[1]}', *row[2:]) for row in rows]
        for name, own in (('head.', neck), ('dino_head.', neck), ('ibot_head.', patches)):
            found += _dino_head(part + name, own)[normed]
        found.append((f'{neck}patch_last_layer.weight_{{p}}', f'{part}head.last_layer2.weight_{{p}}'))
    return tuple(found)


def _jepa_training():
    """Rows of what trainings of MSN and I-JEPA hold."""
    found = [('head.prototypes', 'prototypes')]
    for part, backbone, neck, _ in _BOTH:
        theirs = dict(student='encoder.', teacher='target_encoder.')[part[:-1]]
        found += [(row[0].replace('backbone.', backbone, 1), theirs + row[1]) for row in _TIMM_VIT]
        found += [(f'{neck}{name}{{i}}.{{p}}', f'{theirs}fc.{name}{{i+1}}.{{p}}') for name in ('fc', 'bn')]
    return (*found, ('neck.mask_token', 'predictor.mask_token'), ('neck.embed.{p}', 'predictor.predictor_embed.{p}'),
            *_zip('neck.layers.{i}.', VIT_BLOCK, _TIMM_BLOCK, 'predictor.predictor_blocks.{i}.'),
            ('neck.ln1.{p}', 'predictor.predictor_norm.{p}'), ('neck.proj.{p}', 'predictor.predictor_proj.{p}'))


_CHUNKS = r'(?<=blocks\.)\d+\.(?=\d+\.)'  # of DINOv2, in which a block keeps its number

_HUGGINGFACE_HEADS = r'classifier\.|pooler\.|decoder\.|.*mask_token$'
# Where names are the same, the first layout is the one that is guessed.
LAYOUTS = (
    *(Layout('mmssl', family, rows, left_out=r'(?!backbone\.)') for family, rows in _PREFIXED.items()),
    Layout('torchvision', 'resnet', _PLAIN_RESNET + _FC),
    Layout('torchvision', 'regnet', _TORCHVISION_REGNET + _FC),
    Layout('torchvision', 'vit', _TORCHVISION_VIT, needs=('backbone.cls_token', )),
    *(Layout('timm', family, rows, prefixes, left_out) for prefixes, left_out in _IN_TIMM for family, rows in _TIMM),
    # those with registers have no position of the class token
    *(Layout('timm', 'vit', rows + _TIMM_SCALE + _TIMM_REGISTERS + _HEAD, prefixes, left_out,
             needs=('backbone.cls_token', 'backbone.register_tokens'), class_position=False)
      for prefixes, left_out in _IN_TIMM for rows in (_TIMM_VIT, _TIMM_GATED)),
    # weights of the network alone by our names
    *(Layout('backbone', family, rows) for family, rows in _BARE.items()),
    # of trainings with MMClassification, MMDetection and MMSegmentation
    *(Layout(name, family, rows, prefixes=('backbone.', ), left_out=r'(?!backbone\.)',
             needs=('backbone.cls_token', ) if family == 'vit' else ())
      for name in ('mmcls', 'mmdet', 'mmseg') for family, rows in _MMCLS.items()),
    Layout('openselfsup', 'resnet', _BARE['resnet'], prefixes=('encoder_q.0.', 'online_net.0.', 'encoder.0.'),
           left_out=r'(?!(encoder_q|online_net|encoder)\.0\.)'),
    Layout('huggingface', 'resnet', _HUGGINGFACE_RESNET, prefixes=('', 'resnet.'), left_out=r'classifier\.'),
    Layout('huggingface', 'vit', _huggingface_vit('encoder.layer.{i}.', _HUGGINGFACE_BLOCK),
           prefixes=('', 'vit.', 'ijepa.'), left_out=_HUGGINGFACE_HEADS),
    Layout('huggingface', 'vit', _huggingface_vit('layers.{i}.', _HUGGINGFACE_5_BLOCK),
           prefixes=('', 'vit.', 'ijepa.'), left_out=_HUGGINGFACE_HEADS),
    *(Layout('huggingface', 'vit', _huggingface_vit('encoder.layer.{i}.', block) + _DINOV2_MORE + gated,
             prefixes=('', 'dinov2.', 'dinov2_with_registers.'), left_out=_HUGGINGFACE_HEADS,
             needs=('backbone.cls_token', 'backbone.layers.0.gamma_1'))
      for block, gated in ((_DINOV2_BLOCK, _DINOV2_GATED), (_DINOV2_5_BLOCK, _DINOV2_5_GATED))),
    Layout('detectron2', 'resnet', _DETECTRON2_RESNET, prefixes=('', 'backbone.bottom_up.', 'backbone.'),
           left_out=r'backbone\.fpn_|proposal_generator\.|roi_heads\.|pixel_|anchor_generator\.'),
    Layout('classyvision', 'resnet', _CLASSYVISION_RESNET, prefixes=('', 'trunk.'),
           left_out=r'_?heads\.'),
    Layout('classyvision', 'regnet', _regnet('stem.stem.', 'trunk_output.block{s}.block{s}-{b}.', _CLASSYVISION_BLOCK),
           prefixes=('', 'trunk.'), left_out=r'_?heads\.'),
    # of a siamese network, the first branch
    Layout('caffe2', 'resnet', _CAFFE2_RESNET, mark=r'_s0(?=_)',
           left_out=r'.*_momentum$|.*_s[1-8](_|$)|pred_|fc\d|lr$|model_iter$'),
    Layout('vissl', 'resnet', _BARE['resnet'],
           prefixes=('trunk._feature_blocks.', 'trunk.base_model._feature_blocks.', '_feature_blocks.',
                     'base_model._feature_blocks.'), left_out=r'heads\.'),
    Layout('vissl', 'regnet', _regnet('conv1.stem.', 'res{s+1}.block{s}-{b}.', _CLASSYVISION_BLOCK),
           prefixes=('trunk._feature_blocks.', 'trunk.base_model._feature_blocks.', '_feature_blocks.',
                     'base_model._feature_blocks.'), left_out=r'heads\.'),
    Layout('vissl', 'alexnet', _ROTNET,
           prefixes=('trunk._feature_blocks.', 'trunk.base_model._feature_blocks.', '_feature_blocks.',
                     'base_model._feature_blocks.'), left_out=r'heads\.|(trunk\.)?(base_model\.)?sobel\.'),
    # behind the network stand its own classifiers
    Layout('rotnet', 'alexnet', _ROTNET, prefixes=('_feature_blocks.', ), left_out=r'_feature_blocks\.[89]\.'),
    Layout('deepcluster', 'alexnet', _DEEPCLUSTER, prefixes=('features.module.', 'features.'),
           left_out=r'sobel\.|classifier\.|top_layer\.'),
    Layout('caffe2', 'alexnet', _CAFFE2_ALEXNET, mark=r'_s0(?=_)',
           left_out=r'.*_momentum$|.*_s[1-8](_|$)|.*(pred|fc|data)|lr$|model_iter$'),
    Layout('moco', 'resnet', _PLAIN_RESNET + (('neck.mlp.{i}.{p}', 'fc.{i}.{p}'), ('neck.fc.{p}', 'fc.{p}')),
           prefixes=('encoder_q.', ), left_out=r'encoder_k\.|queue'),
    Layout('swav', 'resnet',
           _PLAIN_RESNET + (('neck.projection_neck.{i}.{p}', 'projection_head.{i}.{p}'),
                            ('head.prototypes.{p}', 'prototypes.{p}'))),
    Layout('barlowtwins', 'resnet', _PLAIN_RESNET, prefixes=('backbone.', ), left_out=r'projector\.|bn\.'),
    Layout('simsiam', 'resnet', _PLAIN_RESNET, prefixes=('encoder.', ), left_out=r'encoder\.fc\.|predictor\.'),
    Layout('mae', 'vit', _TIMM_VIT + _MAE_DECODER, left_out=r'head\.', needs=('backbone.cls_token', )),
    # of DINO and DINOv2, first the network alone, then a student or teacher with heads
    *(Layout('dino', family, rows, left_out=r'(dino_|ibot_)?head\.', mark=_CHUNKS)
      for family, rows in _DINO.items()),
    *(Layout('dino', family, _under('backbone.', rows) + head, prefixes=('', 'teacher.'),
             left_out=r'(?!{prefix})|{prefix}(?!backbone\.)', mark=_CHUNKS)
      for family, rows in _DINO.items() for name in ('head.', 'dino_head.') for head in _dino_head(name)),
    Layout('msn', 'vit', _TIMM_VIT, left_out=r'fc\.|pred\.'),
    # both networks of a training with all that ours of the same method has a place for; only where it is asked for
    *(Layout('training', family, _dino_training(rows, normed), prefixes=('', 'model.'),
             left_out=r'(?!{prefix}(student|teacher)\.)|{prefix}(student|teacher)\.(module\.)?(?!backbone\.)',
             mark=_CHUNKS + r'|(?<=student\.)module\.|(?<=teacher\.)module\.')
      for family, rows in _DINO.items() for normed in (0, 1)),
    Layout('training', 'vit', _jepa_training(), mark=r'module\.',
           left_out=r'(?!(target_)?encoder\.|predictor\.)|(target_)?encoder\.(module\.)?(fc|pred)\.'
           r'|.*predictor_pos_embed$'),
    Layout('sequential', 'resnet', _SEQUENTIAL_RESNET, prefixes=('', 'backbone.', 'encoder.', 'features.', 'model.'),
           left_out=r'(?!{prefix})|(.*\.)?(9|10|fc)\.(weight|bias)$'),
    Layout('mocov3', 'vit', _TIMM_VIT, prefixes=('base_encoder.', ),
           left_out=r'base_encoder\.head\.|momentum_encoder\.|predictor\.', num_heads=12),
    Layout('mocov3', 'resnet', _PLAIN_RESNET, prefixes=('base_encoder.', ),
           left_out=r'base_encoder\.fc\.|momentum_encoder\.|predictor\.'),
    Layout('swin', 'swin', _ORIGINAL_SWIN + _HEAD, left_out=_SWIN_TABLES),
    Layout('simmim', 'swin', _ORIGINAL_SWIN + (('backbone.mask_token', 'mask_token'), ), prefixes=('encoder.', ),
           left_out=r'decoder\.|' + _SWIN_TABLES),
)  # yapf: disable
# The originals of these are read only: what their training holds besides the network is not made up here.
READ_ONLY = ('openselfsup', 'dino', 'caffe2', 'moco', 'swav', 'barlowtwins', 'simsiam', 'mocov3', 'msn', 'training',
             'simmim', 'vissl', 'rotnet', 'deepcluster')


def layout_names():
    """Names of all layouts, each once."""
    return list(dict.fromkeys(layout.name for layout in LAYOUTS))


def find_layouts(name, family):
    """The layouts of a library for a family of networks; there are several where it has variants of the network.

    Raises:
        CheckpointError: There is none.
    """
    layouts = [layout for layout in LAYOUTS if layout.name == name]
    if not layouts:
        raise CheckpointError(f'there is no layout {name!r}; {nearest(name, layout_names(), "layouts")}')
    fitting = [layout for layout in layouts if layout.family == family]
    if not fitting:
        raise CheckpointError(
            f'the layout {name} is for {", ".join(dict.fromkeys(row.family for row in layouts))}; these '
            f'weights are of the family {family}')
    return fitting


def guess_layout(weights, name=None):
    """The layout that explains most of the names.

    Args:
        weights (dict[str, Tensor]): By their names.
        name (str, optional): Consider the layouts of this name alone.

    Returns:
        tuple[Layout, list[str]]: The layout, and the names of others that explain them as well.

    Raises:
        CheckpointError: None knows a single name of a backbone.
    """
    scores = {}
    for layout in LAYOUTS:
        if name not in (None, layout.name) or name is None and layout.name == 'training':
            continue
        renamed = to_ours(weights, layout, check=False)
        if any(key.startswith('backbone.') for key in renamed.weights) and _gates_fit(renamed.weights):
            # what is merely left out explains less than what has a place
            scores[layout] = len(weights) - len(renamed.unexpected) - len(renamed.left_out) / 2
            # a row for anything explains less than one that has the name
            if '{*}' in layout.rows[-1][0]:
                scores[layout] -= 1e-6 * sum(not key.startswith('backbone.') for key in renamed.weights)
    if not scores:
        if name is not None and name not in layout_names():
            raise CheckpointError(f'there is no layout {name!r}; {nearest(name, layout_names(), "layouts")}')
        raise CheckpointError(
            f'nothing matches {f"the layout {name}" if name else "any layout"}: the weights are named '
            f'{", ".join(list(weights)[:3])}, ...')
    best = max(scores.values())
    layouts = [layout for layout, score in scores.items() if score == best]
    return layouts[0], [layout.name for layout in layouts[1:] if layout.name != layouts[0].name]


def _gates_fit(weights):
    """Whether the MLPs of a ViT are gated or not as these names, ours, say; by the shapes of the first one."""
    for first, second, maps in (('layers.0.0', 'layers.1', 1), ('w12', 'w3', 2)):
        pair = [weights.get(f'backbone.layers.0.ffn.{name}.weight') for name in (first, second)]
        if all(isinstance(weight, torch.Tensor) for weight in pair):
            return len(pair[0]) == maps * pair[1].shape[1]
    return True


def family_of(weights):
    """'resnet', 'vit', 'swin', 'alexnet' or 'regnet', by our names.

    Raises:
        CheckpointError: They are of none of these.
    """
    for family, key in (('resnet', r'layer1\.0\.'), ('vit', r'layers\.0\.'), ('swin', r'stages\.0\.blocks\.'),
                        ('alexnet', r'conv5\.conv\.'), ('regnet', r'timm_model\.s1\.b1\.')):
        if any(re.match(rf'backbone\.{key}', name) for name in weights):
            return family
    raise CheckpointError(f'no backbone of a known family among {", ".join(list(weights)[:3])}, ...')


def find_prefix(weights, layout):
    """Which of the layout's prefixes the names of these weights have."""
    return max(layout.prefixes, key=lambda start: sum(_find(layout, 1, key, start) is not None for key in weights))


def to_ours(weights, layout, check=True):
    """Give weights of another library our names.

    Args:
        weights (dict[str, Tensor]): By their names.
        layout (Layout): Theirs.
        check (bool): Whether a part that is missing of a joined tensor is an error; else the tensor is left out.

    Returns:
        Renamed: By our names.
    """
    prefix = find_prefix(weights, layout)
    left_out, unexpected, parts = [], [], {}
    for key, tensor in weights.items():
        found = _find(layout, 1, key, prefix)
        if found:
            row, part, fields = found
            parts.setdefault(_fill(layout.rows[row][0], fields), (row, {}))[1][part] = (key, tensor)
        else:
            (left_out if re.match(_left_out(layout, prefix), key) else unexpected).append(key)
    renamed = {}
    for key, (row, pieces) in parts.items():
        theirs, change = layout.rows[row][1], layout.rows[row][2:]
        count = len(theirs) if isinstance(theirs, tuple) else 1
        if len(pieces) < count:
            if check:
                raise CheckpointError(f'{key} is made of {count} tensors, of which there are only '
                                      f'{", ".join(name for name, _ in pieces.values())}')
            unexpected += [name for name, _ in pieces.values()]
            continue
        tensors = [pieces[i][1] for i in range(count)]
        tensor = torch.cat(tensors) if count > 1 else tensors[0]
        renamed[key] = change[0][0](tensor) if change else tensor
    if not layout.class_position and {'backbone.pos_embed', 'backbone.cls_token'} <= renamed.keys():
        renamed['backbone.pos_embed'] = F.pad(renamed['backbone.pos_embed'], (0, 0, 1, 0))
    last = _last_norm(renamed)
    return Renamed({key.replace(_LAST_NORM, last): value for key, value in renamed.items()}, left_out, unexpected)


def _left_out(layout, prefix):
    return layout.left_out.replace('{prefix}', re.escape(prefix))


def _last_norm(weights):
    """What the norm behind the last stage is called in a Swin with these weights, by our names."""
    stages = [int(found[1]) for found in map(re.compile(r'backbone\.stages\.(\d+)\.').match, weights) if found]
    return f'backbone.norm{max(stages, default=0)}'


def inside_network(weights, layout):
    """Names that a layout does not know, in the midst of those of the network: it gives other outputs without them.

    Args:
        weights (dict[str, Tensor]): By their names.
        layout (Layout): Theirs.

    Returns:
        list[str]: Names inside of a module of which the layout knows a part, or beside the network's own tensors.
        Counters, tables and mask tokens are none.
    """
    prefix = find_prefix(weights, layout)
    modules, unknown, loose = set(), [], False
    for key in weights:
        found = _find(layout, 1, key, prefix)
        parts = key[len(prefix):].split('.')
        if found and layout.rows[found[0]][0].startswith('backbone.'):
            modules.update('.'.join(parts[:i]) for i in range(1, len(parts)))
            loose = loose or len(parts) == 1 and layout.name != 'caffe2'  # whose names have no dots at all
        elif not found and key.startswith(prefix) and not key.endswith((*NO_WEIGHTS, 'mask_token')):
            unknown.append((key, parts))
    return [
        key for key, parts in unknown
        if any('.'.join(parts[:i]) in modules for i in range(1, len(parts))) or loose and len(parts) == 1
    ]


def knows(layout, weights, key):
    """Whether a name is one of the network's weights."""
    found = _find(layout, 1, key, find_prefix(weights, layout))
    return bool(found) and layout.rows[found[0]][0].startswith('backbone.')


def from_ours(weights, layout):
    """Give our weights the names of another library.

    Args:
        weights (dict[str, Tensor]): By our names, with 'backbone.'.
        layout (Layout): Theirs.

    Returns:
        Renamed: By their names.
    """
    renamed, left_out, unexpected = {}, [], []
    last = _last_norm(weights)
    if not layout.class_position:
        token, positions = weights['backbone.cls_token'], weights['backbone.pos_embed']
        weights = {**weights, 'backbone.cls_token': token + positions[:, :1], 'backbone.pos_embed': positions[:, 1:]}
    for key, tensor in weights.items():
        found = _find(layout, 0, key) or _find(layout, 0, key.replace(last, _LAST_NORM))
        if not found:
            (left_out if re.match(_OURS_ALONE, key) else unexpected).append(key)
            continue
        row, _, fields = found
        theirs, change = layout.rows[row][1], layout.rows[row][2:]
        names = theirs if isinstance(theirs, tuple) else (theirs, )
        tensor = change[0][1](tensor) if change else tensor
        for name, part in zip(names, tensor.chunk(len(names)) if len(names) > 1 else (tensor, )):
            renamed[layout.prefixes[0] + _fill(name, fields)] = part
    return Renamed(renamed, left_out, unexpected)


def _find(layout, side, key, prefix=''):
    """Row, place in it and fields of a name on one side (0: ours, 1: theirs), or None."""
    if not key.startswith(prefix):
        return None
    if side:
        key = re.sub(layout.mark, '', key)
    for row, entry in enumerate(layout.rows):
        names = entry[side] if isinstance(entry[side], tuple) else (entry[side], )
        for part, name in enumerate(names):
            pattern, offsets = _pattern(name)
            match = pattern.fullmatch(key, len(prefix))
            if match:
                return row, part, {
                    field: text if field in 'p*' else int(text) - offset
                    for (field, offset), text in zip(offsets, match.groups())
                }
    return None


_FIELD = re.compile(r'\{(\w|\*)([+-]\d)?\}')


@functools.lru_cache(None)
def _pattern(name):
    """Regular expression of a name with braces, and (field, what is added to it) of each group."""
    pieces, at = [], 0
    for field in _FIELD.finditer(name):
        pieces += [re.escape(name[at:field.start()]), {'p': r'(\w+)', '*': '(.+)'}.get(field[1], r'(\d+)')]
        at = field.end()
    offsets = [(field[1], int(field[2] or 0)) for field in _FIELD.finditer(name)]
    return re.compile(''.join(pieces) + re.escape(name[at:])), offsets


def _fill(name, fields):
    """A name with its braces filled."""

    def value(match):
        return str(fields[match[1]] if match[1] in 'p*' else fields[match[1]] + int(match[2] or 0))

    return _FIELD.sub(value, name)

"""Weights in other libraries' layouts: outputs of their networks and ours, round trips to the bit, bad files."""
import argparse
import os
import pickle
import re
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from mmssl.interop.conversion import check_conversion, convert_file, convert_weights
from mmssl.interop.layouts import LAYOUTS, READ_ONLY, from_ours, guess_layout, to_ours
from mmssl.interop.reference_models import photographs
from mmssl.interop.weight_files import read_weights, rename_weights, write_weights
from mmssl.models import build_algorithm, build_backbone, build_neck
from mmssl.utils.checkpoint import CheckpointError, load_weights, read_array_pickle
from mmssl.utils.errors import ConfigError

TOOL = 'tools/model_converters/convert.py'


def randomised(weights):
    """Every tensor with values of its own, so that two that were exchanged give other outputs."""
    found = {}
    for key, value in weights.items():
        if not value.is_floating_point():
            found[key] = value + 3
        elif 'running_var' in key or value.dim() == 1 and key.endswith('weight'):
            found[key] = torch.rand(value.shape) + 0.5
        elif value.dim() <= 1 or 'token' in key or 'pos' in key:
            found[key] = torch.randn(value.shape) / 5
        else:
            found[key] = torch.randn(value.shape) / value[0].numel()**0.5
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


def timm_swin():
    return timm.models.SwinTransformer(img_size=224, embed_dim=24, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4),
                                       num_classes=5, window_size=7)  # yapf: disable


def timm_swin_of_two():
    return timm.models.SwinTransformer(img_size=56, embed_dim=24, depths=(2, 1), num_heads=(1, 2), num_classes=0,
                                       window_size=7)  # yapf: disable


def timm_vit(**options):
    return timm.models.VisionTransformer(
        **dict(dict(img_size=32, patch_size=8, embed_dim=128, depth=2, num_heads=2, num_classes=0), **options))


# of 2 x 344 numbers, two thirds of 512 in multiples of 8
GATED = dict(mlp_layer=partial(timm.layers.GluMlp, gate_last=False), act_layer=nn.SiLU, mlp_ratio=2 * 344 / 128)
LIBRARIES = {
    'torchvision resnet18': (torchvision.models.resnet18, 'torchvision', ['timm', 'mmcls', 'backbone']),
    'torchvision resnet50': (torchvision.models.resnet50, 'torchvision', []),
    'torchvision resnext50': (torchvision.models.resnext50_32x4d, 'torchvision', ['mmdet']),
    'torchvision wide resnet': (torchvision.models.wide_resnet50_2, 'torchvision', []),
    'torchvision vit': (lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 128, 256), 'torchvision', ['timm']),
    'timm resnet18d': (lambda: timm.create_model('resnet18d'), 'timm', ['mmseg']),
    'timm vit_tiny': (lambda: timm.create_model('vit_tiny_patch16_224'), 'timm', ['torchvision', 'mae', 'mmcls']),
    'timm deit_tiny': (lambda: timm.create_model('deit_tiny_patch16_224'), 'timm', []),
    'timm vit, mean of patches': (lambda: timm.create_model('vit_tiny_patch16_224', global_pool='avg', depth=2), 'timm',
                                  ['mae']),
    'timm swin': (timm_swin, 'timm', ['swin', 'mmcls']),
    'timm swin, two stages': (timm_swin_of_two, 'timm', ['mmssl', 'backbone', 'mmdet', 'swin']),
    'timm vit, layer scale': (lambda: timm_vit(init_values=0.1), 'timm', ['backbone']),
    'timm vit, registers': (lambda: timm_vit(reg_tokens=3, no_embed_class=True), 'timm', ['backbone']),
    'timm vit, gated': (lambda: timm_vit(**GATED), 'timm', ['backbone']),
    'timm vit, as DINOv2': (lambda: timm_vit(reg_tokens=3, no_embed_class=True, init_values=.1, **GATED), 'timm',
                            ['backbone', 'huggingface']),
    'timm vit, no class token': (lambda: timm_vit(class_token=False, global_pool=''), 'timm', ['backbone']),
    'timm vit, wide images': (lambda: timm_vit(img_size=(32, 48)), 'timm', ['mae', 'mmcls'], (32, 48)),
    'torchvision resnet18, wide images': (torchvision.models.resnet18, 'torchvision', ['timm'], (64, 160)),
    'torchvision sequential': (lambda: nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]),
                               'sequential', ['torchvision']),
    'torchvision sequential, resnext': (lambda: nn.Sequential(*list(
        torchvision.models.resnext50_32x4d().children())[:-1]), 'sequential', []),
}  # yapf: disable


@pytest.mark.long
@pytest.mark.parametrize('name', LIBRARIES)
def test_same_outputs_and_the_same_bits_back(name):
    build, source, targets, *size = LIBRARIES[name]
    weights = randomised(build().state_dict())
    options = dict(size=size[0]) if size else {}
    ours = convert_weights(weights, **options)
    assert ours.source.name == source and not ours.left_out
    assert_same(convert_weights(ours.weights, 'mmssl', source, **options).weights, weights)
    for conversion in [ours, *(convert_weights(weights, target=target, **options) for target in targets)]:
        checks, reasons = check_conversion(conversion)
        assert not reasons and len(checks) == (1 if conversion.target.name in ('mmssl', 'backbone') else 2)
        for check in checks:
            assert check.scale > 1 and check.relative <= 1e-5, check


def test_exchanged_weights_are_noticed():
    """The check compares what it should: two norms exchanged give other outputs."""
    weights = randomised(timm.create_model('vit_tiny_patch16_224', depth=1).state_dict())
    conversion = convert_weights(weights, target='timm')
    norms = 'blocks.0.norm1.weight', 'blocks.0.norm2.weight'
    conversion.weights[norms[0]], conversion.weights[norms[1]] = (conversion.weights[n] for n in norms[::-1])
    ours, exchanged = check_conversion(conversion)[0]
    assert ours.relative <= 1e-5 < 1e-3 < exchanged.relative


VIT = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, image_size=32,
           patch_size=8)  # yapf: disable


@pytest.mark.long
@pytest.mark.parametrize('family, facts', [
    ('resnet', dict(embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type='basic')),
    ('vit', VIT),
    ('vit', dict(VIT, image_size=[32, 48])),
    ('dinov2', dict(VIT, mlp_ratio=2)),
    ('dinov2', dict(VIT, mlp_ratio=4, use_mask_token=False, use_swiglu_ffn=True)),
    ('dinov2_with_registers', dict(VIT, mlp_ratio=4, num_register_tokens=3)),
    ('dinov2_with_registers', dict(VIT, mlp_ratio=4, use_swiglu_ffn=True)),
    ('vit_msn', VIT),
    ('ijepa', VIT),
    ('ijepa', dict(VIT, image_size=[48, 32])),
])  # yapf: disable
def test_transformers(family, facts, tmp_path):
    transformers = pytest.importorskip('transformers')
    if 'dinov2' in family:
        facts = {key: value for key, value in facts.items() if key != 'intermediate_size'}
    kind = dict(resnet='ResNet', vit='ViT', vit_msn='ViTMSN', dinov2='Dinov2', ijepa='IJepa',
                dinov2_with_registers='Dinov2WithRegisters')[family]  # yapf: disable
    size = facts.get('image_size', 32)
    options = {} if isinstance(size, int) else dict(size=size)
    model = getattr(transformers, f'{kind}Model')(getattr(transformers, f'{kind}Config')(**facts))
    model.load_state_dict(randomised(model.state_dict()))
    model.save_pretrained(tmp_path / 'theirs')
    weights = read_weights(tmp_path / 'theirs')
    ours = convert_weights(weights, **options)
    assert ours.source.name == 'huggingface' and all('pooler' in k or 'mask_token' in k for k in ours.left_out)
    assert 'dinov2' not in family or not ours.left_out
    kept = {key: value for key, value in weights.items() if key not in ours.left_out}
    assert_same(convert_weights(ours.weights, target='huggingface', **options).weights, kept)
    for conversion in (ours, convert_weights(ours.weights, 'mmssl', 'huggingface', **options)):
        for check in check_conversion(conversion)[0]:
            assert check.scale > 1 and check.relative <= 1e-5, check
    # names in memory, which transformers 5 changed
    assert_same(convert_weights(model.state_dict(), 'huggingface', **options).weights, ours.weights)
    # a folder that transformers opens by itself
    convert_file(tmp_path / 'theirs', tmp_path / 'again', target='huggingface', **options)
    again = transformers.AutoModel.from_pretrained(tmp_path / 'again').eval()
    images = photographs(size)
    with torch.no_grad():
        difference = again(images).last_hidden_state - model.eval()(images).last_hidden_state
    assert difference.abs().max() <= 1e-5 * 10  # its config states our constant of the norms, 1e-6 for 1e-12


class Detectron2Conv(nn.Conv2d):
    """As in detectron2: the norm is inside the convolution."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, bias=False, **kwargs)
        self.norm = nn.BatchNorm2d(self.out_channels)

    def forward(self, x):
        return self.norm(super().forward(x))


class Detectron2Bottleneck(nn.Module):

    def __init__(self, in_channels, mid, out, stride):
        super().__init__()
        if in_channels != out:
            self.shortcut = Detectron2Conv(in_channels, out, 1, stride=stride)
        self.conv1 = Detectron2Conv(in_channels, mid, 1)
        self.conv2 = Detectron2Conv(mid, mid, 3, stride=stride, padding=1)
        self.conv3 = Detectron2Conv(mid, out, 1)

    def forward(self, x):
        out = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return (out + (self.shortcut(x) if hasattr(self, 'shortcut') else x)).relu()


class Detectron2ResNet(nn.Module):
    """A ResNet-50 with detectron2's names, written from its documentation: detectron2 is no package to install."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = Detectron2Conv(3, 64, 7, stride=2, padding=3)
        channels = 64
        for i, count in enumerate((3, 4, 6, 3)):
            blocks = []
            for j in range(count):
                blocks.append(Detectron2Bottleneck(channels, 64 * 2**i, 256 * 2**i, 2 if i and not j else 1))
                channels = 256 * 2**i
            self.add_module(f'res{i + 2}', nn.Sequential(*blocks))

    def forward(self, x):
        x = F.max_pool2d(self.stem.conv1(x).relu(), 3, 2, 1)
        return self.res5(self.res4(self.res3(self.res2(x))))


def test_detectron2(tmp_path, run_tool):
    weights = randomised(torchvision.models.resnet50().state_dict())
    backbone = {f'backbone.{key}': value for key, value in weights.items() if not key.startswith('fc.')}
    torch.save(dict(state_dict={**backbone, 'queue': torch.rand(4, 4)}, meta=dict(epoch=1)), tmp_path / 'ours.pth')
    done = run_tool('tools/benchmarks/detectron2/convert-pretrain-to-detectron2.py', tmp_path / 'ours.pth',
                    tmp_path / 'r50.pkl')
    assert 'matched 318, left out 1, missing 0, unexpected 0' in done.stdout
    with open(tmp_path / 'r50.pkl', 'rb') as file:
        content = pickle.load(file)
    assert content['matching_heuristics'] is True and content['__author__'] == 'mmssl'
    assert all(type(value) is np.ndarray for value in content['model'].values())
    network = Detectron2ResNet()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in content['model'].items()}, strict=True)
    model = torchvision.models.resnet50()
    model.load_state_dict(weights)
    images = photographs(96)
    with torch.no_grad():
        expected = nn.Sequential(*list(model.eval().children())[:-2])(images)
        assert (network.eval()(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert_same(convert_weights(read_weights(tmp_path / 'r50.pkl')).weights, backbone)
    # of a detector trained with detectron2, saved by torch
    inside = {f'backbone.bottom_up.{key}': torch.from_numpy(value) for key, value in content['model'].items()}
    found = convert_weights({**inside, 'backbone.fpn_lateral2.weight': torch.rand(1), 'pixel_mean': torch.rand(3)})
    assert_same(found.weights, backbone)
    assert found.left_out == ['backbone.fpn_lateral2.weight', 'pixel_mean']


def replaced(name, *pairs):
    for pattern, by in pairs:
        name = re.sub(pattern, by, name)
    return name


@pytest.mark.long
def test_classyvision(tmp_path):
    """Its ResNet-50 and ResNeXt-50; where it is installed, it loads the file itself and gives the same outputs."""
    rules = [
        (r'^conv1', 'initial_block._module.0'),
        (r'^bn1', 'initial_block._module.1'),
        (r'\.bn3', '.bn'),
        (r'\.conv(\d)', lambda m: f'.convolutional_block.{3 * int(m[1]) - 3}'),
        (r'\.bn(\d)', lambda m: f'.convolutional_block.{3 * int(m[1]) - 2}'),
        (r'layer(\d)\.(\d+)', lambda m: f'blocks.{int(m[1]) - 1}.block{int(m[1]) - 1}-{m[2]}'),
    ]
    for build in (torchvision.models.resnet50, torchvision.models.resnext50_32x4d):
        weights = randomised(build().state_dict())
        weights = {key: value for key, value in weights.items() if not key.startswith('fc.')}
        torch.save(weights, tmp_path / 'theirs.pth')
        convert_file(tmp_path / 'theirs.pth', tmp_path / 'classy.pth', target='classyvision')
        trunk = torch.load(tmp_path / 'classy.pth')['classy_state_dict']['base_model']['model']['trunk']
        expected = {replaced(key, *rules): value for key, value in weights.items()}
        assert_same(trunk, expected)
        # with a head, as a training of VISSL or ClassyVision has it
        content = torch.load(tmp_path / 'classy.pth')
        content['classy_state_dict']['base_model']['model']['heads'] = {
            'block3-2': dict(a={'fc.weight': torch.ones(1)})
        }
        torch.save(content, tmp_path / 'classy.pth')
        back = convert_weights(read_weights(tmp_path / 'classy.pth'), target='torchvision')
        assert back.source.name == 'classyvision' and len(back.left_out) == 1
        assert_same(back.weights, weights)
        for check in check_conversion(back)[0]:
            assert check.scale > 1 and check.relative <= 1e-5, check
    models = pytest.importorskip('classy_vision.models')
    model = models.ResNeXt(num_blocks=[3, 4, 6, 3], base_width_and_cardinality=(4, 32))
    del content['classy_state_dict']['base_model']['model']['heads']['block3-2']
    model.set_classy_state(content['classy_state_dict']['base_model'])
    assert_same(dict(model.state_dict()), trunk)


@pytest.mark.parametrize('siamese', [False, True])
def test_caffe2(siamese, tmp_path, call_tool):
    """Blobs of a ResNet-50 as its trainer pickles them; for Jigsaw, nine branches that share their weights."""
    weights = randomised(torchvision.models.resnet50().state_dict())
    weights = {key: value for key, value in weights.items() if not key.startswith('fc.') and 'num' not in key}

    def blob(key):
        name = replaced(key, (r'^bn1', 'res_conv1_bn'), (r'layer(\d)', lambda m: f'res{int(m[1]) + 1}'),
                        (r'downsample\.0', 'branch1'), (r'downsample\.1', 'branch1_bn'),
                        (r'\.(conv|bn)(\d)', lambda m: '.branch2' + 'xabc'[int(m[2])] + ('_bn' * (m[1] == 'bn'))),
                        (r'running_mean', 'rm'), (r'running_var', 'riv'), (r'bias', 'b'),
                        (r'bn\.weight', 'bn.s'), (r'weight', 'w'))  # yapf: disable
        return name.replace('.', '_')

    blobs = {blob(key): value.numpy() for key, value in weights.items()}
    assert {'conv1_w', 'res_conv1_bn_riv', 'res2_0_branch1_bn_s', 'res5_2_branch2c_w'} < blobs.keys()
    if siamese:
        blobs = {re.sub(r'(_bn)?_(\w+)$', rf'_s{i}\1_\2', key): value
                 for i in range(9) for key, value in blobs.items()}  # yapf: disable
    count = len(blobs)
    blobs.update({f'{key}_momentum': value for key, value in list(blobs.items())[:3]})
    blobs.update(pred_w=np.ones((5, 2048), np.float32), pred_b=np.ones(5, np.float32), lr=np.ones(1, np.float32))
    with open(tmp_path / 'c2.pkl', 'wb') as file:
        pickle.dump(dict(blobs=blobs, cfg='MODEL: resnet'), file, protocol=2)
    done = call_tool(TOOL, tmp_path / 'c2.pkl', tmp_path / 'r50.pth', '--to', 'torchvision', '--bgr2rgb', '--check')
    assert 'layout caffe2' in done.stdout and f'left out {count + 6 - len(weights)}, missing 53' in done.stdout
    found = torch.load(tmp_path / 'r50.pth')
    assert_same({**found, 'conv1.weight': found['conv1.weight'].flip(1)}, weights)
    assert_same(convert_weights(read_weights(tmp_path / 'c2.pkl'), target='torchvision').weights, weights)
    gray = build_backbone(dict(type='ResNet', depth=18, in_channels=1)).state_dict()
    with pytest.raises(CheckpointError, match='for images of three channels, the first convolution takes 1'):
        convert_weights(gray, bgr2rgb=True)


def vissl_name(key):
    """What VISSL calls the weights of ClassyVision's RegNet."""
    key = re.sub(r'^trunk_output\.block(\d)\.', lambda m: f'res{int(m[1]) + 1}.', key)
    return 'trunk._feature_blocks.' + re.sub(r'^stem\.', 'conv1.', key)


@pytest.mark.long
def test_regnets(tmp_path):
    """SEER's trunks to torchvision, which failed in VISSL (issue 539), to timm and back, each by its own library."""
    regnet = pytest.importorskip('classy_vision.models.regnet')
    facts = dict(depth=16, w_0=48, w_a=27.89, w_m=2.09, group_width=8)
    weights = randomised(regnet.RegNet(regnet.RegNetParams(**facts)).state_dict())
    theirs = {vissl_name(key): value for key, value in weights.items()}
    trunk = {key.removeprefix('trunk.'): value for key, value in theirs.items()}
    model = dict(trunk=trunk, heads={'0.clf.0.weight': torch.ones(3)})
    torch.save(dict(classy_state_dict=dict(base_model=dict(model=model))), tmp_path / 'seer.torch')
    there = convert_weights(read_weights(tmp_path / 'seer.torch'), target='torchvision')
    assert (there.source.name, len(there.left_out)) == ('vissl', 1)
    assert there.cfg == dict(
        type='RegNet', arch='y-400mf', se_ratio=.25, in_channels=3, stem_channels=32, out_indices=(4, ))
    torchvision.models.regnet_y_400mf(num_classes=1).load_state_dict(
        {**there.weights, 'fc.weight': torch.ones(1, 440), 'fc.bias': torch.ones(1)})  # yapf: disable
    back = convert_weights(there.weights, target='classyvision')
    assert_same(back.weights, weights)
    for conversion in (there, back, convert_weights(weights, target='timm')):
        checks, reasons = check_conversion(conversion)
        assert not reasons and len(checks) == 2
        for check in checks:
            assert check.scale > 1 and check.relative <= 1e-5, check
    # RegNetX, and what is not published
    plain = convert_weights(randomised(timm.create_model('regnetx_002').state_dict()))
    assert plain.cfg['arch'] == dict(depth=13, w_0=24, w_a=36.44, w_m=2.49, group_width=8)
    assert plain.cfg['se_ratio'] == 0 and all(check.relative <= 1e-5 for check in check_conversion(plain)[0])
    tiny = dict(type='RegNet', arch=dict(depth=5, w_0=8, w_a=12., w_m=2., group_width=4))
    own = {f'backbone.{key}': value for key, value in randomised(build_backbone(tiny).state_dict()).items()}
    with pytest.raises(CheckpointError, match=r'no published RegNet has stages .*\(8, 4, 1\)'):
        convert_weights(own, target='timm')
    (tmp_path / 'config.py').write_text(f"model = dict(type='Classification', backbone={tiny})")
    made = convert_weights(own, target='timm', config=tmp_path / 'config.py')
    assert_same(made.weights, {key.removeprefix('backbone.timm_model.'): value for key, value in own.items()})
    assert all(check.relative <= 1e-5 for check in check_conversion(made)[0])


def alexnet_weights(variant):
    """Random ones by our names, without the counters that Caffe2 does not have."""
    return randomised(build_backbone(dict(type='AlexNet', variant=variant)).state_dict())


@pytest.mark.parametrize('variant, bgr', [('jigsaw', True), ('bvlc', True), ('colorization', False)])
def test_caffe2_alexnets(variant, bgr, tmp_path, call_tool):
    """Blobs of the AlexNets of 2019's benchmark: Jigsaw's nine branches, colorization, supervised."""
    weights = {key: value for key, value in alexnet_weights(variant).items() if 'num' not in key}

    def blob(key):
        name = replaced(key, (r'\.bn\.running_mean', 'norm_rm'), (r'\.bn\.running_var', 'norm_riv'),
                        (r'\.bn\.weight', 'norm_s'), (r'\.bn\.bias', 'norm_b'), (r'\.conv\.weight', '_w'),
                        (r'\.conv\.bias', '_b'))  # yapf: disable
        return name

    blobs = {blob(key): value.numpy() for key, value in weights.items()}
    assert {'conv1_w', 'conv5_b'} < blobs.keys() and ('conv3norm_riv' in blobs) == (variant != 'bvlc')
    if variant == 'jigsaw':
        blobs = {re.sub(r'_(\w+)$', rf'_s{i}_\1', key): value for i in range(9) for key, value in blobs.items()}
    blobs.update({f'{key}_momentum': value for key, value in list(blobs.items())[:3]})
    blobs.update(fc6_w=np.ones((5, 9), np.float32), pred_b=np.ones(5, np.float32), lr=np.ones(1, np.float32))
    with open(tmp_path / 'c2.pkl', 'wb') as file:
        pickle.dump(dict(blobs=blobs), file, protocol=2)
    options = ['--bgr2rgb'] if bgr else []
    done = call_tool(TOOL, tmp_path / 'c2.pkl', tmp_path / 'alexnet.pth', '--to', 'mmssl', '--check', *options)
    assert f'layout caffe2, by its names; {len(blobs)} tensors of an AlexNet ({variant})' in done.stdout
    assert re.search(r'largest difference [\d.e-]+ of outputs up to [\d.]+', done.stdout)
    found = torch.load(tmp_path / 'alexnet.pth')['state_dict']
    if bgr:
        found['backbone.conv1.conv.weight'] = found['backbone.conv1.conv.weight'].flip(1)
    assert_same(found, {f'backbone.{key}': value for key, value in weights.items()})
    conversion = convert_weights(read_weights(tmp_path / 'c2.pkl'), bgr2rgb=bgr)
    check, = check_conversion(conversion)[0]
    assert check.scale > .5 and check.relative <= 1e-5
    if not bgr:
        with pytest.raises(CheckpointError, match='for images of three channels, the first convolution takes 1'):
            convert_weights(read_weights(tmp_path / 'c2.pkl'), bgr2rgb=True)


# of our convolutions and norms, their numbers in the lists of layers of others
BLOCKS = dict(rotnet=['0', '2', '4', '5', '6'], deepcluster=['0', '4', '8', '11', '14'])


@pytest.mark.parametrize('source, variant', [('rotnet', 'rotnet'), ('deepcluster', 'deepcluster'), ('vissl', 'rotnet'),
                                             ('vissl', 'jigsaw'), ('vissl', 'deepcluster'), ('vissl', 'colorization'),
                                             ('vissl', 'bvlc')])
def test_alexnets_of_pytorch(source, variant, tmp_path):
    """The authors' files of RotNet and DeepCluster, and trunks of VISSL, with what stands behind the network."""
    weights = alexnet_weights(variant)

    def theirs(key):
        number, part, name = int(key[4]), key.split('.')[1], key.rpartition('.')[2]
        if source == 'deepcluster':
            layer = int(BLOCKS['deepcluster'][number - 1]) + (part == 'bn')
            return f'features.module.{layer}.{name}'
        prefix = 'trunk.' * (source == 'vissl')
        return f"{prefix}_feature_blocks.{BLOCKS['rotnet'][number - 1]}.{int(part == 'bn')}.{name}"

    named = {theirs(key): value for key, value in weights.items()}
    more = dict(
        rotnet=['_feature_blocks.8.1.weight', '_feature_blocks.9.0.bias'],
        deepcluster=['sobel.0.weight', 'classifier.1.weight', 'top_layer.bias'],
        vissl=['heads.0.clf.weight'] + ['trunk.sobel.0.weight'] * (variant == 'deepcluster'))[source]
    named.update({key: torch.ones(3) for key in more})
    content = dict(rotnet=dict(network=named, epoch=50), deepcluster=dict(state_dict=named, arch='alexnet'),
                   vissl=dict(model_state_dict=named))[source]  # yapf: disable
    torch.save(content, tmp_path / 'theirs.pth')
    conversion = convert_weights(read_weights(tmp_path / 'theirs.pth'))
    assert conversion.source.name == source and sorted(conversion.left_out) == sorted(more)
    assert conversion.cfg == dict(type='AlexNet', variant=variant, in_channels=3, out_indices=(7, ))
    assert_same(conversion.ours, {f'backbone.{key}': value for key, value in weights.items()})
    check, = check_conversion(conversion)[0]
    assert check.scale > .5 and check.relative <= 1e-5
    assert_same(convert_weights(conversion.weights, target='backbone').weights, weights)


def test_alexnets_that_others_do_not_have():
    weights = alexnet_weights('rotnet')
    for target in ('timm', 'mmcls'):
        with pytest.raises(CheckpointError, match='these weights are of the family alexnet'):
            convert_weights(weights, target=target)
    edges = {key: value for key, value in alexnet_weights('deepcluster').items()}
    edges['conv1.conv.weight'] = torch.randn(96, 3, 11, 11)
    cfg = convert_weights(edges).cfg
    assert cfg == dict(type='AlexNet', variant='deepcluster', sobel=False, in_channels=3, out_indices=(7, ))
    del edges['conv3.bn.weight']
    with pytest.raises(CheckpointError, match=r'no AlexNet has these channels.* \(1, 2, 4, 5\)'):
        convert_weights(edges)


def test_images_of_the_other_order():
    """The check gives each network the images that it takes."""
    weights = randomised(timm.create_model('vit_tiny_patch16_224', depth=1).state_dict())
    for check in check_conversion(convert_weights(weights, target='timm', bgr2rgb=True))[0]:
        assert check.scale > 1 and check.relative <= 1e-5, check


def dino_head(norm=None):
    """A head of DINO as its authors name it, and by our names."""
    neck = build_neck(
        dict(
            type='DINONeck',
            in_channels=8,
            channels=[6, 6, 4],
            out_channels=5,
            norm_cfg=norm and dict(type=norm),
            norm_last_layer=False))
    ours = randomised(neck.state_dict())

    def theirs(key):
        found = re.match(r'(fc|bn)(\d)\.', key)
        if not found:
            return key
        place = int(found[2]) * (3 if norm else 2) + (found[1] == 'bn')
        return f'mlp.{place}.{key[4:]}'

    return {theirs(key): value for key, value in ours.items()}, ours


def originals():
    """Checkpoints as the original code of each method writes them, of small networks; and what our names make of them.

    Yields:
        tuple: Layout, content of the file, backbone by our names, all else of it by our names, what is left out.
    """
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=3)
    weights = randomised(resnet.state_dict())
    plain = {key: value for key, value in weights.items() if not key.startswith('fc.')}
    bare = {f'backbone.{key}': value for key, value in plain.items()}

    def under(prefix, state=plain):
        return {prefix + key: value for key, value in state.items()}

    extra = {key: torch.rand(2, 2) for key in ('0.weight', '0.bias', '2.weight', '2.bias')}
    trained = dict(epoch=3, arch='resnet18', optimizer=dict(state={}, param_groups=[]))
    yield ('moco',
           dict(
               trained,
               state_dict={
                   **under('module.encoder_q.'),
                   **under('module.encoder_q.fc.', extra),
                   **under('module.encoder_k.'), 'module.queue': torch.rand(2, 2),
                   'module.queue_ptr': torch.tensor([1])
               }), bare, under('neck.mlp.', extra), 122)
    yield ('moco',
           dict(
               trained,
               state_dict={
                   **under('module.encoder_q.'), 'module.encoder_q.fc.weight': weights['fc.weight'],
                   'module.encoder_q.fc.bias': weights['fc.bias'],
                   **under('module.encoder_k.'), 'module.queue': torch.rand(2, 2)
               }), bare, {
                   'neck.fc.weight': weights['fc.weight'],
                   'neck.fc.bias': weights['fc.bias']
               }, 121)
    yield ('swav', {
        **under('module.'),
        **under('module.projection_head.', extra), 'module.prototypes.weight': extra['0.weight']
    }, bare, {
        **under('neck.projection_neck.', extra), 'head.prototypes.weight': extra['0.weight']
    }, 0)
    yield ('barlowtwins',
           dict(
               trained,
               model={
                   **under('module.backbone.'),
                   **under('module.projector.', extra), 'module.bn.running_mean': torch.rand(2)
               }), bare, {}, 5)
    yield ('simsiam',
           dict(
               trained,
               state_dict={
                   **under('module.encoder.'),
                   **under('module.encoder.fc.', extra),
                   **under('module.predictor.', extra)
               }), bare, {}, 8)
    yield ('mocov3',
           dict(
               trained,
               state_dict={
                   **under('module.base_encoder.'),
                   **under('module.base_encoder.fc.', extra),
                   **under('module.momentum_encoder.'),
                   **under('module.predictor.', extra)
               }), bare, {}, 128)
    yield ('openselfsup',
           dict(
               trained,
               state_dict={
                   **under('encoder_q.0.'),
                   **under('encoder_q.1.mlp.', extra),
                   **under('encoder_k.0.'), 'queue': torch.rand(2, 2)
               }), bare, {}, 125)
    for eval_prefix in ('', 'base_model.'):
        yield (
            'vissl',
            dict(
                classy_state_dict=dict(
                    base_model=dict(
                        model=dict(
                            trunk=under(eval_prefix +
                                        '_feature_blocks.'), heads={'0.clf.0.weight': torch.rand(2, 2)}))),
                iteration=5), bare, {}, 1)

    # a teacher, whose weights are taken, and a student; heads with batch norms and without
    for norm in (None, 'BN1d'):
        theirs, ours = dino_head(norm)
        yield ('dino',
               dict(
                   student=under('module.backbone.', {
                       key: value + 1
                       for key, value in plain.items()
                   }),
                   teacher={
                       **under('backbone.'),
                       **under('head.', theirs)
                   },
                   optimizer=dict(state={0: dict(exp_avg=torch.rand(2))}),
                   args=argparse.Namespace(arch='resnet18')), bare, under('neck.', ours), 0)
    theirs, ours = dino_head()
    # published: the network alone, that of iBOT with the token for masked patches
    weights = randomised(timm_vit().state_dict())
    vits = next(row for row in LAYOUTS if (row.name, row.family) == ('timm', 'vit'))
    backbone = to_ours(weights, vits).weights
    token = torch.rand(1, 128)
    yield 'dino', weights, backbone, {}, 0
    yield 'dino', dict(state_dict=dict(weights, masked_embed=token)), {
        **backbone, 'backbone.mask_token': token[None]
    }, {}, 0
    yield ('msn',
           dict(
               target_encoder={
                   **under('module.', weights), 'module.fc.fc1.weight': token
               },
               encoder=under('module.', plain),
               prototypes=token), backbone, {}, 1)
    # DINOv2 has long networks in chunks
    weights = randomised(timm_vit(init_values=0.1).state_dict())
    backbone = to_ours(weights, vits).weights
    for part in ('teacher.', ''):
        chunks = {re.sub(r'blocks\.(\d)', r'blocks.\1.\1', key): value for key, value in weights.items()}
        yield ('dino',
               dict(
                   model={
                       **under(part + 'backbone.', dict(chunks, mask_token=token)),
                       **under(part + 'dino_head.', theirs),
                       **under('student.' * bool(part) + 'ibot_head.', extra)
                   }), {
                       **backbone, 'backbone.mask_token': token[None]
                   }, under('neck.', ours), 4)
    vit = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=192, depth=2, num_heads=12, num_classes=0)
    weights = randomised(vit.state_dict())
    backbone = to_ours(weights, next(row for row in LAYOUTS if (row.name, row.family) == ('timm', 'vit'))).weights
    yield ('mocov3',
           dict(
               trained,
               state_dict={
                   **under('module.base_encoder.', weights),
                   **under('module.base_encoder.head.', extra),
                   **under('module.momentum_encoder.', weights),
                   **under('module.predictor.', extra)
               }), backbone, {}, 8 + len(weights))
    weights = randomised(timm_swin().state_dict())
    weights = {key: value for key, value in weights.items() if not key.startswith('head.')}
    timms = next(row for row in LAYOUTS if (row.name, row.family) == ('timm', 'swin'))
    backbone = to_ours(weights, timms).weights
    # the original code puts the merging of patches behind the blocks of a stage, timm before those of the next one
    original = {
        key.replace(f'layers.{i}.downsample', f'layers.{i - 1}.downsample'): value
        for key, value in weights.items()
        for i in [int(key.split('.')[1]) if 'layers' in key else 0]
    }
    token = torch.rand(1, 1, 24)
    yield ('simmim',
           dict(
               trained,
               model={
                   **under('encoder.', original), 'encoder.mask_token': token,
                   'encoder.layers.0.blocks.0.attn.relative_position_index': torch.zeros(49, 49).long(),
                   'encoder.layers.0.blocks.1.attn_mask': torch.zeros(1),
                   'decoder.0.weight': token
               }), {
                   **backbone, 'backbone.mask_token': token
               }, {}, 3)


ORIGINALS = [(name, i) for i, (name, *_) in enumerate(originals())]


@pytest.mark.parametrize('name, i', ORIGINALS)
def test_original_checkpoints(name, i, tmp_path):
    _, content, backbone, others, left_out = list(originals())[i]
    torch.save(content, tmp_path / 'original.pth.tar')
    weights = read_weights(tmp_path / 'original.pth.tar')
    guessed, as_well = guess_layout(weights)
    # trainings with Barlow Twins, and with DINO and a ResNet, have names as one of ours has
    assert name in (guessed.name, *as_well) or (name, guessed.name) == ('dino', 'mmssl')
    found = convert_weights(weights, name)
    assert len(found.left_out) == left_out
    assert_same(found.weights, {**backbone, **others})
    check, = check_conversion(found)[0]
    assert check.scale > 1 and check.relative <= 1e-5, check
    with pytest.raises(CheckpointError, match=f'the layout {name} is read only'):
        convert_weights(weights, target=name)


def test_the_student_is_asked_for(tmp_path, capsys):
    """Of a teacher and a student the teacher is taken, and said; marks of torch.compile and of wrappers fall off."""
    teacher = randomised(timm_vit(class_token=False, global_pool='').state_dict())
    student = {key: value + 1 for key, value in teacher.items()}
    wrapped = {f'module._orig_mod.{key}'.replace('blocks.', 'blocks._orig_mod.'): v for key, v in student.items()}
    torch.save(dict(encoder=wrapped, target_encoder=teacher, opt=dict(state={})), tmp_path / 'ijepa.pth')
    for place, expected in ((None, teacher), ('encoder', student)):
        convert_file(tmp_path / 'ijepa.pth', tmp_path / 'o.pth', target='timm', state_dict_key_name=place, check=True)
        assert_same(torch.load(tmp_path / 'o.pth'), expected)
        assert ('of the part target_encoder (--state-dict-key-name' in capsys.readouterr().out) == (place is None)
    with pytest.raises(CheckpointError, match='the layout torchvision has no network without cls_token'):
        convert_file(tmp_path / 'ijepa.pth', tmp_path / 'o.pth', target='torchvision')


def test_what_is_inside_of_the_network_is_not_skipped(tmp_path):
    """The check would compare a network without them with another one without them."""
    weights = randomised(timm_vit(init_values=0.1).state_dict())
    gated = {**randomised(timm_vit().state_dict()), 'blocks.0.gate.weight': torch.ones(1), 'reg_token': torch.ones(1)}
    head = {'aux.0.weight': torch.ones(3)}
    for given, skipped, refused in ((weights, ['ls1', 'ls2'], r'4 \(blocks.0.ls1.gamma, '),
                                    (weights, ['norm.'], r'2 \(norm.weight, norm.bias\)'),
                                    (gated, ['gate', 'reg_'], r'2 \(blocks.0.gate.weight, reg_token\)'), ({
                                        **weights,
                                        **head
                                    }, ['aux'], None)):
        torch.save(given, tmp_path / 'in.pth')
        if refused is None:
            convert_file(tmp_path / 'in.pth', tmp_path / 'out.pth', skip_layers=skipped, check=True)
            continue
        with pytest.raises(CheckpointError, match=f'--skip-layers would leave out {refused}.* of the network itself'):
            convert_file(tmp_path / 'in.pth', tmp_path / 'out.pth', skip_layers=skipped, check=True)
        assert not (tmp_path / 'out.pth').exists()
    done = convert_weights(randomised(timm_vit().state_dict()))
    done.read = gated
    with pytest.raises(CheckpointError, match='blocks.0.gate.weight is inside of the network'):
        check_conversion(done)


@pytest.mark.long
def test_the_check_runs_the_backbone_of_the_config(tmp_path):
    """Weights do not tell the stride that the caffe style has in another place: its outputs are not torchvision's."""
    torch.save(randomised(torchvision.models.resnet50().state_dict()), tmp_path / 'r50.pth')
    for style in ('pytorch', 'caffe'):
        config = tmp_path / f'{style}.py'
        config.write_text(
            "model = dict(type='Classification', backbone=dict(type='ResNet', depth=50, out_indices=[0, 4], "
            f"style='{style}', frozen_stages=1))")
        options = dict(config=config, check=True, size=(64, 96))
        if style == 'pytorch':
            convert_file(tmp_path / 'r50.pth', tmp_path / 'out.pth', **options)
            (tmp_path / 'out.pth').unlink()
            continue
        with pytest.raises(CheckpointError, match='outputs of mmssl ResNet differ by'):
            convert_file(tmp_path / 'r50.pth', tmp_path / 'out.pth', **options)
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('backbone', [
    dict(model_name='convnext_atto'),
    dict(model_name='mobilenetv3_small_050', features_only=True, out_indices=(1, 2)),
    dict(model_name='swin_tiny_patch4_window7_224', embed_dim=24, num_heads=(1, 2, 3, 4), depths=(1, 1, 1, 1)),
    dict(model_name='beit_base_patch16_224', embed_dim=24, num_heads=2, depth=1),
], ids=lambda cfg: cfg['model_name'])  # yapf: disable
def test_any_network_of_timm_goes_back(backbone, tmp_path, capsys):
    """What a training with TIMMBackbone holds loads into the network of timm of the same arguments."""
    backbone = dict(backbone, type='TIMMBackbone')
    (tmp_path / 'config.py').write_text(f"model = dict(type='Classification', backbone={backbone})")
    weights = {
        f'backbone.{key}': value
        for key, value in randomised(build_backbone(dict(backbone)).state_dict()).items()
    }
    torch.save(dict(state_dict={**weights, 'head.fc.weight': torch.ones(2)}), tmp_path / 'in.pth')
    convert_file(tmp_path / 'in.pth', tmp_path / 'out.pth', target='timm', config=tmp_path / 'config.py', check=True)
    assert 'left out 1, missing 0' in capsys.readouterr().out
    assert_same(torch.load(tmp_path / 'out.pth'),
                {key.removeprefix('backbone.timm_model.'): value for key, value in weights.items()})  # yapf: disable
    if backbone['model_name'] == 'convnext_atto':
        with pytest.raises(CheckpointError, match='nothing matches .*; --config names what a TIMMBackbone wraps'):
            convert_weights(weights, target='timm')


def test_sizes_that_do_not_fit():
    weights = timm_vit(img_size=(32, 48)).state_dict()
    for size, words in ((None, 'which are no square: give height and width'), ((48, 48), 'of 48 x 48 have others'),
                        ((30, 48), 'of 30 x 48 have others')):  # yapf: disable
        with pytest.raises(CheckpointError, match=f'pos_embed is for 24 patches and a class token.*{words}'):
            convert_weights(weights, size=size)
    with pytest.raises(CheckpointError, match=r'torchvision has no ViT for images that are not square, \(32, 48\)'):
        convert_weights(weights, target='torchvision', size=(32, 48))


def attention(x, weights, prefix, heads):
    """Softmax attention by the formula; x is B x N x D."""
    qkv = F.linear(x, weights[f'{prefix}.qkv.weight'], weights[f'{prefix}.qkv.bias'])
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
    x = (q @ k.transpose(-1, -2) / q.shape[-1]**0.5).softmax(-1) @ v
    return F.linear(x.transpose(1, 2).flatten(2), weights[f'{prefix}.proj.weight'], weights[f'{prefix}.proj.bias'])


def mae_blocks(x, weights, prefix, depth, heads):

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias'], 1e-6)

    for i in range(depth):
        name = f'{prefix}blocks.{i}'
        x = x + attention(norm(x, f'{name}.norm1'), weights, f'{name}.attn', heads)
        y = F.linear(norm(x, f'{name}.norm2'), weights[f'{name}.mlp.fc1.weight'], weights[f'{name}.mlp.fc1.bias'])
        x = x + F.linear(F.gelu(y), weights[f'{name}.mlp.fc2.weight'], weights[f'{name}.mlp.fc2.bias'])
    return norm(x, f'{prefix}norm')


def test_mae_with_its_decoder(tmp_path):
    """Encoder and decoder against the paper's formulas on the original names: all pixels of two photographs."""
    encoder = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=128, depth=2, num_heads=2, num_classes=0)
    decoder = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=4, num_classes=0)
    weights = dict(encoder.state_dict(), mask_token=torch.empty(1, 1, 64), decoder_pos_embed=torch.empty(1, 17, 64))
    weights.update({f'decoder_{key}': value for key, value in decoder.state_dict().items()
                    if key.startswith(('blocks', 'norm'))})  # yapf: disable
    weights.update({
        'decoder_embed.weight': torch.empty(64, 128),
        'decoder_embed.bias': torch.empty(64),
        'decoder_pred.weight': torch.empty(192, 64),
        'decoder_pred.bias': torch.empty(192)
    })
    weights = randomised(weights)
    torch.save(dict(model=weights, epoch=5), tmp_path / 'mae.pth')
    found = convert_weights(read_weights(tmp_path / 'mae.pth'))
    assert found.source.name == 'mae' and not found.left_out and len(found.weights) == len(weights)
    assert_same(convert_weights(found.weights, target='mae').weights, weights)
    assert found.weights['neck.mask_token'] is not found.weights.get('backbone.mask_token')

    images = photographs(32)
    tokens = F.conv2d(images, weights['patch_embed.proj.weight'], weights['patch_embed.proj.bias'], stride=8)
    tokens = tokens.flatten(2).transpose(1, 2) + weights['pos_embed'][:, 1:]
    cls = (weights['cls_token'] + weights['pos_embed'][:, :1]).expand(2, -1, -1)
    latent = mae_blocks(torch.cat((cls, tokens), 1), weights, '', 2, 2)
    x = F.linear(latent, weights['decoder_embed.weight'], weights['decoder_embed.bias'])
    # of 16 patches the last ten are masked
    x = torch.cat((x[:, :7], weights['mask_token'].expand(2, 10, -1)), 1) + weights['decoder_pos_embed']
    x = mae_blocks(x, weights, 'decoder_', 2, 4)
    expected = F.linear(x, weights['decoder_pred.weight'], weights['decoder_pred.bias'])[:, 1:]

    backbone = build_backbone(found.cfg)
    load_weights(backbone, found.weights, prefix='backbone.', strict=True)
    neck = build_neck(
        dict(
            type='MAEPretrainDecoder',
            num_patches=16,
            patch_size=8,
            embed_dim=128,
            decoder_embed_dim=64,
            decoder_depth=2,
            decoder_num_heads=4))
    load_weights(neck, found.weights, prefix='neck.', strict=True)
    with torch.no_grad():
        maps, token = backbone.eval()(images)[-1]
        ours = torch.cat((token[:, None], maps.flatten(2).transpose(1, 2)), 1)
        pixels = neck.eval()(ours[:, :7], torch.arange(16).expand(2, -1))
    for a, b in ((ours, latent), (pixels, expected)):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_every_row_goes_both_ways():
    for layout in LAYOUTS:
        ours = [re.sub(r'{(.)}', lambda m: 'weight' if m[1] == 'p' else '1', row[0]) for row in layout.rows]
        ours = [name.replace('norm_last', 'norm1') for name in ours]  # there is a stage of the number 1
        weights = {
            name: torch.rand((1, 12, 12) if 'token' in name or 'pos_embed' in name else (12, 12))
            for name in ours if '{' not in name
        }
        if not layout.class_position:
            weights['backbone.pos_embed'][:, 0] = 0
        there = from_ours(weights, layout)
        assert not there.unexpected
        assert_same(to_ours(there.weights, layout).weights, weights)


def test_a_training_of_ours_begins_with_them(tmp_path):
    """What --to mmssl writes loads into an algorithm, projector and all."""
    weights = next(originals())
    torch.save(weights[1], tmp_path / 'moco.pth')
    config = tmp_path / 'config.py'
    config.write_text("model = dict(type='MoCo', queue_len=16, feat_dim=2, backbone=dict(type='ResNet', depth=18), "
                      "neck=dict(type='MoCoV2Neck', in_channels=2, hid_channels=2, out_channels=2), "
                      "head=dict(type='ContrastiveHead'))")
    # the little projector of this file does not fit: it is left out, and said
    from mmssl.utils.config import load_config
    model = build_algorithm(load_config(config).model)
    ours = convert_weights(read_weights(tmp_path / 'moco.pth'), config=config)
    assert [key for key in ours.left_out if key.startswith('neck.')] == ['neck.mlp.0.bias', 'neck.mlp.2.bias']
    convert_file(tmp_path / 'moco.pth', tmp_path / 'ours.pth', config=config)
    report = load_weights(model, str(tmp_path / 'ours.pth'))
    assert not report.unexpected and not report.mismatched
    assert not [key for key in report.missing if key.startswith('backbone.')]


def test_options_of_vissl():
    """CK-01 to CK-06: the key of the weights, names skipped, prefix removed first and appended then."""
    weights = dict(a=torch.zeros(1), **{'x.conv.weight': torch.ones(1), 'x.bn.num_batches_tracked': torch.ones(1)})
    found = rename_weights(weights, ['num_batches_tracked'], 'x.', 'trunk.base_model.')
    assert list(found) == ['trunk.base_model.a', 'trunk.base_model.conv.weight']
    with pytest.raises(CheckpointError, match="no name begins with 'y.'; they are a, x.conv.weight"):
        rename_weights(weights, remove_prefix='y.')
    with pytest.raises(CheckpointError, match="no name contains 'bnn'; they are a, x.conv.weight"):
        rename_weights(weights, ['conv', 'bnn'])
    with pytest.raises(CheckpointError, match='every name contains one of a'):
        rename_weights(dict(a=torch.zeros(1)), ['a'])
    resnet = torchvision.models.resnet18().state_dict()
    # a torchvision file in VISSL's trunk
    inside = rename_weights(resnet, ['fc.', 'num_batches_tracked'], '', 'trunk._feature_blocks.')
    found = convert_weights(inside, 'vissl', 'torchvision')
    assert_same(found.weights, {k: v for k, v in resnet.items() if not k.startswith('fc.') and 'num' not in k})
    assert len(found.missing) == 20  # the counters


class Bomb:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path), )


@pytest.mark.long
def test_bad_files(tmp_path):
    """Code in a file does not run, torn files are told, and nothing is written."""
    weights = torchvision.models.resnet18().state_dict()
    arrays = dict(model={key: value.numpy() for key, value in weights.items()}, __author__='x')
    torch.save(weights, tmp_path / 'good.pth')
    write_weights(weights, tmp_path / 'good.safetensors', 'torchvision')
    (tmp_path / 'good.pkl').write_bytes(pickle.dumps(arrays))
    for suffix in ('pth', 'safetensors', 'pkl'):
        good = tmp_path / f'good.{suffix}'
        assert_same(read_weights(good), weights)
        for share in (0.3, 0.99):
            torn = tmp_path / f'torn.{suffix}'
            torn.write_bytes(good.read_bytes()[:int(good.stat().st_size * share)])
            with pytest.raises(CheckpointError, match='torn or no|no pickle of arrays'):
                convert_file(torn, tmp_path / 'out.pth')
        with pytest.raises(FileNotFoundError, match=f'nowhere.{suffix} does not exist'):
            convert_file(tmp_path / f'nowhere.{suffix}', tmp_path / 'out.pth')
    for protocol in range(6):
        bomb = dict(arrays, extra=Bomb(tmp_path / 'ran'))
        (tmp_path / 'bomb.pkl').write_bytes(pickle.dumps(bomb, protocol))
        with pytest.raises(CheckpointError, match=r'object of type \w+.mkdir, and loading it could run foreign code'):
            convert_file(tmp_path / 'bomb.pkl', tmp_path / 'out.pth')
        content = OrderedDict(a=[1, 'x', None], b=np.float32(2), c=np.arange(3), d=np.ones((2, 3))[:, ::2])
        (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(content, protocol))
        found = read_array_pickle(tmp_path / 'plain.pkl')
        assert found['a'] == [1, 'x', None] and found['b'] == 2 and found['c'].tolist() == [0, 1, 2]
        assert found['d'].shape == (2, 2)
    torch.save(dict(weights, extra=Bomb(tmp_path / 'ran')), tmp_path / 'bomb.pth')
    with pytest.raises(CheckpointError, match='could run foreign code'):
        convert_file(tmp_path / 'bomb.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'ran').exists() and not (tmp_path / 'out.pth').exists()
    assert not list(tmp_path.glob('*.tmp'))


@pytest.mark.long
def test_what_does_not_fit(tmp_path):
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, tmp_path / 'r18.pth')

    def refused(message, change=None, **options):
        torch.save(weights if change is None else change, tmp_path / 'in.pth')
        with pytest.raises(ConfigError, match=message):
            convert_file(tmp_path / 'in.pth', tmp_path / 'out.pth', **options)
        assert not (tmp_path / 'out.pth').exists()

    refused('nothing matches any layout: the weights are named net.conv1.weight', {
        f'net.{key}': value
        for key, value in weights.items()
    })
    refused('nothing matches the layout mocov3: the weights are named conv1.weight', source='mocov3')
    refused("there is no layout 'torchvison'; did you mean 'torchvision'", source='torchvison')
    refused("there is no layout 'tim'; did you mean 'timm'", target='tim')
    refused('the layout swin is for swin; these weights are of the family resnet', target='swin')
    refused('lacks 1 \\(layer2.0.conv2.weight\\) of the 120 weights of the network that these',
            {k: v for k, v in weights.items() if k != 'layer2.0.conv2.weight'})  # yapf: disable
    refused('does not know 1 \\(layer1.0.se.fc1.weight\\) of the 123 names', {
        **weights, 'layer1.0.se.fc1.weight': torch.rand(4, 4)
    })
    refused('differ in shape, such as layer1.1.conv2.weight', {
        **weights, 'layer1.1.conv2.weight': torch.rand(64, 64, 1, 1)
    })
    refused('has no 1 \\(layer1.1.conv3.weight\\)', {**weights, 'layer1.1.conv3.weight': torch.rand(64, 64, 1, 1)})
    refused('no ResNet has as many blocks', {k: v for k, v in weights.items() if not k.startswith('layer1.1')})
    refused('has no weights; its keys are epoch', dict(epoch=torch.tensor(0).item()))
    refused("has no weights under 'network'; its keys are conv1.weight", state_dict_key_name='network')
    config = tmp_path / 'config.py'
    config.write_text("model = dict(type='Classification', backbone=dict(type='ResNet', depth=50))")
    refused(
        'another architecture: .* differ in shape, such as layer1.0.conv1.weight, \\(64, 64, 3, 3\\) in the file and '
        '\\(64, 64, 1, 1\\) in the backbone of',
        config=config)
    vit = timm.create_model('vit_tiny_patch16_224', depth=1).state_dict()
    refused(
        'qkv.bias is made of 3 tensors, of which there are only', {
            key: value
            for key, value in convert_weights(vit, target='huggingface').weights.items() if 'key.bias' not in key
        },
        source='huggingface')
    for output, target in (('out.pkl', 'torchvision'), ('out.pth', 'detectron2'), ('out', 'mmssl')):
        with pytest.raises(CheckpointError, match='detectron2 takes|has no suffix'):
            convert_file(tmp_path / 'r18.pth', tmp_path / output, target=target)


def test_tool(tmp_path, run_tool, call_tool):
    """The commands of the docs."""
    torch.save(randomised(torchvision.models.resnet18().state_dict()), tmp_path / 'r18.pth')
    done = run_tool(TOOL, tmp_path / 'r18.pth', tmp_path / 'ours.pth', '--to', 'mmssl', '--check')
    assert 'layout torchvision, by its names (as in timm); 122 tensors of a ResNet-18' in done.stdout
    assert 'matched 122, left out 0, missing 0, unexpected 0' in done.stdout
    assert 'mmssl ResNet against torchvision ResNet-18: largest difference' in done.stdout
    found = torch.load(tmp_path / 'ours.pth')['state_dict']
    assert 'backbone.layer4.1.bn2.running_var' in found and 'head.fc_cls.weight' in found
    done = call_tool(TOOL, tmp_path / 'r18.pth', tmp_path / 'no.pth', '--to', 'mmssl', '--check', '--tolerance', '-1',
                     check=False)  # yapf: disable
    assert done.returncode and 'is not written' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'no.pth').exists()


def test_guess_counts_what_has_a_place():
    weights = {f'base_encoder.{key}': value for key, value in torchvision.models.resnet18().state_dict().items()}
    assert guess_layout(weights)[0].name == 'mocov3'
    assert set(READ_ONLY) < {layout.name for layout in LAYOUTS}

"""Attention of the class token against a naive computation from what enters the layer."""
import math
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import linear

from mmssl.apis import init_model
from mmssl.evaluation.attention import class_attention, mass_mask, overlay
from mmssl.models import build_backbone
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/analysis_tools/visualize_attention.py'
VIT = dict(
    arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32), img_size=(24, 32), patch_size=8)
KINDS = dict(
    mocov3=dict(type='VisionTransformer'),
    mae=dict(type='MAEViT'),
    cae=dict(type='CAEViT', qkv_bias=False, init_values=0.1),
    maskfeat=dict(type='MaskFeatViT'),
    finetune=dict(type='MIMVisionTransformer', use_window=True, final_norm=False, init_values=0.1))


def naive(attn, x):
    """Softmax weights of the class token for the patches, head by head; B x heads x L."""
    dims = attn.proj.out_features
    bias = attn.qkv.bias
    if bias is None:
        bias = torch.cat((attn.q_bias, torch.zeros(dims), attn.v_bias))
    q, k, _ = linear(x, attn.qkv.weight, bias).split(dims, 2)
    size = dims // attn.num_heads
    heads = []
    for h in range(attn.num_heads):
        part = slice(h * size, (h + 1) * size)
        scores = (q[:, :1, part] * k[..., part]).sum(2) / math.sqrt(size)  # of the class token, B x (L + 1)
        if attn.bias() is not None:
            scores = scores + attn.bias()[h, 0]
        heads.append(scores.exp() / scores.exp().sum(1, keepdim=True))
    return torch.stack(heads, 1)[..., 1:]


@pytest.mark.parametrize('layer', [0, 1, -1])
@pytest.mark.parametrize('kind', KINDS)
def test_attention_of_each_layer(kind, layer):
    """Of what a hook sees entering the layer while features are extracted; relative positions included."""
    backbone = build_backbone({**VIT, **KINDS[kind]}).eval()
    for parameter in backbone.parameters():  # nothing shall hide behind zeros
        nn.init.normal_(parameter, std=0.3)
    seen = []
    backbone.layers[layer].attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    img = torch.randn(2, 3, 24, 32)
    with torch.no_grad():
        backbone.extract_feat(img)
        expected = naive(backbone.layers[layer].attn, seen[0]).unflatten(2, (3, 4))
    maps = class_attention(backbone, img, layer)
    assert maps.shape == (2, 2, 3, 4) and (maps.sum((2, 3)) < 1).all()
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


def test_other_sizes():
    """Positions are interpolated, except where a relative position bias is one of a fixed grid."""
    backbone = build_backbone(dict(VIT, **KINDS['mae'])).eval()
    assert class_attention(backbone, torch.randn(1, 3, 48, 40)).shape == (1, 2, 6, 5)
    img = torch.randn(1, 3, 24, 32)
    with pytest.raises(ConfigError, match=r'layer must be numbers from -3 to 2 .*, got \[3\]'):
        class_attention(backbone, img, 3)
    fixed = build_backbone(dict(VIT, **KINDS['finetune'])).eval()
    with pytest.raises(ConfigError, match=r'set img_size'):
        class_attention(fixed, torch.randn(1, 3, 48, 40))


@pytest.mark.parametrize('channels', [1, 3])
def test_overlay(photographs, channels):
    """Each cell has the colour of its value over the grey of the image."""
    image = photographs[0][:6, :8, :channels]
    attention = np.array([[0.1, 0.2], [0., 0.4], [0.3, 0.1]])
    drawn = overlay(image, attention)
    for row in range(6):
        for column in range(8):
            color = matplotlib.colormaps['inferno'](attention[row // 2, column // 4] / 0.4)[:3]
            expected = 0.3 * image[row, column].mean() + 0.7 * 255 * np.array(color)
            assert np.abs(drawn[row, column] - expected).max() <= 0.51
    assert np.array_equal(overlay(image, 8 * attention), drawn)  # scaled by its maximum


def write(folder, name, model, data=None, weights=None):
    """Files of a config and of initial weights, or of these."""
    norm = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    (folder / f'{name}.py').write_text(f'model = {model!r}\ndata = {dict(train=data)!r}\nimg_norm_cfg = {norm!r}\n')
    weights = weights or init_model(str(folder / f'{name}.py'), device='cpu').state_dict()
    torch.save(dict(state_dict=weights), folder / f'{name}.pth')
    return folder / f'{name}.py', folder / f'{name}.pth'


def run(monkeypatch, *argv):
    """The tool in this process; what it draws, by file."""
    from mmssl.evaluation import plots
    drawn = {}
    draw = plots.plot_views
    monkeypatch.setattr(plots, 'plot_views',
                        lambda samples, path, *a, **k: drawn.update({path: samples}) or draw(samples, path, *a, **k))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, argv)])
    runpy.run_path(str(ROOT / TOOL))['main']()
    return drawn


@pytest.fixture(scope='module')
def mocov3(tmp_path_factory, photo_folder):
    neck = dict(type='NonLinearNeck', in_channels=16, hid_channels=8, out_channels=8, vit_backbone=True)
    predictor = dict(type='NonLinearNeck', in_channels=8, hid_channels=8, out_channels=8)
    model = dict(
        type='MoCoV3',
        backbone=dict(VIT, type='VisionTransformer', img_size=32),
        neck=neck,
        head=dict(type='MoCoV3Head', predictor=predictor))
    views = dict(
        type='MultiViewDataset',
        data_source=dict(type='Folder', data_prefix=str(photo_folder)),
        num_views=[2],
        pipelines=[[dict(type='RandomResizedCrop', size=48)]],
        prefetch=True)
    torch.manual_seed(1)
    return write(tmp_path_factory.mktemp('mocov3'), 'mocov3', model, views)


def test_the_tool(mocov3, run_tool, photo_folder, tmp_path):
    """A photograph in another size than the training's."""
    done = run_tool(TOOL, photo_folder / 'flower/03.jpg', *mocov3, '--out-file', tmp_path / 'a.png', '--size', 64, 48,
                    '--layer', 1)
    assert f'1 images, 2 heads of layer 1: {tmp_path}/a.png' in done.stdout
    width, height = Image.open(tmp_path / 'a.png').size
    assert width > 4 * 0.75 * 130 and height > 130  # the image, the mean and two heads


def test_what_is_drawn(mocov3, monkeypatch, tmp_path):
    """First views of samples, and over them the mean and each head."""
    samples = run(monkeypatch, *mocov3, '--idx', 3, 20, '--out', tmp_path / 'a.png')[str(tmp_path / 'a.png')]
    assert [stored.caption for stored, _ in samples] == ['03.jpg\nsample 3', '08.jpg\nsample 20']
    model = init_model(*map(str, mocov3), device='cpu')
    norm = model.cfg.img_norm_cfg
    for stored, (((*tiles, ), ), ) in samples:
        img = (stored.image / 255 - norm['mean']) / norm['std']
        heads = class_attention(model.backbone, torch.tensor(img).permute(2, 0, 1)[None].float())[0]
        expected = [heads.mean(0), *heads]
        assert stored.image.shape == (48, 48, 3) and heads.shape == (2, 6, 6)
        for tile, attention, title in zip(tiles, expected, ('mean', 'head 0', 'head 1'), strict=True):
            assert tile.caption == f'{title}: up to {attention.max():.1%}'
            assert np.abs(tile.image.astype(int) - overlay(stored.image, attention)).max() <= 1


def test_classifier_on_what_was_pre_trained(photo_folder, monkeypatch, tmp_path):
    """Weights of a backbone alone, as MAE learned them, in a MIMVisionTransformer that classifies."""
    backbone = dict(VIT, type='MIMVisionTransformer', img_size=32)
    pretrained = build_backbone(dict(VIT, type='MAEViT', img_size=32))
    pretrained.init_weights()
    files = write(tmp_path, 'finetune', dict(type='Classification', backbone=backbone), None, pretrained.state_dict())
    (_, (((mean, *_), ), )), = run(monkeypatch, photo_folder / 'china/05.jpg', *files,
                                   tmp_path / 'b.png')[str(tmp_path / 'b.png')]
    image = np.asarray(Image.open(photo_folder / 'china/05.jpg').resize((42, 32), Image.BICUBIC))[:, 5:37]
    img = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = class_attention(pretrained, torch.tensor(img).permute(2, 0, 1)[None].float())[0].mean(0)
    assert np.abs(mean.image.astype(int) - overlay(image, expected)).mean() < 2


@pytest.mark.parametrize('options, message', [
    (['--layer', '3'], r'layer must be numbers from -3 to 2 \(-1 is the last layer\), got \[3\]'),
    (['--size', '36'], 'images of 36 x 36 pixels have no whole number of patches of 8 x 8'),
])  # yapf: disable
def test_errors(mocov3, photo_folder, monkeypatch, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(monkeypatch, photo_folder, *mocov3, *options, '--out-file', tmp_path / 'a.png')


def test_networks_without_a_class_token(monkeypatch, tmp_path, photo_folder):
    resnet = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4)
    files = write(tmp_path, 'resnet', dict(type='Classification', backbone=resnet))
    with pytest.raises(ConfigError, match='a ResNet has no class token that attends to patches'):
        run(monkeypatch, photo_folder, *files)


def test_patches_of_a_share_of_the_attention(mocov3, monkeypatch, tmp_path):
    """As few patches as have it, by a loop; the others show the image alone."""
    attention = np.array([[0.1, 0.4, 0.1], [0.25, 0.05, 0.1]], np.float32)
    for mass, count in ((0.3, 1), (0.6, 2), (0.7, 3), (1., 6)):
        mask = mass_mask(attention, mass)
        assert mask.sum() == count and attention[mask].min() >= attention[~mask].max(initial=0)
    for wrong in (0., 1.5, float('nan')):
        with pytest.raises(ConfigError, match='above 0 and at most 1'):
            mass_mask(attention, wrong)
    samples = run(monkeypatch, *mocov3, '--idx', 3, '--mass', 0.5, '--out', tmp_path / 'a.png')[str(tmp_path / 'a.png')]
    (stored, (((mean, *_), ), )), = samples
    grey = np.repeat(np.round(stored.image.mean(2, keepdims=True)), 3, 2)
    plain = (np.abs(mean.image - grey) <= 1).all(2).mean()
    assert re.fullmatch(r'mean: 50% on (\d+)% of the image', mean.caption) and 0.4 < plain < 0.95

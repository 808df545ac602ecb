# Copyright (c) mmssl contributors. All rights reserved.
"""Weights of a network on RGB in one on other channels."""
import pytest
import torch

from mmssl.models import build_algorithm, build_backbone
from mmssl.utils import CheckpointError, inflate, load_weights
from mmssl.utils.errors import ConfigError

_VIT = dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64)
_SWIN = dict(embed_dims=32, depths=[1, 1], num_heads=[1, 2])
BACKBONES = {
    'resnet': (dict(type='ResNet', depth=18, norm_eval=True), 'in_channels'),
    'deep stem': (dict(type='ResNetV1d', depth=18), 'in_channels'),
    'vit': (dict(type='VisionTransformer', arch=_VIT, img_size=32, patch_size=16), 'in_channels'),
    'swin': (dict(type='SwinTransformer', arch=_SWIN, img_size=32, out_indices=(1, )), 'in_channels'),
    'timm': (dict(type='TIMMBackbone', model_name='resnet10t'), 'in_channels')
}  # yapf: disable


def maps(network, img):
    network.eval()
    with torch.no_grad():
        return network(img)[-1]


@pytest.mark.parametrize('how', ['mean', 'cycle'])
def test_the_sum_over_channels_stays(how):
    weight = torch.randn(5, 3, 7, 7)
    for channels in (1, 2, 3, 4, 13)[2 * (how == 'cycle'):]:
        new = inflate(weight, channels, how)
        assert new.shape == (5, channels, 7, 7)
        torch.testing.assert_close(new.sum(1), weight.sum(1))
    if how == 'cycle':
        assert torch.equal(inflate(weight, 3, how), weight)
        torch.testing.assert_close(new[:, 1::3].sum(1), weight[:, 1])
        with pytest.raises(CheckpointError, match='the model has 2 and the checkpoint 3: set inflate_stem'):
            inflate(weight, 2, how)
    with pytest.raises(CheckpointError, match="must be 'mean' or 'cycle', got 'sum'"):
        inflate(weight, 4, 'sum')


@pytest.mark.parametrize('name', BACKBONES)
def test_grey_images_of_any_channels_look_the_same(name, tmp_path):
    cfg, channels = BACKBONES[name]
    rgb = build_backbone(dict(cfg))
    rgb.init_weights()
    torch.save(dict(state_dict=rgb.state_dict()), tmp_path / 'rgb.pth')
    grey = torch.randn(2, 1, 32, 32)
    expected = maps(rgb, grey.repeat(1, 3, 1, 1))
    for how in ('mean', 'cycle'):
        pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'rgb.pth'), inflate_stem=how)
        deep = build_backbone({**cfg, channels: 13, 'init_cfg': pretrained})
        deep.init_weights()
        torch.testing.assert_close(maps(deep, grey.repeat(1, 13, 1, 1)), expected, atol=2e-4, rtol=1e-3)
    del pretrained['inflate_stem']
    refused = build_backbone({**cfg, channels: 13, 'init_cfg': pretrained})
    with pytest.raises(CheckpointError, match=r"a network on 3 channels, the model has 13: inflate_stem='mean'"):
        refused.init_weights()


def mocov2(channels):
    return build_algorithm(
        dict(
            type='MoCo',
            queue_len=8,
            feat_dim=4,
            backbone=dict(type='ResNet', depth=18, in_channels=channels),
            neck=dict(type='MoCoV2Neck', in_channels=512, hid_channels=8, out_channels=4, with_avg_pool=True),
            head=dict(type='ContrastiveHead', temperature=0.2)))


def test_a_whole_algorithm(caplog):
    """Stems of the backbone and of its momentum encoder; other differences stay errors."""
    rgb, deep = mocov2(3), mocov2(5)
    rgb.init_weights()
    weights = rgb.state_dict()
    with pytest.raises(CheckpointError, match=r"network on 3 channels, the model has 5: inflate_stem='mean'"):
        load_weights(deep, weights, may_differ=())
    report = load_weights(deep, weights, may_differ=(), inflate_stem='mean')
    assert not report.mismatched and not report.missing
    own = deep.state_dict()
    for key in ('backbone.conv1.weight', 'encoder_k.0.conv1.weight'):
        torch.testing.assert_close(own[key], weights[key].mean(1, keepdim=True).repeat(1, 5, 1, 1) * 3 / 5)
    assert weights['backbone.conv1.weight'].shape[1] == 3  # what came in is left alone
    wider = dict(weights, **{'backbone.layer1.0.conv1.weight': torch.zeros(32, 64, 3, 3)})
    with pytest.raises(ConfigError, match='is of another network'):
        load_weights(deep, wider, may_differ=(), inflate_stem='mean')
    load_weights(rgb, weights, inflate_stem='mean')
    assert 'no tensor was changed' in caplog.text
    load_weights(deep.backbone, rgb.backbone.state_dict(), may_differ=['conv1'])  # who names it wants a new stem

"""Backbones against torchvision, timm and mmcls with the same weights."""
import re
import subprocess
import sys

import pytest
import torch
import torchvision

from mmssl.models import ResNet, ResNet_CIFAR, ResNetV1d, ResNeXt, TIMMBackbone, TorchvisionBackbone, build_backbone
from mmssl.utils.errors import ConfigError


def torchvision_stages(model, x):
    x = model.relu(model.bn1(model.conv1(x)))
    outs = [x]
    x = model.maxpool(x)
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
        outs.append(x)
    return outs


def randomise(model):
    """Give the norms other values than their initial ones, so that nothing hides behind ones and zeros."""
    for name, tensor in model.state_dict().items():
        if tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize('name, kind, depth', [('resnet18', ResNet, 18), ('resnet50', ResNet, 50),
                                               ('resnext50_32x4d', ResNeXt, 50)])
def test_keys_and_outputs_are_torchvisions(name, kind, depth):
    reference = randomise(torchvision.models.get_model(name))
    model = kind(depth, out_indices=(0, 1, 2, 3, 4))
    weights = {k: v for k, v in reference.state_dict().items() if not k.startswith('fc.')}
    assert set(model.state_dict()) == set(weights)
    model.load_state_dict(weights)
    x = torch.randn(2, 3, 64, 64)
    for training in (True, False):
        reference.train(training), model.train(training)
        with torch.no_grad():
            for out, expected in zip(model(x), torchvision_stages(reference, x), strict=True):
                torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind, depth, kwargs', [
    ('ResNetV1d', 50, {}),
    ('ResNet', 50, dict(style='caffe', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))),
    ('ResNet', 34, dict(avg_down=True, in_channels=1, base_channels=16, stem_channels=32)),
    ('ResNet', 50,
     dict(norm_cfg=dict(type='GN', num_groups=4), num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), expansion=2)),
    ('ResNet_CIFAR', 18, {}),
    ('ResNeXt', 50, dict(groups=8, width_per_group=8)),
])
def test_variants_are_those_of_mmcls(kind, depth, kwargs):
    import mmcls.models
    last = kwargs.get('num_stages', 4)
    reference = randomise(getattr(mmcls.models, kind)(depth=depth, out_indices=(last - 1, ), **kwargs))
    reference.eval()
    model = build_backbone(dict(type=kind, depth=depth, out_indices=(last, ), **kwargs)).eval()
    model.load_state_dict(reference.state_dict())
    assert list(model.state_dict()) == list(reference.state_dict())
    x = torch.randn(2, kwargs.get('in_channels', 3), 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[0], reference(x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('depth, blocks', [(10, 4), (18, 8), (34, 16), (50, 16), (101, 33), (152, 50), (200, 66)])
def test_depths(depth, blocks):
    model = ResNet(depth, base_channels=4, stem_channels=4).eval()
    assert sum(len(getattr(model, name)) for name in model.res_layers) == blocks
    assert model(torch.zeros(1, 3, 32, 32))[0].shape == (1, model.feat_dim, 1, 1)


@pytest.mark.parametrize('kwargs, millions', [
    (dict(depth=50), 23.5),
    (dict(depth=50, width_multiplier=2), 94),
    (dict(depth=50, width_multiplier=4), 375),
    (dict(depth=200, width_multiplier=2), 250),
])
def test_width_multiplier_is_that_of_the_papers(kwargs, millions):
    """Parameters as BYOL's table has them; torchvision's wide_resnet50_2 has 67 million (VISSL issue 469)."""
    with torch.device('meta'):
        model = ResNet(**kwargs, out_indices=(0, 1, 2, 3, 4))
        maps = model(torch.empty(1, 3, 64, 64))
    w = kwargs.get('width_multiplier', 1)
    assert [m.shape[1] for m in maps] == [64 * w, 256 * w, 512 * w, 1024 * w, 2048 * w]
    assert model.feat_dim == 2048 * w
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < .5


def test_width_multiplier_of_variants():
    for cfg in (dict(type='ResNetV1d', depth=18), dict(type='ResNet_CIFAR', depth=18), dict(type='ResNeXt', depth=50)):
        with torch.device('meta'):
            plain, wide = (build_backbone(dict(cfg, **more)) for more in ({}, dict(width_multiplier=3)))
        for key, value in plain.state_dict().items():
            found = wide.state_dict()[key].shape
            assert found[:1] == tuple(3 * n for n in value.shape[:1]), key
    with pytest.raises(ValueError, match='width_multiplier must be .*got 0'):
        ResNet(18, width_multiplier=0)


def test_cifar_keeps_the_size_in_the_stem():
    outs = ResNet_CIFAR(18, base_channels=4, stem_channels=8, out_indices=(0, 1, 4))(torch.zeros(1, 3, 32, 32))
    assert [tuple(o.shape[1:]) for o in outs] == [(8, 32, 32), (4, 32, 32), (32, 4, 4)]


def test_initialisation_is_that_of_kaiming():
    """Fault of VISSL: its ResNet made its layers anew behind the initialisation, which so had no effect."""
    model = ResNet(18, base_channels=16, stem_channels=16)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.zeros_(module.weight)
    model.init_weights()
    for name in ('conv1', 'layer2.0.conv1', 'layer4.1.conv2', 'layer3.0.downsample.0'):
        conv = model.get_submodule(name)
        outputs = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / outputs)**0.5, rel=0.1), name


def test_standardised_convolutions():
    """A fault of VISSL: its option for them was never read."""
    for kind in (ResNet, ResNetV1d):
        model = kind(depth=18, base_channels=4, stem_channels=4, conv_cfg=dict(type='ConvWS'))
        kinds = {type(module).__name__ for module in model.modules() if isinstance(module, torch.nn.Conv2d)}
        assert kinds == {'ConvWS2d'}


def test_zero_init_residual_starts_with_identities():
    model = ResNet(18, base_channels=8, stem_channels=8, zero_init_residual=True)
    model.init_weights()
    x = torch.rand(1, 8, 4, 4)
    assert model.layer1(x).equal(x)
    model = ResNet(50, base_channels=8, stem_channels=8)
    model.init_weights()
    assert model.layer1[0].bn3.weight.equal(torch.ones(32))


VIT = dict(arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=16), img_size=32, patch_size=8)
SWIN = dict(arch=dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 2]), img_size=32, out_indices=(2, ))


@pytest.mark.parametrize('cfg, every, asked, last', [
    (dict(type='ResNet', depth=18, base_channels=4, stem_channels=4), range(5), (3, 0, 3, 1), 'layer3'),
    (dict(type='ResNetV1d', depth=18, base_channels=4, stem_channels=4), range(5), (0, ), 'stem'),
    (dict(type='ResNeXt', depth=50, groups=2, width_per_group=2, stem_channels=4), range(5), (2, 1), 'layer2'),
    (dict(type='VisionTransformer', output_cls_token=False, **VIT), range(3), (1, 0, 1), 'layers.1'),
    (dict(type='SwinTransformer', **SWIN), range(3), (1, 0, 1), 'stages.1'),
])
def test_maps_come_in_the_order_asked_for(cfg, every, asked, last):
    """A stage may come twice; stages after the last one have all their keys and are not run."""
    whole = build_backbone(dict(cfg, out_indices=list(every))).eval()
    part = build_backbone(dict(cfg, out_indices=list(asked))).eval()
    assert not part.load_state_dict(whole.state_dict(), strict=False).missing_keys
    assert {key for key in whole.state_dict() if not key.startswith('norm')} <= set(part.state_dict())
    run = []
    for name, module in part.named_modules():
        module.register_forward_hook(lambda *_, name=name: run.append(name))
    x = torch.randn(2, 3, 32, 32)
    maps = whole(x)
    for out, i in zip(part(x), asked, strict=True):
        torch.testing.assert_close(out, maps[i])
    stages = {name for name in run if re.fullmatch(r'stem|layer\d|(layers|stages)\.\d', name)}
    assert last in stages and all(name <= last or name == 'stem' for name in stages)


@pytest.mark.parametrize('cfg', [dict(type='VisionTransformer', **VIT), dict(type='SwinTransformer', **SWIN)])
def test_stages_of_transformers_that_are_not_there(cfg):
    low, last = (-3, 3) if cfg['type'] == 'VisionTransformer' else (0, 2)
    for name, value, message in (('out_indices', (3, ), rf'numbers from {low} to 2.*, got \(3,\)'),
                                 ('out_indices', 'all', ".*got 'all'"), ('frozen_stages', 4,
                                                                         rf'-1 \(none\) to {last}, got 4')):
        with pytest.raises(ConfigError, match=f'{name} must be {message}'):
            build_backbone({**cfg, name: value})


def test_a_classifier_of_the_class_token_has_no_stages():
    """It gives one vector, whatever is asked for, and must not pass that off as a stage."""
    for indices in (-1, [2]):
        assert len(build_backbone(dict(type='MIMVisionTransformer', out_indices=indices, **VIT)).out_channels) == 1
    with pytest.raises(ConfigError, match=r'one vector of its last layer, out_indices asks for the layers \[0, 2\]'):
        build_backbone(dict(type='MIMVisionTransformer', out_indices=[0, 2], **VIT))
    model = build_backbone(dict(type='MIMVisionTransformer', **VIT))
    model.out_indices = [1]
    with pytest.raises(ConfigError, match=r'the layers \[1\]: leave it out, or take VisionTransformer'):
        model(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
@pytest.mark.parametrize('kind', [ResNet, ResNetV1d])
def test_frozen_stages_do_not_move(kind, frozen):
    """Pitfall: "frozen" backbones whose batch-norm statistics still move."""
    model = kind(depth=18, base_channels=4, stem_channels=8, frozen_stages=frozen)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1)
    out = model(torch.randn(4, 3, 32, 32))[0]
    if out.requires_grad:
        out.square().mean().backward()
        optimizer.step()
    names = ['stem', 'conv1', 'bn1'][:3 * (frozen >= 0)] + [f'layer{i}' for i in range(1, frozen + 1)]
    for key, value in model.state_dict().items():
        assert value.equal(before[key]) == (key.split('.')[0] in names), key
    assert all(p.grad is None for n, p in model.named_parameters() if n.split('.')[0] in names)


@pytest.mark.parametrize('cfg', [
    dict(type='ResNetV1d', depth=18, base_channels=4, stem_channels=4),
    dict(type='VisionTransformer', **VIT),
    dict(type='SwinTransformer', **SWIN),
    dict(type='TIMMBackbone', model_name='resnet18'),
    dict(type='TorchvisionBackbone', model_name='resnet18'),
])
def test_images_of_other_channels(cfg):
    backbone = build_backbone(dict(cfg, in_channels=4))
    with pytest.raises(ConfigError, match='images of 4 channels and gets images of 3: set .*in_channels=3'):
        backbone(torch.zeros(2, 3, 32, 32))


def test_norm_eval_keeps_all_statistics():
    model = ResNet(18, base_channels=4, stem_channels=4, norm_eval=True).train()
    before = [b.clone() for b in model.buffers()]
    model(torch.randn(4, 3, 32, 32))[0].mean().backward()
    assert all(b.equal(a) for b, a in zip(model.buffers(), before))
    assert model.conv1.weight.grad is not None


def test_recomputing_gives_the_same_gradients():
    plain = ResNet(18, base_channels=4, stem_channels=4)
    saving = ResNet(18, base_channels=4, stem_channels=4, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 32, 32)
    for model in (plain, saving):
        model(x)[0].square().mean().backward()
    for a, b in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


def test_drop_path_skips_the_residual_branch():
    model = ResNet(18, base_channels=8, stem_channels=8, drop_path_rate=0.5).layer1[1]
    x = torch.rand(64, 8, 4, 4)
    kept = model(x)
    skipped = [torch.equal(a, b) for a, b in zip(kept, x)]
    assert 15 < sum(skipped) < 49
    model.eval()
    torch.testing.assert_close(model(x), (x + model.bn2(model.conv2(model.bn1(model.conv1(x)).relu()))).relu())


@pytest.mark.parametrize('kwargs, message', [
    (dict(depth=20), 'depth must be one of .*got 20'),
    (dict(depth=18, out_indices=(5, )), r'out_indices must be numbers from 0 to 4 \(0 is the stem\), got \(5,\)'),
    (dict(depth=18, out_indices=(0, -1)), r'from 0 to 4 \(0 is the stem\), got \(0, -1\)'),
    (dict(depth=18, out_indices=4), r'\(0 is the stem\) in a list such as \[4\], got 4'),
    (dict(depth=18, out_indices=()), r'in a list such as \[4\], got \(\)'),
    (dict(depth=18, frozen_stages=5), r'frozen_stages must be -1 \(none\) to 4, got 5'),
    (dict(depth=18, frozen_stages=5), 'frozen_stages .*got 5'),
    (dict(depth=18, style='keras'), "style must be .*got 'keras'"),
    (dict(depth=18, strides=(1, 2)), r'strides=\(1, 2\)'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**kwargs)


@pytest.mark.parametrize('kind, args', [('ResNeXt', dict(depth=50, width_per_grop=4)),
                                        ('ResNetV1d', dict(depth=50, norm_evall=True))])
def test_misspelt_arguments_are_found_through_subclasses(kind, args):
    """Pitfall: typos swallowed by **kwargs."""
    with pytest.raises(ConfigError, match='did you mean'):
        build_backbone(dict(type=kind, **args))


def test_timm_backbone():
    import timm
    model = build_backbone(dict(type='TIMMBackbone', model_name='resnet18', in_channels=1, drop_path_rate=0.1)).eval()
    model.init_weights()  # keeps timm's own initialisation
    reference = timm.create_model('resnet18', in_chans=1).eval()
    reference.load_state_dict(model.timm_model.state_dict(), strict=False)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[0], reference.forward_features(x))
        pyramid = TIMMBackbone('resnet18', features_only=True, out_indices=(1, 4))(x.expand(-1, 3, -1, -1))
    assert [tuple(m.shape[1:]) for m in pyramid] == [(64, 16, 16), (512, 2, 2)]


@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224'])
def test_timm_transformers_return_maps(name):
    model = TIMMBackbone(name).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps, = model(x)
        tokens = model.timm_model.forward_features(x)
    if tokens.dim() == 3:
        tokens = tokens[:, 1:].reshape(1, 14, 14, -1)
    torch.testing.assert_close(maps, tokens.permute(0, 3, 1, 2))


@pytest.mark.parametrize('name, tail', [
    ('resnet18', lambda m, x: torchvision_stages(m, x)[-1]),
    ('mobilenet_v3_small', lambda m, x: m.features(x)),
    ('squeezenet1_0', lambda m, x: m.features(x)),
])
def test_torchvision_backbone(name, tail):
    model = TorchvisionBackbone(name).eval()
    model.init_weights()
    reference = torchvision.models.get_model(name).eval()
    reference.load_state_dict(model.model.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[0], tail(reference, x))


def test_torchvision_backbone_options():
    model = TorchvisionBackbone('resnet18', in_channels=2, return_nodes=['layer2', 'layer4'])
    assert [tuple(m.shape[1:]) for m in model(torch.randn(1, 2, 64, 64))] == [(128, 8, 8), (512, 2, 2)]


def test_maps_of_other_libraries_come_in_the_order_asked_for():
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for kind, argument, every, asked, wrong in (
            (TIMMBackbone, 'out_indices', [0, 1, 2, 3, 4], [3, -5, 3], [[9], [-6], []]),
            (TorchvisionBackbone, 'return_nodes', ['relu', 'layer1', 'layer2', 'layer3',
                                                   'layer4'], ['layer3', 'relu', 'layer3'], []),
        ):
            more = dict(features_only=True) if kind is TIMMBackbone else {}
            whole, part = (kind('resnet18', **{argument: nodes}, **more).eval() for nodes in (every, asked))
            part.load_state_dict(whole.state_dict(), strict=False)
            maps = whole(x)
            for out, i in zip(part(x), (3, 0, 3), strict=True):
                torch.testing.assert_close(out, maps[i])
            for indices in wrong:
                with pytest.raises(ConfigError, match='out_indices'):
                    kind('resnet18', **{argument: indices}, **more)


def test_unknown_timm_name():
    with pytest.raises(ValueError, match="timm .* has no model 'resnet19'; did you mean 'resnet18'"):
        TIMMBackbone('resnet19')


@pytest.mark.long
def test_import_brings_no_optional_package():
    code = 'import sys, mmssl.models; print([m for m in ("timm", "mmcls", "sklearn", "faiss") if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'

"""Stages, channels and batch norms of networks of timm and torchvision."""
import pytest
import torch
import torchvision
from torch import nn

from mmssl.models import TIMMBackbone, TorchvisionBackbone, build_backbone
from mmssl.models.utils.norm import SplitBatchNorm, SyncBatchNorm, convert_batch_norms
from mmssl.utils.errors import ConfigError


def modules_run(model):
    """Names of the modules that run from now on."""
    run = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: run.append(name))
    return run


@pytest.mark.parametrize('name, asked, names, later, options', [
    ('efficientnet_b0', (3, 0, 3), ('blocks.4', 'blocks.0', 'blocks.4'), 'blocks.5', {}),
    ('convnext_atto', (1, 0, 1), ('stages.1', 'stages.0', 'stages.1'), 'stages.2', {}),
    ('regnety_002', (-3, 0, -3), ('s2', 'stem', 's2'), 's3', {}),
    ('vit_tiny_patch16_224', (2, 0, 2), ('blocks.2', 'blocks.0', 'blocks.2'), 'blocks.3', dict(img_size=64)),
    ('swin_tiny_patch4_window7_224', (1, 0, 1), ('layers.1', 'layers.0', 'layers.1'), 'layers.2', dict(img_size=64)),
])
@torch.no_grad()
def test_stages_of_timm(name, asked, names, later, options):
    """In the order asked for, by number or name, no further than needed, and with the names of the plain network."""
    plain = TIMMBackbone(name, **options).eval()
    part, named = (TIMMBackbone(name, out_indices=indices, **options).eval() for indices in (asked, names))
    for model in (part, named):
        assert list(model.state_dict()) == list(plain.state_dict())
        model.load_state_dict(plain.state_dict())
    assert part.out_indices == named.out_indices
    x = torch.randn(2, 3, 64, 64)
    run = modules_run(part.timm_model)
    maps = part(x)
    assert any(r.startswith(names[0]) for r in run) and not any(r.startswith(later) for r in run)
    expected = plain.timm_model.forward_intermediates(x, intermediates_only=True)
    count = len(expected)
    for out, i in zip(maps, asked, strict=True):
        torch.testing.assert_close(out, expected[i])
    assert torch.equal(named(x)[0], maps[0])
    assert part.out_channels == [m.shape[1] for m in maps]
    # the whole network's own output counts as one more
    plain.out_indices = (count, 0)
    whole, first = plain(x)
    torch.testing.assert_close(first, expected[0])
    plain.out_indices = (count, )
    torch.testing.assert_close(whole, plain(x)[0])
    assert plain.out_channels == [whole.shape[1]]


@torch.no_grad()
def test_last_norm_of_stages():
    plain = TIMMBackbone('vit_tiny_patch16_224', img_size=32, depth=2).eval()
    stages = TIMMBackbone('vit_tiny_patch16_224', img_size=32, depth=2, out_indices=[1], norm_stages=True).eval()
    stages.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(stages(x)[0], plain(x)[0])


@pytest.mark.parametrize('name, nodes', [
    ('resnet18', ['relu', 'layer1', 'layer2', 'layer3', 'layer4']),
    ('mobilenet_v3_small', [f'features.{i}' for i in (0, 1, 3, 8, 12)]),
    ('regnet_y_400mf', ['stem', *(f'trunk_output.block{i}' for i in range(1, 5))]),
])
@torch.no_grad()
def test_stages_of_torchvision(name, nodes):
    whole = TorchvisionBackbone(name).eval()
    part = TorchvisionBackbone(name, out_indices=(2, 0, -3)).eval()
    part.load_state_dict(whole.state_dict(), strict=False)
    assert set(part.state_dict()) < set(whole.state_dict())
    reference = torchvision.models.get_model(name).eval()
    reference.load_state_dict(whole.model.state_dict(), strict=False)
    named = torchvision.models.feature_extraction.create_feature_extractor(reference, nodes).eval()
    x = torch.randn(1, 3, 96, 96)
    maps, expected = part(x), named(x)
    for out, i in zip(maps, (2, 0, 2), strict=True):
        torch.testing.assert_close(out, expected[nodes[i]])
    assert part.out_channels == [m.shape[1] for m in maps]
    # evaluation asks for stages afterwards
    last, = whole(x)
    whole.out_indices = (1, 5)
    first, again = whole(x)
    torch.testing.assert_close(first, expected[nodes[1]])
    assert torch.equal(last, again)
    part.out_indices = (4, )
    with pytest.raises(ConfigError, match=r'stages \[4\] are asked for, and the network was cut behind'):
        part(x)


@pytest.mark.long
@torch.no_grad()
def test_transformers_of_torchvision():
    model = TorchvisionBackbone('swin_t', out_indices=(1, 4)).eval()
    x = torch.randn(1, 3, 64, 64)
    stage, last = model(x)
    body = model._whole[0]
    torch.testing.assert_close(stage, body.features[:4](x).permute(0, 3, 1, 2))
    assert last.shape == (1, 768, 2, 2) and model.out_channels == [192, 768]
    model = TorchvisionBackbone('vit_b_16', image_size=32, out_indices=(1, 0)).eval()
    assert [m.shape for m in model(torch.randn(1, 3, 32, 32))] == [(1, 768, 2, 2)] * 2
    assert not any('encoder_layer_2' in key for key in model.state_dict())


def test_training_goes_on_after_an_evaluation():
    """torchvision's graphs have stochastic depth for training alone; evaluation sets flags back, and no graphs."""
    model = TorchvisionBackbone('efficientnet_b0', stochastic_depth_prob=0.9)
    x = torch.randn(4, 3, 32, 32)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x)[0], model(x)[0])
    for module, mode in modes:
        module.training = mode
    assert not torch.equal(model(x)[0], model(x)[0])


@pytest.mark.parametrize('kind, args, message', [
    (TIMMBackbone, dict(out_indices=['layer7']), "no stage 'layer7'; did you mean 'layer"),
    (TIMMBackbone, dict(out_indices=[6]), r'out_indices must be numbers from -5 to 5, got \[6\]'),
    (TIMMBackbone, dict(out_indices=3), r'in a list such as \[5\], got 3'),
    (TIMMBackbone, dict(features_only=True, out_indices=['layer2']), 'with features_only=True they are numbers'),
    (TIMMBackbone, dict(norm_cfg=dict(type='GN')), "type must be SyncBN or SplitBN, got {'type': 'GN'}"),
    (TorchvisionBackbone, dict(return_nodes=['layer5']), "no node 'layer5' .*did you mean 'layer"),
    (TorchvisionBackbone, dict(out_indices=[9]), r'numbers from -5 to 5, got \[9\]'),
    (TorchvisionBackbone, dict(out_indices=[1], return_nodes=['layer1']), 'return_nodes or out_indices, not both'),
])
def test_what_is_not_there(kind, args, message):
    with pytest.raises(ConfigError, match=message):
        kind('resnet18', **args)
    with pytest.raises(ConfigError, match="has no model 'resnt18'; did you mean 'resnet18'"):
        kind('resnt18')


NETWORKS = [
    dict(type='TIMMBackbone', model_name='efficientnet_lite0'),  # its norms have the activation in them
    dict(type='TIMMBackbone', model_name='resnet10t'),
    dict(type='TorchvisionBackbone', model_name='mobilenet_v3_small'),
]


@pytest.mark.parametrize('cfg', NETWORKS)
def test_converted_batch_norms_change_nothing_in_one_process(cfg):
    torch.manual_seed(0)
    plain = build_backbone(dict(cfg))
    x = torch.randn(4, 3, 32, 32)
    for norm, kind in ((dict(type='SyncBN'), SyncBatchNorm), (dict(type='SplitBN', num_splits=1), SplitBatchNorm)):
        torch.manual_seed(0)
        model = build_backbone(dict(cfg, norm_cfg=norm))
        assert list(model.state_dict()) == list(plain.state_dict())
        model.load_state_dict(plain.state_dict())
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert len(norms) > 10 and all(isinstance(m, kind) for m in norms)
        reference = build_backbone(dict(cfg))
        reference.load_state_dict(plain.state_dict())
        for module in (model, reference):
            for part in module.modules():
                if 'Drop' in type(part).__name__ or 'StochasticDepth' in type(part).__name__:
                    part.p = part.drop_prob = 0.
        for training in (True, False):
            model.train(training), reference.train(training)
            torch.testing.assert_close(model(x)[0], reference(x)[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(dict(model.named_buffers()), dict(reference.named_buffers()), rtol=1e-4, atol=1e-5)


def test_eps_and_momentum_stay():
    """EfficientNets of TensorFlow have others than PyTorch's."""
    found = convert_batch_norms(nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.01)), dict(type='SyncBN'))[0]
    assert (found.eps, found.momentum) == (1e-3, 0.01)
    found = convert_batch_norms(nn.BatchNorm2d(3), dict(type='SyncBN', eps=1e-2, requires_grad=False))
    assert found.eps == 1e-2 and found.momentum == 0.1 and not found.weight.requires_grad


def _gradients(rank, world_size, cfg, weights, x):
    model = build_backbone(dict(cfg, norm_cfg=dict(type='SyncBN')))
    model.load_state_dict(weights)
    part = x.chunk(world_size)[rank]
    # a loss that is a sum over images, so that the parts add up
    (model(part)[0].square().mean((1, 2, 3)).sum() / len(x)).backward()
    return dict(
        grads={
            name: p.grad
            for name, p in model.named_parameters() if p.grad is not None
        },
        buffers=dict(model.named_buffers()))


@pytest.mark.long
@pytest.mark.parametrize('cfg', [
    dict(type='TIMMBackbone', model_name='resnet10t'),
    dict(type='TorchvisionBackbone', model_name='mobilenet_v3_small'),
])
def test_sync_bn_of_two_processes_is_that_of_one(cfg, run_distributed):
    weights = build_backbone(dict(cfg)).double().state_dict()
    x = torch.randn(8, 3, 64, 64)
    one = _gradients(0, 1, cfg, weights, x)
    two = run_distributed(_gradients, cfg, weights, x)
    scale = max(g.abs().max() for g in one['grads'].values())
    for name, grad in one['grads'].items():
        total = sum(part['grads'][name] for part in two)
        torch.testing.assert_close(total, grad, rtol=1e-3, atol=1e-4 * scale.item())
    for part in two:
        torch.testing.assert_close(part['buffers'], one['buffers'], rtol=1e-4, atol=1e-5)


def test_channels_of_our_own_networks():
    for cfg in (dict(type='ResNet', depth=18, base_channels=4, stem_channels=6,
                     out_indices=(3, 0)), dict(type='ResNeXt', depth=50, base_channels=4, groups=2, out_indices=(1, 4)),
                dict(
                    type='SwinTransformer',
                    out_indices=(2, 0),
                    img_size=32,
                    arch=dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 2]))):
        model = build_backbone(cfg)
        assert model.out_channels == [m.shape[1] for m in model(torch.randn(2, 3, 32, 32))]


def test_a_config_is_good_for_a_second_build():
    """VISSL's EfficientNet took an entry out of its config, so that a momentum encoder could not be built."""
    cfg = dict(type='TIMMBackbone', model_name='efficientnet_b0', bn_eps=1e-3, bn_momentum=.01, drop_path_rate=.2)
    first, second = build_backbone(cfg), build_backbone(cfg)
    second.load_state_dict(first.state_dict())
    assert cfg['model_name'] == 'efficientnet_b0' and len(cfg) == 5
    norms = [m for m in second.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all((m.eps, m.momentum) == (1e-3, .01) for m in norms)
    # widths are multiples of 8, and never below 90 % of what the scale says
    widths = [TIMMBackbone(f'efficientnet_b{i}', out_indices=(0, 1, 2, 3, 4, 5)).out_channels for i in (0, 2)]
    assert widths == [[16, 24, 40, 112, 320, 1280], [16, 24, 48, 120, 352, 1408]]


def test_timm_loads_nothing_where_shapes_alone_are_asked_for(tmp_path, monkeypatch):
    """plot_schedule.py and count_parameters.py build models on the meta device, also where there is no network."""
    monkeypatch.setattr('timm.models._builder.load_pretrained', lambda *args, **kwargs: pytest.fail('it loads'))
    with torch.device('meta'):
        TIMMBackbone('resnet10t', pretrained=True)
        TIMMBackbone('resnet10t', checkpoint_path=str(tmp_path / 'absent.pth'))
    with pytest.raises(FileNotFoundError):
        TIMMBackbone('resnet10t', checkpoint_path=str(tmp_path / 'absent.pth'))

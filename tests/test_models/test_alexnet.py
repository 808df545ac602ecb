"""AlexNets of RotNet, Jigsaw, DeepCluster, colorization and supervised training: sizes, order of maps, freezing."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import build_backbone
from mmssl.models.utils.norm import SyncBatchNorm
from mmssl.utils.errors import ConfigError

NAMES = ('conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'conv4', 'conv5', 'pool5')
WIDE, NARROW = (96, 96, 256, 256, 384, 384, 256, 256), (64, 64, 192, 192, 384, 256, 256, 256)


def alexnet(variant, **options):
    return build_backbone(dict(type='AlexNet', variant=variant, **options))


@pytest.mark.parametrize('variant, size, widths, sizes', [
    ('bvlc', 224, WIDE, (54, 26, 26, 12, 12, 12, 12, 5)),
    ('colorization', 224, WIDE, (54, 26, 26, 12, 12, 12, 12, 5)),
    ('deepcluster', 224, WIDE, (55, 27, 27, 13, 13, 13, 13, 6)),
    ('jigsaw', 64, WIDE, (27, 13, 13, 6, 6, 6, 6, 2)),
    ('jigsaw', 224, WIDE, (107, 53, 53, 26, 26, 26, 26, 12)),
    ('rotnet', 224, NARROW, (55, 27, 27, 13, 13, 13, 13, 6)),
])
def test_maps_of_the_published_sizes(variant, size, widths, sizes):
    with torch.device('meta'):
        model = alexnet(variant, out_indices=tuple(range(9)))
        *maps, flat = model(torch.empty(2, 3, size, size))
    assert [tuple(m.shape) for m in maps] == [(2, c, s, s) for c, s in zip(widths, sizes)]
    # VISSL's flatten did nothing: it began at the last dimension
    assert flat.shape == (2, 256 * sizes[-1]**2)
    assert model.out_channels == [*widths, None]


@pytest.mark.parametrize('variant, norms, groups, millions', [
    ('bvlc', [], [1, 2, 1, 2, 2], 2.3),
    ('colorization', [1, 2, 3, 4, 5], [1, 2, 1, 2, 2], 2.3),
    ('deepcluster', [1, 2, 3, 4, 5], [1, 1, 1, 1, 1], 3.7),
    ('jigsaw', [3, 4, 5], [1, 2, 1, 2, 2], 2.3),
    ('rotnet', [1, 2, 3, 4, 5], [1, 1, 1, 1, 1], 2.5),
])
def test_parts(variant, norms, groups, millions):
    model = alexnet(variant)
    assert [i for i in range(1, 6) if hasattr(getattr(model, f'conv{i}'), 'bn')] == norms
    assert [getattr(model, f'conv{i}').conv.groups for i in range(1, 6)] == groups
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < .1
    assert sum(isinstance(m, nn.LocalResponseNorm) for m in model.modules()) == 2 * (variant in ('bvlc', 'jigsaw'))
    order = ['MaxPool2d', 'LocalResponseNorm'] if variant == 'jigsaw' else ['LocalResponseNorm', 'MaxPool2d']
    if variant in ('bvlc', 'jigsaw'):
        assert [type(m).__name__ for m in model.pool2] == order


@torch.no_grad()
def test_order_and_early_stop():
    """Pitfall: VISSL left None in the place of the second of two equal stages."""
    model = alexnet('rotnet', out_indices=('conv2', 0, 'conv2', 'pool1')).eval()
    run = []
    for name, module in model.named_children():
        module.register_forward_hook(lambda *_, name=name: run.append(name))
    x = torch.randn(2, 3, 64, 64)
    maps = model(x)
    assert run == ['conv1', 'pool1', 'conv2'] and maps[0] is maps[2]
    first = F.relu(model.conv1.bn(F.conv2d(x, model.conv1.conv.weight, model.conv1.conv.bias, 4, 2)))
    torch.testing.assert_close(maps[1], first)
    torch.testing.assert_close(maps[3], F.max_pool2d(first, 3, 2))


@torch.no_grad()
def test_what_they_see():
    x = torch.randn(2, 3, 96, 96)
    lab = alexnet('colorization').eval()
    other = torch.cat((x[:, :1], torch.zeros(2, 2, 96, 96)), 1)
    assert torch.equal(lab(x)[0], lab(other)[0])
    edges, given = alexnet('deepcluster').eval(), alexnet('deepcluster', sobel=False).eval()
    given.load_state_dict(edges.state_dict())
    torch.testing.assert_close(edges(x + 1)[0], edges(x.mean(1, keepdim=True).expand(-1, 3, -1, -1) + 1)[0])
    torch.testing.assert_close(edges(x)[0], given(edges.sobel(x))[0])
    assert given.in_channels == 2 and not any('sobel' in key for key in edges.state_dict())
    with pytest.raises(ConfigError, match='takes images of 2 channels and gets images of 3'):
        given(x)
    assert alexnet('rotnet', in_channels=1)(x[:, :1])[0].shape == (2, 256, 2, 2)


def test_freezing_and_norms():
    model = alexnet('rotnet', frozen_stages=2, norm_cfg=dict(type='SyncBN'), out_indices=(4, )).train()
    assert isinstance(model.conv1.bn, SyncBatchNorm)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    moved = {key.split('.')[0] for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert moved == {'conv3'} and model.conv2.conv.weight.grad is None
    model = alexnet('rotnet', norm_eval=True).train()
    assert not model.conv5.bn.training and model.conv5.training


@pytest.mark.parametrize('options, message', [
    (dict(variant='jigsaws'), "no variant 'jigsaws'; did you mean 'jigsaw'"),
    (dict(out_indices=('conv6', )), "no stage 'conv6'; did you mean 'conv"),
    (dict(out_indices=(9, )), 'numbers from -9 to 8, got'),
    (dict(frozen_stages=9), r'-1 \(none\) to 8, got 9'),
])
def test_what_is_not_there(options, message):
    with pytest.raises(ConfigError, match=message):
        alexnet(**dict(dict(variant='bvlc'), **options))

"""RegNets of any parameters: widths and blocks of the published ones, outputs against torchvision's."""
import pytest
import torch
import torchvision

from mmssl.models import build_backbone
from mmssl.models.backbones.regnet import RegNet
from mmssl.utils.errors import ConfigError

TINY = dict(depth=5, w_0=8, w_a=12., w_m=2., group_width=4)


@pytest.mark.parametrize('arch, widths, blocks, millions', [
    ('y-400mf', (48, 104, 208, 440), (1, 3, 6, 6), 4),
    ('y-800mf', (64, 128, 320, 768), (1, 3, 8, 2), 6),
    ('y-1.6gf', (48, 120, 336, 888), (2, 6, 17, 2), 10),
    ('y-3.2gf', (72, 216, 576, 1512), (2, 5, 13, 1), 18),
    ('y-8gf', (168, 448, 896, 2016), (2, 4, 10, 1), 37),
    ('y-16gf', (224, 448, 1232, 3024), (2, 4, 11, 1), 81),
    ('y-32gf', (232, 696, 1392, 3712), (2, 5, 12, 1), 141),
    ('y-64gf', (328, 984, 1968, 4920), (2, 5, 12, 1), 276),
    ('y-128gf', (528, 1056, 2904, 7392), (2, 7, 17, 1), 637),
    ('y-256gf', (746, 1492, 4103, 10444), (2, 7, 17, 1), 1272),
    ('y-256gf-classy', (640, 1696, 2544, 5088), (3, 7, 16, 1), 821),
    ('y-10b', (2020, 4040, 11110, 28280), (2, 7, 17, 1), 9324),
])
def test_published_networks(arch, widths, blocks, millions):
    """A comment of ClassyVision gives RegNetY-64GF 2976 channels; the formula gives 4920."""
    with torch.device('meta'):
        model = RegNet(arch, out_indices=(1, 2, 3, 4))
    assert tuple(model.out_channels) == widths
    network = model.timm_model
    assert tuple(len(list(getattr(network, f's{i}').children())) for i in (1, 2, 3, 4)) == blocks
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < .6
    assert [(width, count) for width, _, count in RegNet.stages_of(**RegNet.arch_of(arch))] == list(zip(widths, blocks))
    # squeeze-and-excitation goes by the channels that enter the block, not those inside of it
    assert network.s2.b1.se.fc1.out_channels == round(widths[0] / 4)
    assert all(part.conv2.conv.stride == (2, 2) for part in (network.s1.b1, network.s2.b1, network.s4.b1))


@torch.no_grad()
def test_outputs_are_torchvisions():
    from timm.models.regnet import _filter_fn
    reference = torchvision.models.regnet_y_400mf().eval()
    for value in reference.state_dict().values():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5)
    model = RegNet('y-400mf', out_indices=(4, 1, 4)).eval()
    weights = {k: v for k, v in _filter_fn(reference.state_dict()).items() if not k.startswith('head.')}
    model.timm_model.load_state_dict(weights)
    x = torch.randn(2, 3, 64, 64)
    maps = model(x)
    first = reference.trunk_output.block1(reference.stem(x))
    torch.testing.assert_close(maps[1], first, rtol=1e-4, atol=1e-4)
    last = reference.trunk_output(reference.stem(x))
    torch.testing.assert_close(maps[0], last, rtol=1e-4, atol=1e-4 * last.abs().max().item())
    assert maps[0] is maps[2]


def test_options():
    model = RegNet(TINY, se_ratio=0, in_channels=1, stem_channels=6, drop_path_rate=.1, norm_cfg=dict(type='SyncBN'))
    assert not any('se.' in key for key in model.state_dict())  # RegNetX
    assert model(torch.randn(2, 1, 64, 64))[0].shape[2:] == (2, 2)
    plain, saving = RegNet(TINY), RegNet(TINY, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for network in (plain, saving):
        network(x)[0].square().mean().backward()
    for a, b in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad)
    assert all(
        block.conv3.bn.weight.eq(0).all() for block in RegNet(TINY, zero_init_residual=True).timm_model.s1.children())
    weight = RegNet('y-400mf').timm_model.s4.b2.conv2.conv.weight
    assert abs(weight.std().item() / (2 / (9 * 440))**0.5 - 1) < .05
    part = RegNet(TINY, out_indices=('s1', 'stem'))
    run = []
    part.timm_model.s2.register_forward_hook(lambda *_: run.append(1))
    assert [m.shape[1] for m in part(x)] == part.out_channels and not run


@pytest.mark.parametrize('arch, message', [
    ('y-400m', "no architecture 'y-400m'; did you mean 'y-400mf'"),
    (dict(depth=5), 'a dict with depth, w_0, w_a, w_m, group_width, got'),
    (dict(TINY, depth=2), 'make no RegNet of four stages: .*they make 2, of widths'),
    (dict(depth=9, w_0=24, w_a=24.48, w_m=2.54, group_width=16), r'they make 3, of widths \[24, 64, 152\]'),
    (dict(TINY, w_m=1), 'w_0 must be a multiple of 8, w_a 0 or more, and w_m above 1'),
])
def test_what_is_no_regnet(arch, message):
    with pytest.raises(ConfigError, match=message):
        build_backbone(dict(type='RegNet', arch=arch))

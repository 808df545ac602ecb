"""Swin Transformer against mmcls's with the same weights and against naive attention in windows; SimMIM's encoder."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import build_backbone
from mmssl.models.backbones.swin_transformer import PatchMerging, ShiftWindowMSA, partition, unpartition
from mmssl.utils.checkpoint import load_weights
from mmssl.utils.errors import ConfigError

ARCH = dict(embed_dims=8, depths=[2, 2, 1], num_heads=[2, 4, 4])
WINDOW = dict(stage_cfgs=dict(block_cfgs=dict(window_size=4)))
SWIN = dict(type='SwinTransformer', arch=ARCH, img_size=64, out_indices=(2, ), **WINDOW)  # 16 x 16 patches, then 8, 4


def build(seed=0, **changes):
    """A small backbone with values everywhere, so that nothing hides behind zeros and ones."""
    torch.manual_seed(seed)
    model = build_backbone({**SWIN, **changes}).eval()
    for p in model.parameters():
        nn.init.uniform_(p, -0.4, 0.4)
    return model


def mmcls_twin(model, **changes):
    """mmcls's Swin Transformer with the very state dict of a model."""
    import mmcls.models
    arguments = {key: value for key, value in {**SWIN, **changes}.items() if key not in ('type', 'stage_cfgs')}
    twin = mmcls.models.SwinTransformer(**copy.deepcopy(arguments), window_size=4)
    own = {name: buffer.clone() for name, buffer in twin.named_buffers()}
    twin.load_state_dict(model.state_dict(), strict=True)
    assert list(twin.state_dict()) == list(model.state_dict())
    for name, buffer in own.items():  # the tables are read in the same order
        assert buffer.equal(model.get_buffer(name))
    twin.eval()
    return twin


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('size', [(64, 64), (64, 80), (72, 88), (100, 68)])
def test_mmcls(size):
    """Outputs and gradients; maps that do not divide into windows, and odd ones that do not halve, are padded."""
    model = build(out_indices=(0, 1, 2))
    twin, img = mmcls_twin(model, out_indices=(0, 1, 2)), images(2, 3, *size)
    outs, expected = model(img), twin(img)
    assert [out.shape[2] for out in outs] == [size[0] // 4, -(-size[0] // 8), -(-(-(-size[0] // 8)) // 2)]
    for a, b in zip(outs, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    weights = [torch.randn_like(out) for out in outs]
    for outs in (outs, expected):
        sum((out * w).sum() for out, w in zip(outs, weights)).backward()
    theirs = dict(twin.named_parameters())
    for name, p in model.named_parameters():
        wanted = theirs[name].grad
        torch.testing.assert_close(p.grad, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item(), msg=name)


@pytest.mark.parametrize('changes', [
    dict(arch=dict(embed_dims=8, depths=[1, 4], num_heads=[2, 2]), out_indices=(1, )),
    dict(use_abs_pos_embed=True, img_size=(64, 96)),
    dict(in_channels=2, patch_size=8, img_size=(128, 128), norm_cfg=dict(type='LN', eps=0.1)),
])
def test_mmcls_with_other_arguments(changes):
    model = build(**changes)
    size, channels = changes.get('img_size', 64), changes.get('in_channels', 3)
    img = images(2, channels, *((size, ) * 2 if isinstance(size, int) else size))
    torch.testing.assert_close(model(img)[0], mmcls_twin(model, **changes)(img)[0], rtol=1e-4, atol=1e-4)


# Parameters without a classifier of 1000 classes; those of timm's models
@pytest.mark.parametrize('arch, width, parameters', [('tiny', 768, 28288354), ('small', 768, 49606258),
                                                     ('base', 1024, 87768224), ('large', 1536, 196532476)])
def test_architectures(arch, width, parameters):
    for name in (arch, arch[0].upper()):
        with torch.device('meta'):
            model = build_backbone(dict(type='SwinTransformer', arch=name))
        assert sum(p.numel() for p in model.parameters()) == parameters - 1000 * width - 1000
        assert model.num_features[-1] == width


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="SwinTransformer has no architecture 'tny'; .*tiny"):
        build(arch='tny')
    with pytest.raises(ConfigError, match='a dict with embed_dims, depths and num_heads'):
        build(arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2]))
    with pytest.raises(ConfigError, match=r'numbers from 0 to 2, got \(3,\)'):
        build(out_indices=(3, ))
    with pytest.raises(ConfigError, match='stage_cfgs is one dict for all 3, or a list of 3, got 1'):
        build(stage_cfgs=[dict()])
    with pytest.raises(ConfigError, match="no argument 'window' .* did you mean 'window_size'"):
        build(stage_cfgs=dict(block_cfgs=dict(window=4)))
    with pytest.raises(ConfigError, match='66 x 64 pixels have no whole number of patches of 4 x 4'):
        build()(images(2, 3, 66, 64))


# ---- windows


def test_windows():
    x = torch.randn(2, 6, 9, 4)
    windows = partition(x, 3)
    for i in range(6):
        top, left = i // 3 * 3, i % 3 * 3
        assert windows[:, i].equal(x[:, top:top + 3, left:left + 3].flatten(1, 2))
    assert unpartition(windows, 3, 6, 9).equal(x)


@pytest.mark.parametrize('shift', [False, True])
@pytest.mark.parametrize('height, width', [(8, 12), (7, 9), (4, 8), (3, 9)])
def test_attention_in_shifted_windows(height, width, shift):
    """Pixel by pixel: those see each other that share a window of the shifted grid. Padding counts as positions of
    zeros; a map of one window is not shifted.
    """
    size, heads, dims = 4, 2, 6
    msa = ShiftWindowMSA(dims, heads, size, shift).double()
    attn = msa.w_msa
    nn.init.uniform_(attn.relative_position_bias_table, -1, 1)
    offset = 2 if shift and min(height, width) > size else 0
    x = torch.randn(1, height, width, dims, dtype=torch.float64)
    padded = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
    q, k, v = attn.qkv(padded).chunk(3, 3)

    def window(row, column):  # the grid of windows begins at `offset`; what is left and above of it are windows too
        return (row - offset) // size, (column - offset) // size

    places = [(r, c) for r in range(padded.shape[1]) for c in range(padded.shape[2])]
    expected = torch.empty_like(x)
    for row in range(height):
        for column in range(width):
            seen = [place for place in places if window(*place) == window(row, column)]
            out = []
            for h in range(heads):
                mine = slice(3 * h, 3 * h + 3)
                scores = torch.stack([
                    q[0, row, column, mine] @ k[0, r, c, mine] / 3**0.5 +
                    attn.relative_position_bias_table[(row - r + 3) * 7 + column - c + 3, h] for r, c in seen
                ])
                out.append(scores.softmax(0) @ torch.stack([v[0, r, c, mine] for r, c in seen]))
            expected[0, row, column] = attn.proj(torch.cat(out))
    torch.testing.assert_close(msa(x), expected)


@pytest.mark.parametrize('height, width', [(4, 6), (5, 3)])
def test_merging(height, width):
    """Each channel with its four neighbours, as mmcls has it; a border of zeros where a neighbour is missing."""
    merge = PatchMerging(3)
    nn.init.uniform_(merge.norm.weight), nn.init.uniform_(merge.norm.bias)
    x = torch.randn(2, height, width, 3)
    out = merge(x)
    assert out.shape == (2, -(-height // 2), -(-width // 2), 6)
    fours = F.unfold(F.pad(x, (0, 0, 0, width % 2, 0, height % 2)).permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    expected = F.layer_norm(fours, (12, ), merge.norm.weight, merge.norm.bias) @ merge.reduction.weight.T
    torch.testing.assert_close(out.flatten(1, 2), expected)


def test_table_of_another_window():
    """Interpolated over offsets: the same where the windows are the same, constants stay, ramps rise; load_weights
    counts them as matched.
    """
    small, large = build(), build(seed=1, stage_cfgs=dict(block_cfgs=dict(window_size=6)))
    key = 'stages.0.blocks.1.attn.w_msa.relative_position_bias_table'
    ramp = torch.stack([torch.arange(49) // 7, torch.full((49, ), 3)], 1).float()
    small.load_state_dict({**small.state_dict(), key: ramp})
    assert small.get_parameter(key).equal(ramp)
    index = large.get_buffer(key.replace('bias_table', 'index')).clone()
    report = load_weights(large, small.state_dict(), strict=True)
    assert report.matched == list(small.state_dict())
    table = large.get_parameter(key)
    assert table.shape == (121, 2)
    assert large.get_buffer(key.replace('bias_table', 'index')).equal(index)
    torch.testing.assert_close(table[:, 1], torch.full((121, ), 3.))
    rows = table[:, 0].view(11, 11)
    assert (rows.diff(dim=0) > 0).all()
    torch.testing.assert_close(rows, rows[:, :1].expand(-1, 11))
    other = small.state_dict()['stages.1.blocks.0.attn.w_msa.relative_position_bias_table']
    expected = F.interpolate(other.T.view(1, 4, 7, 7), (11, 11), mode='bicubic', align_corners=True)
    found = large.get_parameter('stages.1.blocks.0.attn.w_msa.relative_position_bias_table')
    torch.testing.assert_close(found.T.view(4, 11, 11), expected[0])
    assert large(images(1, 3, 96, 96))[0].isfinite().all()


def test_absolute_positions_of_another_size():
    """Interpolated over the grid of patches."""
    model, img = build(use_abs_pos_embed=True), images(2, 3, 48, 80)
    out = model(img)[0]
    positions = model.absolute_pos_embed.detach()[0].view(16, 16, 8).permute(2, 0, 1)[None]
    tall = build(seed=1, use_abs_pos_embed=True, img_size=(48, 80))
    state = {k: v for k, v in model.state_dict().items() if k != 'absolute_pos_embed'}
    expected = F.interpolate(positions, (12, 20), mode='bicubic')[0].flatten(1).T[None]
    tall.load_state_dict({**state, 'absolute_pos_embed': expected})
    torch.testing.assert_close(tall(img)[0], out)


# ---- what trains


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2])
def test_frozen_stages(frozen_stages):
    """Patch embedding, stages and their norms: no gradient, and no dropped path in training."""
    model = build(frozen_stages=frozen_stages, out_indices=(0, 1, 2), drop_rate=0.3, drop_path_rate=0.5).train()
    frozen = ['patch_embed'] if frozen_stages >= 0 else []
    for i in range(frozen_stages + 1):
        frozen += [f'stages.{i}.', f'norm{i}.']  # with the way to the next
    torch.manual_seed(1)
    outs = model(images(2, 3, 64, 64))
    if frozen_stages < 2:
        sum(out.square().sum() for out in outs).backward()
    for name, p in model.named_parameters():
        assert (p.grad is None) == name.startswith(tuple(frozen)), name
    torch.manual_seed(2)
    again = model(images(2, 3, 64, 64))
    assert [a.equal(b) for a, b in zip(outs, again)] == [i <= frozen_stages for i in range(3)]


def test_layers_whose_insides_are_computed_again():
    results = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp, drop_path_rate=0.5).train()
        torch.manual_seed(1)
        out = model(images(4, 3, 64, 64))[0]
        out.square().sum().backward()
        results.append([out, *(p.grad for p in model.parameters())])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)


def test_initialisation():
    """Weights of a deviation of 0.02, cut at 2; biases are zeros."""
    model = build_backbone(
        dict(SWIN, type='SimMIMSwinTransformer', arch=dict(ARCH, embed_dims=64), use_abs_pos_embed=True))
    model.init_weights()
    drawn = ('bias_table', 'qkv.weight', 'proj.weight', 'layers.0.0.weight', 'layers.1.weight', 'reduction.weight',
             'absolute_pos_embed', 'mask_token')
    for name, p in model.named_parameters():
        if name.endswith(drawn):
            assert p.std().item() == pytest.approx(0.02, rel=0.25), name
        elif name.endswith('bias') and 'projection' not in name:
            assert not p.any(), name


# ---- SimMIM's encoder


@pytest.mark.parametrize('size', [(64, 64), (72, 88)])
def test_masked_patches_are_replaced(size):
    """As mmcls's transformer on replaced tokens; what is masked is not seen, and without masks no token is."""
    model = build(type='SimMIMSwinTransformer')
    plain = build(seed=1)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k != 'mask_token'})
    twin, img = mmcls_twin(plain), images(2, 3, *size)
    rows, columns = size[0] // 4, size[1] // 4
    mask = torch.rand(2, rows, columns) < 0.6

    def replace(module, args, out):
        tokens = out[0].clone()
        for b in range(2):
            for i in range(rows * columns):
                if mask[b, i // columns, i % columns]:
                    tokens[b, i] = model.mask_token[0, 0]
        return tokens, out[1]

    handle = twin.patch_embed.register_forward_hook(replace)
    expected = twin(img)[0]
    handle.remove()
    for kind in (bool, int, float):
        torch.testing.assert_close(model(img, mask.to(kind))[0], expected, rtol=1e-4, atol=1e-4)
    noise = mask[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3) * torch.randn_like(img)
    torch.testing.assert_close(model(img + noise, mask)[0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.extract_feat(img)[0], twin(img)[0], rtol=1e-4, atol=1e-4)
    unmasked = model(img, torch.zeros_like(mask))[0]
    assert unmasked.equal(plain(img)[0])
    assert torch.autograd.grad(unmasked.sum(), model.mask_token)[0].eq(0).all()


def test_evaluation_may_ask_for_stages_without_a_norm():
    """Features of any stage: those that the config does not return come as they are."""
    net = build_backbone(
        dict(
            type='SwinTransformer',
            arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
            img_size=32,
            out_indices=[1],
            stage_cfgs=dict(block_cfgs=dict(window_size=4)))).eval()
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        alone, = net(img)
        tokens, grid = net.patch_embed(img)
        first = net.stages[0](tokens.unflatten(1, grid))
        net.out_indices = [0, 1]
        maps = net(img)
    torch.testing.assert_close(maps[0], first.permute(0, 3, 1, 2))
    assert maps[1].equal(alone)

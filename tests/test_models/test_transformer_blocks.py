"""Blocks of vision transformers, patches and positions against naive references."""
import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models.utils import transformer_blocks
from mmssl.models.utils.patch_embed import PatchEmbed
from mmssl.models.utils.patches import patchify
from mmssl.models.utils.position_embedding import build_2d_sincos_position_embedding, resize_pos_embed
from mmssl.models.utils.transformer_blocks import (FFN, CAETransformerRegressorLayer, CrossMultiheadAttention,
                                                   MultiheadAttention, MultiheadAttentionWithRPE, SwiGLUFFN,
                                                   TransformerEncoderLayer, relative_position_index, run_layers)
from mmssl.utils.errors import ConfigError


def randomise(module):
    """Values everywhere, so that nothing hides behind zeros and ones; float64, so that differences are mistakes."""
    for p in module.parameters():
        nn.init.uniform_(p, -0.7, 0.7)
    return module.double()


def tokens(*shape):
    return torch.randn(shape, dtype=torch.float64)


def naive_attention(q, k, v, num_heads, bias=None, scale=None):
    """B x N x D, B x M x D twice, head by head; also the softmax weights, B x heads x N x M."""
    dim = q.shape[2] // num_heads
    outs, maps = [], []
    for h in range(num_heads):
        mine = slice(h * dim, (h + 1) * dim)
        scores = torch.einsum('bnd,bmd->bnm', q[..., mine], k[..., mine]) * (scale or 1 / math.sqrt(dim))
        weights = (scores if bias is None else scores + bias[h]).exp()
        weights = weights / weights.sum(2, keepdim=True)
        outs.append(weights @ v[..., mine])
        maps.append(weights)
    return torch.cat(outs, 2), torch.stack(maps, 1)


def naive_self_attention(attn, x, q_bias, k_bias, v_bias, bias=None):
    q, k, v = (x @ w.T + b for w, b in zip(attn.qkv.weight.chunk(3), (q_bias, k_bias, v_bias)))
    out, maps = naive_attention(q, k, v, attn.num_heads, bias, attn.scale)
    return attn.proj(out), maps


@pytest.mark.parametrize('scale', [None, 0.3])
def test_attention(scale):
    """Outputs, gradients and maps; `input_dims` may differ from the dimension inside."""
    attn = randomise(MultiheadAttention(12, 3, input_dims=10, qk_scale=scale))
    x = tokens(2, 7, 10).requires_grad_()
    expected, maps = naive_self_attention(attn, x, *attn.qkv.bias.chunk(3))
    out = attn(x)
    torch.testing.assert_close(out, expected)
    weights, inputs = torch.randn_like(out), (x, *attn.parameters())
    for got, want in zip(torch.autograd.grad(out, inputs, weights), torch.autograd.grad(expected, inputs, weights)):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(attn.attention_maps(x), maps)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('scale', [None, 0.3])
def test_attention_in_half_precision(dtype, scale, monkeypatch):
    """Output and gradients as near to float64 as torch's, which serves without gradient, for many tokens, and for all
    that the products of matrices do not."""
    calls, theirs = [], F.scaled_dot_product_attention
    monkeypatch.setattr(transformer_blocks, 'FAST_PRODUCTS', True)
    monkeypatch.setattr(F, 'scaled_dot_product_attention', lambda *a, **k: calls.append(1) or theirs(*a, **k))
    exact = [tokens(2, 3, length, 8).requires_grad_() for length in (5, 7, 7)]
    expected, weights = theirs(*exact, scale=scale), tokens(2, 3, 5, 8)
    wanted = torch.autograd.grad(expected, exact, weights)
    halves = [t.detach().to(dtype).requires_grad_() for t in exact]
    tolerance = dict(rtol=0.05, atol=0.05) if dtype == torch.bfloat16 else dict(rtol=0.01, atol=0.01)
    out = transformer_blocks.attend(*halves, scale=scale)
    assert not calls and out.dtype == dtype
    for got, want in zip((out, *torch.autograd.grad(out, halves, weights.to(dtype))), (expected, *wanted)):
        torch.testing.assert_close(got.double(), want, **tolerance)
    with torch.autocast('cpu', dtype):
        assert transformer_blocks.attend(*halves, scale=scale).dtype == dtype and not calls
    for way in (dict(drop=0.5), dict(bias=halves[0].new_zeros(3, 5, 7))):
        transformer_blocks.attend(*halves, **way)
    transformer_blocks.attend(*(t.detach() for t in halves))
    transformer_blocks.attend(*exact)
    monkeypatch.setattr(transformer_blocks, 'MANY_TOKENS', 6)
    transformer_blocks.attend(*halves)
    monkeypatch.setattr(transformer_blocks, 'MANY_TOKENS', 7)
    monkeypatch.setattr(transformer_blocks, 'FAST_PRODUCTS', False)
    transformer_blocks.attend(*halves)
    assert len(calls) == 6


@pytest.mark.parametrize('kind', ['full', 'q and v', 'relative'])
def test_attention_maps_reproduce_the_output(kind):
    attn = randomise(
        MultiheadAttentionWithRPE(8, 2, (
            2, 3)) if kind == 'relative' else MultiheadAttention(8, 2, qkv_bias=kind == 'full'))
    x = tokens(2, 7, 8)
    maps = attn.attention_maps(x)
    torch.testing.assert_close(maps.sum(3), torch.ones(2, 2, 7, dtype=torch.float64))
    out = attn.proj((maps @ attn.project(x)[2]).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, attn(x))


def test_biases_of_queries_and_values_are_all_that_count():
    """A full bias with none of the keys is the same; and so is one with any of the keys, as they change no softmax."""
    halves = randomise(MultiheadAttention(8, 2, qkv_bias=False))
    assert {'q_bias', 'v_bias'} < set(halves.state_dict()) and 'qkv.bias' not in halves.state_dict()
    full = randomise(MultiheadAttention(8, 2))
    x = tokens(2, 5, 8)
    for k_bias in (torch.zeros(8), torch.rand(8)):
        state = {k: v for k, v in halves.state_dict().items() if k not in ('q_bias', 'v_bias')}
        full.load_state_dict({**state, 'qkv.bias': torch.cat((halves.q_bias, k_bias, halves.v_bias))})
        torch.testing.assert_close(halves(x), full(x))


def test_relative_position_bias():
    """Entry by entry; of the class token those from it, to it and to itself."""
    rows, columns = 2, 3
    attn = randomise(MultiheadAttentionWithRPE(8, 2, (rows, columns)))
    table = attn.relative_position_bias_table
    assert table.shape == (3 * 5 + 3, 2)
    bias = torch.empty(2, 7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            if i and j:
                (y, x), (v, u) = divmod(i - 1, columns), divmod(j - 1, columns)
                entry = (y - v + rows - 1) * (2 * columns - 1) + x - u + columns - 1
            else:
                entry = 15 + (2 if i == j else 1 if i else 0)
            bias[:, i, j] = table[entry]
    assert bias.equal(attn.bias())
    x = tokens(2, 7, 8)
    expected, maps = naive_self_attention(attn, x, attn.q_bias, 0, attn.v_bias, bias)
    torch.testing.assert_close(attn(x), expected)
    torch.testing.assert_close(attn.attention_maps(x), maps)
    assert torch.autograd.grad(attn(x).sum(), table)[0].norm(dim=1).gt(0).all()


def test_relative_position_index_knows_each_offset_once():
    index = relative_position_index(3, 4)
    offsets = {}
    for i in range(12):
        for j in range(12):
            offset = (i // 4 - j // 4, i % 4 - j % 4)
            assert offsets.setdefault(offset, index[i, j].item()) == index[i, j]
    assert sorted(offsets.values()) == list(range(5 * 7))


@pytest.mark.parametrize('qkv_bias, scale', [(True, None), (False, 0.2)])
def test_cross_attention(qkv_bias, scale):
    attn = randomise(CrossMultiheadAttention(8, 2, qkv_bias, scale))
    x, k, v = tokens(2, 3, 8), tokens(2, 5, 8), tokens(2, 5, 8)
    q_bias, v_bias = (attn.q_bias, attn.v_bias) if qkv_bias else (0, 0)
    out = naive_attention(
        x @ attn.q.weight.T + q_bias, k @ attn.k.weight.T, v @ attn.v.weight.T + v_bias, 2, scale=scale)[0]
    torch.testing.assert_close(attn(x, k, v), attn.proj(out))


@pytest.mark.parametrize('num_fcs', [2, 3])
def test_ffn(num_fcs):
    ffn = randomise(FFN(6, 10, num_fcs))
    x = expected = tokens(2, 4, 6)
    for i in range(num_fcs - 1):
        fc = ffn.layers[i][0]
        z = expected @ fc.weight.T + fc.bias
        expected = z * (1 + torch.erf(z / math.sqrt(2))) / 2
    fc = ffn.layers[num_fcs - 1]
    torch.testing.assert_close(ffn(x), expected @ fc.weight.T + fc.bias)


def test_swiglu():
    """Number by number, and timm's network with the same weights."""
    from timm.layers import SwiGLUPacked
    ffn = randomise(SwiGLUFFN(6, 25))  # two thirds of 25 are 16
    assert {name: tuple(p.shape) for name, p in ffn.named_parameters()} == {
        'w12.weight': (32, 6), 'w12.bias': (32, ), 'w3.weight': (6, 16), 'w3.bias': (6, )
    }  # yapf: disable
    x = tokens(2, 4, 6).requires_grad_()
    gate, value = (x @ w.T + b for w, b in zip(ffn.w12.weight.chunk(2), ffn.w12.bias.chunk(2)))
    expected = (gate / (1 + (-gate).exp()) * value) @ ffn.w3.weight.T + ffn.w3.bias
    torch.testing.assert_close(ffn(x), expected)
    weights, inputs = torch.randn_like(expected), (x, *ffn.parameters())
    for got, want in zip(*(torch.autograd.grad(out, inputs, weights) for out in (ffn(x), expected))):
        torch.testing.assert_close(got, want)
    timms = SwiGLUPacked(6, 32).double()
    timms.load_state_dict({k.replace('w12', 'fc1').replace('w3', 'fc2'): v for k, v in ffn.state_dict().items()})
    torch.testing.assert_close(ffn(x), timms(x))
    assert SwiGLUFFN(1536, 6144).w3.in_features == 4096  # of DINOv2's giant network
    for wrong in (dict(num_fcs=3), dict(act_cfg=dict(type='ReLU'))):
        with pytest.raises(ConfigError, match='leave num_fcs and act_cfg out'):
            TransformerEncoderLayer(8, 2, 12, ffn='swiglu', **wrong)
    with pytest.raises(ConfigError, match="'mlp' or 'swiglu', got 'glu'"):
        TransformerEncoderLayer(8, 2, 12, ffn='glu')


@pytest.mark.parametrize('init_values', [0, 0.3])
def test_layer(init_values):
    """LayerScale multiplies the branches channel by channel; without it there are no such parameters."""
    layer = TransformerEncoderLayer(8, 2, 12, init_values=init_values)
    if init_values:
        assert layer.gamma_1.eq(0.3).all() and layer.gamma_2.eq(0.3).all()
    else:
        assert not [name for name in layer.state_dict() if 'gamma' in name]
    randomise(layer)
    gamma_1, gamma_2 = (layer.gamma_1, layer.gamma_2) if init_values else (1, 1)
    x = tokens(2, 5, 8)
    middle = x + gamma_1 * layer.attn(F.layer_norm(x, (8, ), layer.ln1.weight, layer.ln1.bias))
    expected = middle + gamma_2 * layer.ffn(F.layer_norm(middle, (8, ), layer.ln2.weight, layer.ln2.bias))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize('init_values', [None, 0.3])
def test_regressor_layer_of_cae(init_values):
    """Masked tokens ask all tokens; positions are added to queries and keys, not to values; the second norm is on the
    trunk. Without `init_values` the factors are 1 and not trained.
    """
    layer = CAETransformerRegressorLayer(8, 2, 12, qkv_bias=True, init_values=init_values)
    assert layer.gamma_1_cross.eq(init_values or 1).all()
    assert layer.gamma_2_cross.requires_grad == (init_values is not None)
    if init_values:
        randomise(layer)
    layer.double()
    x, everything, pos_x, pos_all = tokens(2, 3, 8), tokens(2, 5, 8), tokens(2, 3, 8), tokens(2, 5, 8)

    def norm(name, t):
        return F.layer_norm(t, (8, ), *getattr(layer, name).parameters(), 1e-6)

    asked = layer.cross_attn(
        norm('norm1_q_cross', x + pos_x), norm('norm1_k_cross', everything + pos_all),
        norm('norm1_v_cross', everything))
    trunk = norm('norm2_cross', x + layer.gamma_1_cross * asked)
    torch.testing.assert_close(layer(x, everything, pos_x, pos_all), trunk + layer.gamma_2_cross * layer.ffn(trunk))


@pytest.mark.parametrize('rates', [
    dict(drop_path_rate=0.5),
    dict(drop_rate=0.5),
    dict(attn_drop_rate=0.5),
])
def test_dropping_is_for_training(rates):
    """In evaluation it is the layer without; in training its mean over many draws is (where the branch is linear)."""
    layer = TransformerEncoderLayer(8, 2, 12, **rates)
    plain = TransformerEncoderLayer(8, 2, 12)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 5, 8)
    assert layer.eval()(x).equal(plain(x))
    assert not layer.train()(x).equal(layer(x))
    if 'drop_rate' not in rates:
        with torch.no_grad():
            drawn = layer.attn(x.repeat(4000, 1, 1)) if 'attn_drop_rate' in rates else \
                layer.drop_path(plain.attn(x).repeat(4000, 1, 1))
        torch.testing.assert_close(drawn.unflatten(0, (4000, 2)).mean(0), plain.attn(x), rtol=0.2, atol=0.03)


def test_a_dropped_path_is_that_of_a_sample():
    layer = TransformerEncoderLayer(8, 2, 12, drop_path_rate=0.5)
    for p in layer.ffn.parameters():
        nn.init.zeros_(p)
    x = torch.randn(1, 5, 8).expand(200, -1, -1)
    out = layer(x)
    taken = x[0] + 2 * layer.attn(layer.ln1(x[:1]))[0]  # a path that is taken counts 1 / (1 - 0.5) times
    skipped = [row.equal(x[0]) for row in out]
    assert 70 < sum(skipped) < 130
    for row, was_skipped in zip(out, skipped):
        torch.testing.assert_close(row, x[0] if was_skipped else taken)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_branches_of_a_subset(dtype):
    """Of 7 samples floor(7 * 0.7) are computed, with 7 / 4 of their branches; the others are the shortcut."""
    layer = TransformerEncoderLayer(8, 2, 12, drop_path_rate=0.3, drop_path_subset=True)
    x = torch.randn(7, 5, 8)
    sizes = []
    layer.attn.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    for p in layer.ffn.parameters():
        nn.init.zeros_(p)
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype != torch.float32):
        out, branch = layer(x), layer.attn(layer.ln1(x))
    assert sizes == [4, 7] and out.dtype == torch.float32
    kept = (out != x).flatten(1).any(1)
    assert kept.sum() == 4
    tolerance = dict(rtol=1e-5, atol=1e-6) if dtype == torch.float32 else dict(rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(out[kept], (x + 7 / 4 * branch.float())[kept], **tolerance)
    assert layer.eval()(x).equal(TransformerEncoderLayer.forward(layer, x)) and layer(x).ne(x).flatten(1).any(1).all()


def test_subsets_have_the_expectation_of_all():
    """The mean over many draws is the layer without dropped paths, where the branch is linear, and so is its gradient;
    a rate up to 0.1 and no rate draw as without subsets, and a single sample is always computed."""
    layer = randomise(TransformerEncoderLayer(8, 2, 12, drop_path_rate=0.4, drop_path_subset=True)).double()
    linear = nn.Linear(8, 8).double()
    x = tokens(5, 3, 8).requires_grad_()
    mean = sum(layer.add_branch(x, linear) for _ in range(3000)) / 3000
    torch.testing.assert_close(mean, x + linear(x), rtol=0.05, atol=0.06)
    grads = [torch.autograd.grad(out.square().sum(), x)[0] for out in (mean, x + linear(x))]
    torch.testing.assert_close(*grads, rtol=0.1, atol=0.3)
    torch.testing.assert_close(layer.add_branch(x[:1], linear), (x + linear(x))[:1])
    for rate in (0., 0.1):
        ways = []
        for subset in (False, True):
            torch.manual_seed(0)
            layer = TransformerEncoderLayer(8, 2, 12, drop_path_rate=rate, drop_path_subset=subset)
            ways.append(layer(x.float()))
        assert ways[0].equal(ways[1])


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('subset', [False, True])
def test_layers_whose_insides_are_computed_again(with_cp, subset):
    """The same random numbers the second time: gradients with dropped paths are those of a layer that keeps all."""
    layers = nn.ModuleList(
        TransformerEncoderLayer(8, 2, 12, drop_rate=0.2, drop_path_rate=0.3, drop_path_subset=subset) for _ in range(3))
    x = torch.randn(6, 5, 8)
    calls = []
    layers[1].register_forward_pre_hook(lambda *args: calls.append(args))
    torch.manual_seed(1)
    expected = layers[2](layers[1](layers[0](x)))
    wanted = torch.autograd.grad(expected.square().sum(), list(layers.parameters()))
    del calls[:]
    torch.manual_seed(1)
    out = run_layers(layers, x, with_cp)
    assert out.equal(expected)
    for got, want in zip(torch.autograd.grad(out.square().sum(), list(layers.parameters())), wanted):
        torch.testing.assert_close(got, want)
    assert len(calls) == 1 + with_cp
    with torch.no_grad():
        run_layers(layers, x, with_cp)
    assert len(calls) == 2 + with_cp


def test_heads_share_the_dimensions_evenly():
    for build in (MultiheadAttention, CrossMultiheadAttention):
        with pytest.raises(ConfigError, match='embed_dims=10 is no multiple of num_heads=4'):
            build(10, 4)


# ---- patches


@pytest.mark.parametrize('norm', [None, dict(type='LN')])
def test_patch_embedding(norm):
    """Convolution and product with cut-out patches are the same map, in row order; rectangular, of two channels."""
    embed = randomise(PatchEmbed(2, 5, (8, 12), 4, norm_cfg=norm))
    assert embed.init_out_size == (2, 3)
    img = tokens(2, 2, 12, 8)
    out, grid = embed(img)
    assert grid == (3, 2)
    weight = embed.projection.weight
    for i in range(6):
        y, x = divmod(i, 2)
        patch = img[:, None, :, 4 * y:4 * y + 4, 4 * x:4 * x + 4]
        expected = (patch * weight).sum((2, 3, 4)) + embed.projection.bias
        if norm:
            expected = F.layer_norm(expected, (5, ), embed.norm.weight, embed.norm.bias)
        torch.testing.assert_close(out[:, i], expected)
    torch.testing.assert_close(embed.project(patchify(img, 4)), out)
    with pytest.raises(ConfigError, match='10 x 8 pixels have no whole number of patches of 4 x 4'):
        embed(img[:, :, :10])
    with pytest.raises(ConfigError, match='30 x 30 pixels'):
        PatchEmbed(input_size=30, patch_size=4)


# ---- positions


def mocov3_positions(rows, columns, dim):
    """sin and cos of the row, then of the column, number by number."""
    out = np.zeros((rows * columns, dim))
    quarter = dim // 4
    for y in range(rows):
        for x in range(columns):
            for i in range(quarter):
                w = 10000**(-i / quarter)
                for part, value in enumerate((math.sin(y * w), math.cos(y * w), math.sin(x * w), math.cos(x * w))):
                    out[y * columns + x, part * quarter + i] = value
    return torch.tensor(out, dtype=torch.float32)


@pytest.mark.parametrize('grid', [(4, 4), (2, 5)])
def test_sines_and_cosines(grid):
    embedding = build_2d_sincos_position_embedding(grid, 16)
    torch.testing.assert_close(embedding[0], mocov3_positions(*grid, 16), rtol=1e-6, atol=1e-6)
    assert len(embedding[0].unique(dim=0)) == grid[0] * grid[1]
    with_cls = build_2d_sincos_position_embedding(grid, 16, cls_token=True)
    assert with_cls[0, 1:].equal(embedding[0]) and not with_cls[0, 0].any()
    if grid[0] == grid[1]:
        assert build_2d_sincos_position_embedding(grid[0], 16).equal(embedding)
    with pytest.raises(ValueError, match='multiple of 4, got 18'):
        build_2d_sincos_position_embedding(grid, 18)


def test_sines_and_cosines_of_published_codes():
    """MoCo v3 begins with what it calls the width, but torch.meshgrid has that run down: ours. MAE begins with the
    columns: ours of the transposed grid.
    """
    side, quarter = 3, 4
    ours = build_2d_sincos_position_embedding(side, 4 * quarter)[0].view(side, side, -1)
    omega = 10000.**(-np.arange(quarter) / quarter)
    width, height = (axis.flatten().numpy() for axis in torch.meshgrid([torch.arange(side)] * 2, indexing='ij'))
    columns, rows = (axis.flatten() for axis in np.meshgrid(np.arange(side), np.arange(side)))
    for axes, expected in (((width, height), ours), ((columns, rows), ours.transpose(0, 1))):
        waves = [np.outer(axis, omega) for axis in axes]
        published = np.concatenate([f(wave) for wave in waves for f in (np.sin, np.cos)], 1).reshape(side, side, -1)
        torch.testing.assert_close(expected, torch.from_numpy(published).float(), rtol=1e-6, atol=1e-6)


def test_interpolated_positions():
    """The same grid: the very tensor. Constants stay constant, ramps rise, the class token stays."""
    positions = torch.randn(1, 1 + 12, 5)
    assert resize_pos_embed(positions, (3, 4), (3, 4)) is positions
    for mode in ('bicubic', 'bilinear', 'nearest'):
        resized = resize_pos_embed(positions, (3, 4), (6, 2), mode)
        assert resized.shape == (1, 13, 5) and resized[:, 0].equal(positions[:, 0])
        constant = resize_pos_embed(torch.full((1, 13, 5), 0.3), (3, 4), (5, 7), mode)
        torch.testing.assert_close(constant, torch.full((1, 36, 5), 0.3))
    ramp = torch.stack([torch.arange(3.)[:, None].expand(3, 4), torch.arange(4.).expand(3, 4)], 2).view(1, 12, 2)
    resized = resize_pos_embed(ramp, (3, 4), (7, 9), num_extra_tokens=0).view(7, 9, 2)
    assert (resized[..., 0].diff(dim=0) > 0).all() and (resized[..., 1].diff(dim=1) > 0).all()
    torch.testing.assert_close(resized[..., 0], resized[:, :1, 0].expand(7, 9))
    torch.testing.assert_close(resized[..., 1], resized[:1, :, 1].expand(7, 9))
    with pytest.raises(ValueError, match='13 tokens is none of 4 x 4 patches and 1 more'):
        resize_pos_embed(positions, (4, 4), (6, 2))


def test_interpolated_positions_are_those_of_images():
    """A grid is an image with the dimensions as channels."""
    positions = torch.randn(1, 1 + 12, 5)
    expected = F.interpolate(positions[0, 1:].view(3, 4, 5).permute(2, 0, 1)[None], (6, 5), mode='bicubic')
    torch.testing.assert_close(
        resize_pos_embed(positions, (3, 4), (6, 5))[0, 1:].view(6, 5, 5), expected[0].permute(1, 2, 0))
    half = resize_pos_embed(positions.bfloat16(), (3, 4), (6, 5))
    assert half.dtype == torch.bfloat16
    copied = copy.deepcopy(positions).requires_grad_()
    resize_pos_embed(copied, (3, 4), (6, 5)).sum().backward()
    assert copied.grad.ne(0).all()

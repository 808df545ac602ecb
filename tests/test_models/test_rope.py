"""Rotary positions number by number in float64, against transformers' DINOv3, and what they are for."""
import cmath
import math

import pytest
import torch
from torch import nn

from mmssl.models.utils.momentum_encoder import MomentumEncoder
from mmssl.models.utils.rope import RotaryPositions, turn
from mmssl.models.utils.transformer_blocks import MultiheadAttention, TransformerEncoderLayer, run_layers
from mmssl.utils.errors import ConfigError

CPU = torch.device('cpu')


def naive_turn(x, grid, base, extra=0, scale=1.):
    """N x d of one image and one head, number by number: channel i and i + d/2 are a complex number."""
    x = x.detach()
    dim, out = x.shape[1], x.clone()
    for row in range(grid[0]):
        for column in range(grid[1]):
            token = extra + row * grid[1] + column
            for i in range(dim // 2):
                by_row = i < dim // 4
                place, places = (row, grid[0]) if by_row else (column, grid[1])
                coordinate = ((place + 0.5) / places * 2 - 1) * scale
                period = base**((i if by_row else i - dim // 4) / (dim // 4))
                number = complex(x[token, i], x[token, i + dim // 2])
                number *= cmath.exp(2j * math.pi * coordinate / period)
                out[token, i], out[token, i + dim // 2] = number.real, number.imag
    return out


@pytest.mark.parametrize('grid, extra', [((3, 3), 0), ((2, 5), 3)])
def test_turning(grid, extra):
    torch.manual_seed(0)
    x = torch.randn(2, 3, extra + grid[0] * grid[1], 8, dtype=torch.float64)
    rope = RotaryPositions(8, base=50.)
    waves = rope(grid, CPU, extra)
    assert waves[0].shape == waves[1].shape == (1, 1, x.shape[2], 4) and not list(rope.state_dict())
    out = turn(x, waves)
    for b in range(2):
        for h in range(3):
            torch.testing.assert_close(out[b, h], naive_turn(x[b, h], grid, 50., extra), rtol=1e-5, atol=1e-5)
    assert out[:, :, :extra].equal(x[:, :, :extra])  # tokens in front do not turn, to the bit


def test_products_depend_on_offsets_alone():
    """The product of two patches is that of any two with the same offset in rows and columns, for one size of image."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16)
    waves = RotaryPositions(16)((4, 5), CPU)
    products = (turn(q.expand(-1, -1, 20, -1), waves) @ turn(k.expand(-1, -1, 20, -1), waves).transpose(2, 3))[0, 0]
    found = {}
    for i in range(20):
        for j in range(20):
            offset = (i // 5 - j // 5, i % 5 - j % 5)
            torch.testing.assert_close(products[i, j], found.setdefault(offset, products[i, j]), rtol=1e-4, atol=1e-4)
    assert len({round(v.item(), 3) for v in found.values()}) > 50


def test_same_as_transformers():
    """The angles for a rectangle, and the turning."""
    transformers = pytest.importorskip('transformers')
    from transformers.models.dinov3_vit import modeling_dinov3_vit as theirs
    config = transformers.DINOv3ViTConfig(hidden_size=32, num_attention_heads=2, patch_size=4, rope_theta=100.)
    cos, sin = theirs.DINOv3ViTRopePositionEmbedding(config).eval()(torch.zeros(1, 3, 12, 20))
    waves = RotaryPositions(16)((3, 5), CPU, 2)
    q, k = torch.randn(2, 2, 2, 17, 16)
    for got, want in zip((turn(q, waves), turn(k, waves)), theirs.apply_rotary_pos_emb(q, k, cos, sin)):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_visible_patches_keep_their_angles():
    rope, visible = RotaryPositions(8), torch.tensor([[4, 0, 5], [1, 2, 3]])
    everything, some = rope((2, 3), CPU, 1), rope((2, 3), CPU, 1, visible)
    for whole, part in zip(everything, some):
        assert part.shape == (2, 1, 4, 4)
        for b in range(2):
            assert part[b, 0, 1:].equal(whole[0, 0, 1 + visible[b]]) and part[b, 0, 0].equal(whole[0, 0, 0])


def test_rescaling_is_log_uniform():
    """In training alone, in both axes alike; the copy that follows by a moving average does not rescale."""
    rope, plain = RotaryPositions(8, rescale=2.), RotaryPositions(8)
    assert rope.eval()((2, 3), CPU)[0].equal(plain((2, 3), CPU)[0])
    torch.manual_seed(0)
    rope.train()
    # the column next to the middle has the coordinate 1 / 8, and the shortest period turns by 2 pi times it
    waves = (rope((1, 8), CPU) for _ in range(4000))
    logs = torch.stack([torch.atan2(sin, cos)[0, 0, 4, 2] / (2 * math.pi / 8) for cos, sin in waves]).log2()
    assert logs.min() >= -1 and logs.max() <= 1 and abs(logs.mean()) < 0.05
    assert logs.std() == pytest.approx(2 / math.sqrt(12), rel=0.05)
    x = torch.randn(2, 1, 6, 8, dtype=torch.float64)
    torch.manual_seed(1)
    out = turn(x, rope((2, 3), CPU))
    torch.manual_seed(1)
    scale = 2**(2 * torch.rand(()) - 1).item()
    for b in range(2):
        torch.testing.assert_close(out[b, 0], naive_turn(x[b, 0], (2, 3), 100., 0, scale), rtol=1e-5, atol=1e-5)
    teacher = MomentumEncoder(nn.Sequential(rope), drop_path=False)
    assert teacher[0][0].rescale is None and rope.rescale == 2.
    assert MomentumEncoder(nn.Sequential(rope))[0][0].rescale == 2.


def test_attention():
    """Of turned queries and keys; values are not turned. Maps are those of the output."""
    attn, rope = MultiheadAttention(16, 2).double(), RotaryPositions(8)
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    waves = rope((2, 3), CPU, 1)
    q, k, v = attn.project(x)
    q, k = (
        torch.stack([torch.stack([naive_turn(head, (2, 3), 100., 1) for head in one]) for one in t]) for t in (q, k))
    maps = (q @ k.transpose(2, 3) / math.sqrt(8)).softmax(3)
    torch.testing.assert_close(attn.attention_maps(x, waves), maps, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(attn(x, waves), attn.proj((maps @ v).transpose(1, 2).flatten(2)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Angles are float32 in a model of half precision too; what is turned keeps its kind."""
    rope = RotaryPositions(64).to(dtype)
    waves = rope((4, 4), CPU)
    assert waves[0].dtype == torch.float32 and waves[0].equal(RotaryPositions(64)((4, 4), CPU)[0])
    x = torch.randn(1, 2, 16, 64)
    out = turn(x.to(dtype), waves)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), turn(x, waves), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize('with_cp', [False, True])
def test_waves_of_a_subset(with_cp):
    """Where branches are computed for some images alone, each has its own waves."""
    torch.manual_seed(0)
    layer = TransformerEncoderLayer(16, 2, 24, drop_path_rate=0.5, drop_path_subset=True)
    for p in layer.ffn.parameters():
        nn.init.zeros_(p)
    x, visible = torch.randn(6, 7, 16), torch.stack([torch.randperm(12)[:6] for _ in range(6)])
    waves = RotaryPositions(8)((3, 4), CPU, 1, visible)
    out = run_layers([layer], x, with_cp, waves)
    kept = (out != x).flatten(1).any(1)
    assert kept.sum() == 3
    for i in range(6):
        alone = layer.attn(layer.ln1(x[i:i + 1]), [wave[i:i + 1] for wave in waves])[0]
        torch.testing.assert_close(out[i], x[i] + 2 * alone if kept[i] else x[i])
    out.sum().backward()
    assert layer.attn.qkv.weight.grad.abs().sum() > 0


def test_wrong_numbers():
    for kwargs, message in ((dict(head_dim=6), 'multiple of 4, got 6'), (dict(head_dim=8, base=0), 'got base=0'),
                            (dict(head_dim=8, rescale=0.5), 'rescale=0.5')):
        with pytest.raises(ConfigError, match=message):
            RotaryPositions(**kwargs)

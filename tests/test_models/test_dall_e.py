"""DALL-E's encoder against its published description in plain operations."""
import pytest
import torch
from torch.nn import functional as F

from mmssl.models import Encoder, map_pixels
from mmssl.models.utils.dall_e import EncoderBlock
from mmssl.utils.checkpoint import CheckpointError


def conv(x, weights, name):
    w = weights[f'{name}.w']
    return F.conv2d(x, w, weights[f'{name}.b'], padding=w.shape[-1] // 2)


def reference(x, weights, blocks):
    """A 7 x 7 convolution; four groups of residual blocks, halved in size between them; a linear layer a position.

    A block adds to its input, where needed brought to more channels, 1 / (number of blocks)^2 of four convolutions, of
    3, 3, 3 and 1 pixels, each behind a ReLU.
    """
    x = conv(x, weights, 'blocks.input')
    for group in range(1, 5):
        for i in range(1, blocks + 1):
            name = f'blocks.group_{group}.block_{i}'
            y = x
            for layer in range(1, 5):
                y = conv(y.relu(), weights, f'{name}.res_path.conv_{layer}')
            if i == 1 and group > 1:
                x = conv(x, weights, f'{name}.id_path')
            x = x + y / (4 * blocks)**2
        if group < 4:
            x = F.max_pool2d(x, 2)
    return conv(x.relu(), weights, 'blocks.output.conv')


@pytest.mark.parametrize('blocks, channels', [(1, 3), (2, 3), (3, 1)])
def test_encoder(blocks, channels):
    encoder = Encoder(n_hid=8, n_blk_per_group=blocks, input_channels=channels, vocab_size=20).double()
    for name, parameter in encoder.named_parameters():
        parameter.copy_(torch.randn(parameter.shape))  # biases too
    x = torch.rand(2, channels, 16, 24).double()
    logits = encoder(x)
    assert logits.shape == (2, 20, 2, 3) and not logits.requires_grad
    torch.testing.assert_close(logits, reference(x, encoder.state_dict(), blocks))


def test_names_and_sizes_of_the_weights_are_the_published_ones():
    with torch.device('meta'):
        weights = Encoder().state_dict()
    shapes = {}

    def layer(name, n_in, n_out, width):
        shapes[f'blocks.{name}.w'] = (n_out, n_in, width, width)
        shapes[f'blocks.{name}.b'] = (n_out, )

    layer('input', 3, 256, 7)
    n_in = 256
    for group, n_out in enumerate((256, 512, 1024, 2048), 1):
        for block in ('block_1', 'block_2'):
            if n_in != n_out:
                layer(f'group_{group}.{block}.id_path', n_in, n_out, 1)
            for i, sizes in enumerate(((n_in, n_out // 4, 3), (n_out // 4, n_out // 4, 3), (n_out // 4, n_out // 4, 3),
                                       (n_out // 4, n_out, 1)), 1):
                layer(f'group_{group}.{block}.res_path.conv_{i}', *sizes)
            n_in = n_out
    layer('output.conv', 2048, 8192, 1)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == shapes


def test_weights_at_the_start_keep_the_variance():
    """Normal with variance 1 / (inputs of a unit), biases 0, and no gradient."""
    block = EncoderBlock(64, 128, 8)
    assert block.res_path.conv_1.w.std().item() == pytest.approx((64 * 9)**-0.5, rel=0.03)
    assert not any(p.requires_grad for p in block.parameters()) and not block.id_path.b.any()


def test_map_pixels():
    assert map_pixels(torch.tensor([0., 0.5, 1.])).tolist() == pytest.approx([0.1, 0.5, 0.9])


@pytest.mark.parametrize(
    'sizes',
    [dict(n_hid=8, n_blk_per_group=1, vocab_size=20),
     dict(n_hid=4, n_blk_per_group=3, input_channels=1, vocab_size=7)])
def test_sizes_are_those_of_the_weights(sizes):
    encoder, x = Encoder(**sizes), torch.rand(1, sizes.get('input_channels', 3), 8, 8)
    assert Encoder.from_weights(encoder.state_dict())(x).equal(encoder(x))
    assert Encoder.from_weights(encoder.state_dict()).vocab_size == sizes['vocab_size']


def test_weights_that_do_not_fit_are_named():
    weights = Encoder(n_hid=8, n_blk_per_group=2, vocab_size=20).state_dict()
    del weights['blocks.group_4.block_2.res_path.conv_3.b']
    weights['blocks.group_2.block_1.id_path.b'] = torch.zeros(3)
    with pytest.raises(
            CheckpointError,
            match='1 missing, 0 unexpected, 1 mismatched; 1 missing '
            r'\(blocks.group_4.block_2.res_path.conv_3.b \('):
        Encoder.from_weights(weights)
    with pytest.raises(ValueError, match=r'3 channels, got \(2, 1, 8, 8\)'):
        Encoder(n_hid=8, vocab_size=20)(torch.rand(2, 1, 8, 8))


def test_autocast_does_not_change_the_tokens():
    encoder, x = Encoder(n_hid=8, vocab_size=20), torch.rand(2, 3, 16, 16)
    plain = encoder(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert encoder(x).equal(plain)

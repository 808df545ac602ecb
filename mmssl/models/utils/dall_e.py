# Copyright (c) mmssl contributors. All rights reserved.
"""The image encoder of DALL-E, whose tokens CAE predicts.

The layers and the names of their weights are those of OpenAI's published encoder <https://github.com/openai/DALL-E>.
"""
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.utils.checkpoint import load_weights

GROUPS = 4
EPS = 0.1


def map_pixels(x):
    """Pixels between 0 and 1 to the range that the encoder was trained on, 0.1 to 0.9."""
    return (1 - 2 * EPS) * x + EPS


class Conv2d(nn.Module):
    """Convolution that keeps height and width, with weights `w` and `b` that are not trained.

    Args:
        n_in (int): Input channels.
        n_out (int): Output channels.
        kw (int): Width of the kernel, odd.
        use_float16 (bool): Compute in float16 on a GPU, as published.
    """

    def __init__(self, n_in, n_out, kw, use_float16=True):
        super().__init__()
        self.use_float16 = use_float16
        self.w = nn.Parameter(torch.randn(n_out, n_in, kw, kw) / (n_in * kw**2)**0.5, requires_grad=False)
        self.b = nn.Parameter(torch.zeros(n_out), requires_grad=False)

    def forward(self, x):
        dtype = torch.float16 if self.use_float16 and self.w.is_cuda else self.w.dtype
        return F.conv2d(x.to(dtype), self.w.to(dtype), self.b.to(dtype), padding=self.w.shape[-1] // 2)


class EncoderBlock(nn.Module):
    """Residual block of four convolutions.

    Args:
        n_in (int): Input channels.
        n_out (int): Output channels, a multiple of 4.
        n_layers (int): Number of blocks in the network; the more, the less each adds.
    """

    def __init__(self, n_in, n_out, n_layers):
        super().__init__()
        n_hid = n_out // 4
        self.post_gain = 1 / n_layers**2
        self.id_path = Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.res_path = nn.Sequential()
        for i, (a, b, kw) in enumerate(((n_in, n_hid, 3), (n_hid, n_hid, 3), (n_hid, n_hid, 3), (n_hid, n_out, 1)), 1):
            self.res_path.add_module(f'relu_{i}', nn.ReLU())
            self.res_path.add_module(f'conv_{i}', Conv2d(a, b, kw))

    def forward(self, x):
        return self.id_path(x) + self.post_gain * self.res_path(x)


class Encoder(nn.Module):
    """Images to logits of tokens, one for each 8 x 8 pixels.

    Args:
        n_hid (int): Channels of the first group, a multiple of 4; each of the three others has twice as many as the
            one before.
        n_blk_per_group (int): Residual blocks in each of the four groups.
        input_channels (int): Channels of the images.
        vocab_size (int): Number of tokens.
    """

    def __init__(self, n_hid=256, n_blk_per_group=2, input_channels=3, vocab_size=8192):
        super().__init__()
        self.input_channels = input_channels
        self.vocab_size = vocab_size
        self.blocks = nn.Sequential()
        self.blocks.add_module('input', Conv2d(input_channels, n_hid, 7))
        n_in = n_hid
        for group in range(1, GROUPS + 1):
            n_out = 2**(group - 1) * n_hid
            layers = nn.Sequential()
            for i in range(1, n_blk_per_group + 1):
                layers.add_module(f'block_{i}', EncoderBlock(n_in, n_out, GROUPS * n_blk_per_group))
                n_in = n_out
            if group < GROUPS:
                layers.add_module('pool', nn.MaxPool2d(2))
            self.blocks.add_module(f'group_{group}', layers)
        output = nn.Sequential()
        output.add_module('relu', nn.ReLU())
        output.add_module('conv', Conv2d(n_in, vocab_size, 1, use_float16=False))
        self.blocks.add_module('output', output)

    @classmethod
    def from_weights(cls, weights):
        """An encoder of the sizes that these weights have, and with them.

        Args:
            weights (dict[str, Tensor]): A state dict.

        Raises:
            CheckpointError: They are no weights of such an encoder.
        """
        first, last = weights.get('blocks.input.w'), weights.get('blocks.output.conv.w')
        sizes = {}  # of weights of something else load_weights says what does not fit
        if first is not None and last is not None:
            blocks = sum(f'blocks.group_1.block_{i}.res_path.conv_1.w' in weights for i in range(1, len(weights)))
            sizes = dict(
                n_hid=first.shape[0], n_blk_per_group=blocks, input_channels=first.shape[1], vocab_size=last.shape[0])
        with torch.device('meta'):  # drawing weights would change the random numbers of a resumed training
            encoder = cls(**sizes)
        encoder.to_empty(device='cpu')
        load_weights(encoder, weights, strict=True)
        return encoder

    def forward(self, x):
        """Images that map_pixels has mapped, B x C x H x W, to logits, B x vocab_size x H/8 x W/8."""
        if x.shape[1:2] != (self.input_channels, ):
            raise ValueError(f'this encoder takes images of {self.input_channels} channels, got {tuple(x.shape)}')
        # it knows itself what it computes in float16: the tokens shall not depend on how the rest trains
        with torch.autocast(x.device.type, enabled=False):
            return self.blocks(x)

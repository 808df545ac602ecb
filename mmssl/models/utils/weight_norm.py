# Copyright (c) mmssl contributors. All rights reserved.
"""A linear layer whose rows have a length of their own."""
import torch
from torch import nn
from torch.nn import functional as F

from ..losses import in_float32


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose rows are g * v / |v| <https://arxiv.org/abs/1602.07868>.

    Direction and length are plain parameters, unlike those of torch.nn.utils.weight_norm: the layer can be copied and
    compiled, and is loaded from checkpoints of that.

    Args:
        in_channels (int): Dimension of the input.
        out_channels (int): Number of rows.
        train_length (bool): Whether the lengths are trained. Else they stay 1.

    Attributes:
        weight_v (Tensor): Directions, out_channels x in_channels.
        weight_g (Tensor): Lengths, out_channels x 1.
    """

    def __init__(self, in_channels, out_channels, train_length=True):
        super().__init__()
        self.weight_v = nn.Parameter(torch.empty(out_channels, in_channels))
        self.weight_g = nn.Parameter(torch.ones(out_channels, 1), requires_grad=train_length)
        nn.init.trunc_normal_(self.weight_v, std=.02)

    @property
    def weight(self):
        """Tensor: The rows, out_channels x in_channels, in float32 whatever autocast says."""
        return weight_norm(self.weight_v, self.weight_g)

    def forward(self, x):
        """N x in_channels to N x out_channels."""
        return F.linear(x, self.weight.to(x.dtype))


@in_float32
def weight_norm(v, g):
    """Rows of v divided by their lengths, times g."""
    # one product of this size, where normalising first would make two
    return v * (g / v.norm(dim=1, keepdim=True).clamp(min=1e-12))

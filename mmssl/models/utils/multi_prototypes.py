# Copyright (c) mmssl contributors. All rights reserved.
"""Several sets of prototypes."""
from mmcv.runner import BaseModule
from torch import nn


class MultiPrototypes(BaseModule):
    """Sets of prototypes of different sizes, each a linear layer without bias: prototypes0, prototypes1, ...

    Args:
        output_dim (int): Dimension of a prototype.
        num_prototypes (list[int]): Number of prototypes in each set.
    """

    def __init__(self, output_dim, num_prototypes):
        super().__init__()
        for i, number in enumerate(num_prototypes):
            self.add_module(f'prototypes{i}', nn.Linear(output_dim, number, bias=False))

    def forward(self, x):
        """Features, N x output_dim, to a list of scores, N x K each."""
        return [layer(x) for layer in self.children()]

# Copyright (c) mmssl contributors. All rights reserved.
"""Head of NNCLR."""
import math

import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import gather_with_grad, get_rank
from ..builder import HEADS, build_neck
from ..losses import check_several_images, cross_entropy, similarities, unit_vectors


@HEADS.register_module()
class NNCLRHead(BaseModule):
    """A neighbour finds the prediction of its image among those of the batch (NNCLR, https://arxiv.org/abs/2104.14548).

    Args:
        predictor (dict): Config of a neck without pooling.
        temperature (float): Divides the similarities.

    Attributes:
        uniform_values, sharpness, uniform_kind: See ContrastiveHead.

    Raises:
        ValueError: The temperature is not positive.
    """

    sharpness = ('temperature', )
    uniform_kind = 'keys'

    def __init__(self, predictor, temperature=0.1):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        self.predictor = build_neck(predictor)
        self.temperature = temperature
        self.uniform_values = {}

    def forward(self, z, neighbours):
        """The loss of one view against the neighbours of the other.

        Args:
            z (Tensor): Projections of one view, N x D. Every process has the same N.
            neighbours (Tensor): Unit vectors that stand for the other view, N x D; they get no gradient.

        Returns:
            Tensor: Equation 2, its mean over the N images; 0-dim.

        Raises:
            ConfigError: The batch of all processes is one image.
        """
        keys = gather_with_grad(unit_vectors(self.predictor([z])[0]))  # NW x D of W processes, in rank order
        check_several_images(len(keys))
        self.uniform_values['loss'] = math.log(len(keys))
        own = torch.arange(len(z), device=z.device) + get_rank() * len(z)
        return cross_entropy(similarities(neighbours, keys) / self.temperature, own)

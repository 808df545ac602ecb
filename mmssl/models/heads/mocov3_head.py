# Copyright (c) mmssl contributors. All rights reserved.
"""Head of MoCo v3."""
import math

import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import concat_all_gather, get_rank
from ..builder import HEADS, build_neck
from ..losses import check_several_images, cross_entropy, similarities, unit_vectors


@HEADS.register_module()
class MoCoV3Head(BaseModule):
    """A predicted projection finds its key among those of the batch (MoCo v3, https://arxiv.org/abs/2104.02057).

    Args:
        predictor (dict): Config of a neck without pooling.
        temperature (float): T, divides the similarities.

    Attributes:
        uniform_values, sharpness, uniform_kind: See ContrastiveHead; of the sum over both directions.

    Raises:
        ValueError: The temperature is not positive.
    """

    sharpness = ('temperature', )
    uniform_kind = 'keys'

    def __init__(self, predictor, temperature=1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        self.predictor = build_neck(predictor)
        self.temperature = temperature
        self.uniform_values = {}

    def forward(self, base_out, momentum_out):
        """The loss of one view against the other.

        Args:
            base_out (Tensor): Projections by the online networks, N x D. Every process has the same N.
            momentum_out (Tensor): Those of the other view by the momentum encoder, N x D; they get no gradient.

        Returns:
            dict[str, Tensor]: `loss`, times 2T as in the paper's algorithm 1.

        Raises:
            ConfigError: The batch of all processes is one image.
        """
        queries = unit_vectors(self.predictor([base_out])[0])
        keys = concat_all_gather(unit_vectors(momentum_out.detach()))  # NW x D of W processes, in rank order
        check_several_images(len(keys))
        self.uniform_values['loss'] = 4 * self.temperature * math.log(len(keys))
        own = torch.arange(len(queries), device=queries.device) + get_rank() * len(queries)
        scores = similarities(queries, keys) / self.temperature  # N x NW
        return dict(loss=2 * self.temperature * cross_entropy(scores, own))

# Copyright (c) mmssl contributors. All rights reserved.
"""Head of SimCLR, MoCo and their kin."""
import math

from mmcv.runner import BaseModule

from mmssl.utils.dist import concat_all_gather, gather_with_grad, get_rank
from ..builder import HEADS
from ..losses import decoupled_info_nce, info_nce, supervised_contrastive, weights_of_hard_pairs


@HEADS.register_module()
class ContrastiveHead(BaseModule):
    """InfoNCE over one positive and many negative similarities.

    Args:
        temperature (float): Divides the similarities.

    Attributes:
        uniform_values, sharpness, uniform_kind: See DINOHead; by the number of keys of the last batch.

    Raises:
        ValueError: The temperature is not positive.
    """

    sharpness = ('temperature', )
    uniform_kind = 'keys'

    def __init__(self, temperature=0.1):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        self.temperature = temperature
        self.uniform_values = {}

    def _note_keys(self, neg, others=0):
        """Keep what the loss is where all similarities are equal: the logarithm of the number of keys."""
        # a tensor, so that nobody waits for the device
        self.uniform_values['loss'] = ((neg[0].detach() > -math.inf).sum() + others).clamp(1).float().log()

    def forward(self, pos, neg):
        """Similarities to the positive key (N x 1) and to the negative ones (N x K, -inf leaves one out) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        self._note_keys(neg, others=1)
        return dict(loss=info_nce(pos, neg, temperature=self.temperature))


@HEADS.register_module()
class DCLHead(ContrastiveHead):
    """Decoupled contrastive learning: the positive key is not among the keys that it is told from.

    Wherever ContrastiveHead stands: in SimCLR, MoCo and their kin. See DCL <https://arxiv.org/abs/2110.06848>.

    Args:
        temperature (float): Divides the similarities.
        sigma (float, optional): Weigh positive similarities as DCLW does, see weights_of_hard_pairs. None is DCL.

    Raises:
        ValueError: The temperature or sigma is not positive.
    """

    def __init__(self, temperature=0.1, sigma=None):
        super().__init__(temperature)
        if sigma is not None and not sigma > 0:
            raise ValueError(f'sigma must be positive, or None for equal weights, got {sigma!r}')
        self.sigma = sigma

    def forward(self, pos, neg):
        """See ContrastiveHead. The loss may be negative."""
        self._note_keys(neg)
        weight = 1. if self.sigma is None else weights_of_hard_pairs(pos, self.sigma)
        return dict(loss=decoupled_info_nce(pos, neg, self.temperature, weight))


@HEADS.register_module()
class SupConHead(ContrastiveHead):
    """Images of a class are told from those of other classes (SupCon, https://arxiv.org/abs/2004.11362).

    Args:
        temperature (float): Divides the similarities.

    Raises:
        ValueError: The temperature is not positive.
    """

    def forward(self, z, groups):
        """The loss of the views of all images.

        Args:
            z (Tensor): Unit vectors, N x D. Every process has the same N.
            groups (Tensor): N integers, equal for what belongs together.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        keys, key_groups, first = gather_with_grad(z), concat_all_gather(groups), get_rank() * len(z)
        self.uniform_values['loss'] = math.log(max(1, len(keys) - 1))
        return dict(loss=supervised_contrastive(z, keys, groups, key_groups, first, self.temperature))

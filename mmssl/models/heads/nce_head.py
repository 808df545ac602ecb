# Copyright (c) mmssl contributors. All rights reserved.
"""Head of NPID and PIRL."""
import math

import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import concat_all_gather
from mmssl.utils.errors import ConfigError
from ..builder import HEADS
from ..losses import log_partition, nce
from ..utils.channels import settle


@HEADS.register_module()
class NCEHead(BaseModule):
    """Noise-contrastive estimate over the entry of an image and drawn ones of a memory bank, see nce.

    The partition constant Z is given, or estimated from the first training batch of all processes and kept from then
    on, as the paper does. It is a buffer, so that a resumed training goes on with the same one. Where there are
    several embeddings of an image, each has a head and so a constant of its own.

    In the first batch the memory is random. A moment later it holds features of a network that makes all images alike,
    and Z is too small by the exponential of their similarity: the loss then pushes all features from where they all
    are, and small networks and data sets do not learn. `norm_momentum` has Z follow the network.

    Args:
        temperature (float): Divides the similarities.
        norm_constant (float, optional): Z. None, or -1 as in VISSL, estimates it.
        length (int, optional): Number of entries of the memory, that is, of training samples; None takes it from the
            training data.
        norm_momentum (float): Share of each later batch's estimate in the logarithm of Z, from 0 (the first one stays,
            as published) to 1.

    Attributes:
        log_z (Tensor): Logarithm of Z, 0-dim.
        known (Tensor): Whether `log_z` was given or estimated, 0-dim boolean.

    Raises:
        ConfigError: A value out of range.
    """

    def __init__(self, temperature=0.07, norm_constant=None, length=None, norm_momentum=0.):
        super().__init__()
        if not temperature > 0:
            raise ConfigError(f'temperature must be positive, got {temperature!r}')
        if norm_constant == -1:
            norm_constant = None
        if norm_constant is not None and not 0 < norm_constant < math.inf:
            raise ConfigError(f'norm_constant is the sum of exp(similarity / temperature) over the memory, a positive '
                              f'number, or None to estimate it; got {norm_constant!r}')
        if not 0 <= norm_momentum <= 1 or norm_momentum and norm_constant is not None:
            raise ConfigError(f'norm_momentum is a share from 0 to 1, and 0 where norm_constant is given; got '
                              f'{norm_momentum!r} and norm_constant={norm_constant!r}')
        if length is not None and length < 1:
            raise ConfigError(f'length is the number of entries of the memory, got {length!r}')
        self.temperature = temperature
        self.length = length
        self.norm_momentum = norm_momentum
        self.norm_constant = norm_constant
        self._known = norm_constant is not None  # as the buffer, without waiting for the device
        self.register_buffer('log_z', torch.tensor(math.log(norm_constant or 1)))
        self.register_buffer('known', torch.tensor(self._known))

    def fit_to_data(self, samples, views=None):
        """Take over the number of training samples, or see that the given one is right.

        Raises:
            ConfigError: Another `length` was given.
        """
        self.length = settle('length', self.length, samples, 'samples')

    def forward(self, pos, neg):
        """Similarities to the image's own entry (N x 1) and to drawn ones (N x K) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.

        Raises:
            ConfigError: The number of entries is not known.
        """
        if self.length is None:
            raise ConfigError('NCEHead needs the number of entries of the memory: give it as length, or train with '
                              'mmssl.apis.train_model, which takes it from the data')
        if self._known and not self.norm_momentum:
            log_z = self.log_z
        else:
            local = log_partition(pos, neg, self.length, self.temperature)
            parts = concat_all_gather(local[None])  # of all processes, which have equal shares of a batch
            log_z = parts.logsumexp(0) - math.log(len(parts))
            if self._known:
                log_z = torch.lerp(self.log_z, log_z.to(self.log_z.dtype), self.norm_momentum)
            if self.training:
                self.log_z.copy_(log_z)
                self.known.fill_(True)
                self._known = True
        return dict(loss=nce(pos, neg, log_z, self.length, self.temperature))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.norm_constant is not None:  # a given one counts, whatever the checkpoint was trained with
            self.log_z.fill_(math.log(self.norm_constant))
            self.known.fill_(True)
        self._known = self.known.item()

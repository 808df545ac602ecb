# Copyright (c) mmssl contributors. All rights reserved.
"""Memory bank with one feature for each sample of the training set."""
import torch
from mmcv.runner import BaseModule
from torch.nn import functional as F

from mmssl.utils.dist import concat_all_gather
from mmssl.utils.errors import ConfigError
from ..builder import MEMORIES
from ..losses import in_float32, unit_vectors
from ..utils.channels import settle
from ..utils.drawing import keyed_integers


@in_float32
def bank_similarities(queries, bank, ind):
    """Dot products of each query with entries of a bank of its own choice.

    The bank may change before the backward pass, so that a copy has to be made of it: of the chosen entries or of the
    whole bank, whichever is smaller. With 65,536 entries for each of 32 images the bank of ImageNet is the smaller one.

    Args:
        queries (Tensor): N x D.
        bank (Tensor): L x D.
        ind (Tensor): Entries for each query, N x K integers.

    Returns:
        Tensor: N x K.

    Raises:
        ValueError: Queries and bank differ in dimension.
    """
    if queries.shape[1] != bank.shape[1]:
        raise ValueError(f'the memory holds features of dimension {bank.shape[1]} (feat_dim), got features of shape '
                         f'{tuple(queries.shape)}')
    if len(bank) <= ind.numel():
        return (queries @ bank.clone().T).gather(1, ind)
    entries = bank.index_select(0, ind.flatten()).view(*ind.shape, -1)  # N x K x D
    return torch.bmm(entries, queries[:, :, None])[:, :, 0]


@torch.no_grad()
def blend_features(bank, ind, feature, momentum):
    """Move the entries of the samples of all processes towards their new features.

    Of a sample that is there more than once (samplers fill up batches) the first feature counts, in rank order: the
    result depends neither on the device nor on the number of processes.

    Args:
        bank (Tensor): L x D, rows of unit length, changed in place.
        ind (Tensor): The samples of this process, B integers.
        feature (Tensor): Their features, B x D, of any length.
        momentum (float): Share of the new feature; the rest of the old one stays.

    Returns:
        tuple[Tensor, Tensor]: Samples of all W processes (BW), and what the bank holds of them now (BW x D).
    """
    ind, feature = concat_all_gather(ind), concat_all_gather(unit_vectors(feature).to(bank.dtype))
    torch._assert_async((ind < len(bank)).all(), f'a sample has no entry in the memory bank: memory_bank.length is '
                        f'{len(bank)}, which must be the number of training samples')
    by_sample, order = ind.sort(stable=True)
    first = order[torch.searchsorted(by_sample, ind)]
    new = unit_vectors(torch.lerp(bank[ind], feature[first], momentum))
    bank[ind] = new
    return ind, new


class SizedMemory(BaseModule):
    """A memory with one entry for each training sample, whose number the data may tell.

    A subclass makes its buffers in `begin`, which is called once more when the number is known: by `fit_to_data`
    before training, or by a checkpoint that is loaded.

    Attributes:
        length (int | None): Number of samples; None as long as it is not known.
    """

    def begin(self, length):
        """Make the entries of this many samples; None makes none yet."""
        self.length = length

    def fit_to_data(self, samples, views=None):
        """Take the number of samples from the training data, or check it; see BaseModel.fit_to_data."""
        settle('length', self.length, samples, 'samples')
        if self.length is None:
            self.begin(samples)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        saved = state_dict.get(prefix + 'feature_bank')
        if self.length is None and saved is not None and len(saved):
            self.begin(len(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)


@MEMORIES.register_module()
class SimpleMemory(SizedMemory):
    """One feature of unit length for each sample, as NPID keeps (https://arxiv.org/abs/1805.01978).

    The bank is a buffer: the same on all processes, and part of checkpoints. It starts with random directions, drawn
    by a generator of its own.

    Args:
        length (int | None): Number of samples; None is as many as the training data has, see SizedMemory.
        feat_dim (int): Dimension of the features.
        momentum (float): Share of the new feature in an update, in (0, 1]; the rest of the old one stays. It counts
            this way in all memories here, as in MMSelfSup; 1 replaces features. VISSL's number is the share of the old
            feature.
        norm_init (bool): Whether the first entries are of unit length. Else they are uniform numbers between
            -sqrt(3 / feat_dim) and sqrt(3 / feat_dim), so that their mean square length is 1.

    Attributes:
        feature_bank (Tensor): length x feat_dim.
        draws (Tensor): How often entries were drawn in training, on which the next ones depend; 0-dim integer.

    Raises:
        ValueError: A size is not positive, or the momentum not within (0, 1].
    """

    def __init__(self, length=None, feat_dim=128, momentum=0.5, norm_init=True):
        super().__init__()
        if length is not None and length < 1 or feat_dim < 1:
            raise ValueError(f'a memory needs positive sizes, got length={length!r}, feat_dim={feat_dim!r}')
        if not 0 < momentum <= 1:
            raise ValueError(f'momentum is the share of the new feature, above 0 and at most 1; got {momentum!r}')
        self.momentum = momentum
        self.norm_init = norm_init
        self.register_buffer('feature_bank', torch.empty(0, feat_dim))
        self.register_buffer('draws', torch.zeros((), dtype=torch.long))
        self.begin(length)

    def begin(self, length):
        super().begin(length)
        shape = (length or 0, self.feature_bank.shape[1])
        generator = torch.Generator().manual_seed(0)
        if self.norm_init:
            bank = F.normalize(torch.randn(shape, generator=generator), dim=1)
        else:
            bank = (2 * torch.rand(shape, generator=generator) - 1) * (3 / shape[1])**0.5
        self.feature_bank = bank.to(self.feature_bank)

    def update(self, ind, feature):
        """Blend in features of samples, see blend_features.

        Args:
            ind (Tensor): The samples of this process, B integers.
            feature (Tensor): Their features, B x feat_dim, of any length.
        """
        blend_features(self.feature_bank, ind, feature, self.momentum)

    def draw(self, ind, num, exclude=False):
        """Draw entries for each sample, each with the same probability, with replacement.

        What is drawn depends on the sample and on how often was drawn before in training: several processes draw
        what one would, and a resumed training what an uninterrupted one would.

        Args:
            ind (Tensor): The samples, B integers.
            num (int): Number of entries for each.
            exclude (bool): Never draw the sample's own entry.

        Returns:
            Tensor: B x num integers.
        """
        drawn = keyed_integers(self.draws, ind, num, self.length - exclude)
        if self.training:
            self.draws += 1
        # one number less to draw from, and those from the sample's own on moved up by one
        return drawn + (drawn >= ind[:, None]) if exclude else drawn

    def score(self, queries, ind, num, exclude=False):
        """Similarities of samples to their own entries and to drawn ones.

        Args:
            queries (Tensor): Features of unit length, B x feat_dim.
            ind (Tensor): The samples, B integers.
            num (int): Number of entries to draw for each.
            exclude (bool): Never draw the sample's own entry.

        Returns:
            tuple[Tensor, Tensor]: To the own entry, B x 1, and to the drawn ones, B x num.

        Raises:
            ConfigError: The number of samples is not known.
        """
        if self.length is None:
            raise ConfigError('the memory needs the number of samples: give it as memory_bank.length, or train with '
                              'mmssl.apis.train_model, which takes it from the data')
        bank = self.feature_bank
        pos = bank_similarities(queries, bank, ind[:, None])
        return pos, bank_similarities(queries, bank, self.draw(ind, num, exclude))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if prefix + 'feature_bank' in state_dict:
            state_dict.setdefault(prefix + 'draws', self.draws)  # older checkpoints have none
        super()._load_from_state_dict(state_dict, prefix, *args)

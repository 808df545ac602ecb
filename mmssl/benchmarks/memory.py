# Copyright (c) mmssl contributors. All rights reserved.
"""How long the memory bank of NPID and PIRL takes, as against the straightforward forms of the same steps."""
import copy

import torch

from mmssl.models import NCEHead, SimpleMemory
from mmssl.models.losses import unit_vectors
from mmssl.utils.alias_multinomial import AliasMethod
from mmssl.utils.errors import ConfigError
from .step import interleaved


def plain_scores(queries, bank, ind):
    """Similarities as the formula reads: each image's own copy of its entries, B x K x D, and a product for each."""
    entries = bank.index_select(0, ind.flatten()).view(*ind.shape, -1)
    return torch.bmm(entries, queries[:, :, None])[:, :, 0]


def plain_nce(scores, z, length, temperature, eps=torch.finfo(torch.float32).eps):
    """The loss as the paper writes it: exponentials, divided by Z, and two logarithms of quotients, with an eps."""
    s = torch.exp(scores / temperature) / z  # B x (1 + K), the image's own first
    noise = (s.shape[1] - 1) / length
    own = torch.log(s[:, 0] / (s[:, 0] + noise + eps))
    others = torch.log(noise / (s[:, 1:] + noise + eps))
    return -(own.sum() + others.sum()) / len(s)


@torch.no_grad()
def plain_update(bank, ind, feature, momentum):
    """One entry after the other."""
    for i, new in zip(ind.tolist(), feature):
        moved = (1 - momentum) * bank[i] + momentum * new
        bank[i] = moved / moved.norm()


def measure_memory(length, feat_dim, batch_size, neg_num, rounds, device):
    """Time drawing, scoring with the loss (forward and backward), and the update.

    Args:
        length (int): Entries of the bank.
        feat_dim (int): Dimension of a feature.
        batch_size (int): Images of a process.
        neg_num (int): Entries drawn for each.
        rounds (int): Timed calls of each.
        device (torch.device): Where.

    Returns:
        dict[str, dict]: By step 'draw', 'score' and 'update': `seconds` of ours and `plain`, `ratio` of plain to ours,
        and, but for draws, which are random, `error` of ours and `plain_error`: of loss, gradient or bank, the largest
        relative distance from what the formula gives in float64.

    Raises:
        ConfigError: A batch larger than the bank.
    """
    if batch_size > length:
        raise ConfigError(f'a batch of {batch_size} different images needs a bank of as many entries, got {length}')
    generator = torch.Generator().manual_seed(0)
    memory = SimpleMemory(length, feat_dim).to(device)
    plain = copy.deepcopy(memory)
    ind = torch.randperm(length, generator=generator)[:batch_size].to(device)
    queries = unit_vectors(torch.randn(batch_size, feat_dim, generator=generator)).to(device)
    alias = AliasMethod(torch.ones(length, device=device))

    def plain_draw():
        drawn = alias.draw(batch_size * (neg_num + 1)).view(batch_size, -1)
        drawn[:, 0] = ind
        return drawn

    drawn = plain_draw()
    z = length * torch.exp(plain_scores(queries, memory.feature_bank, drawn) / 0.07).mean().item()
    head = NCEHead(0.07, norm_constant=z, length=length).to(device)
    memory.draw = lambda *args: drawn[:, 1:]  # the same entries for both, and no time for drawing them

    def ours():
        x = queries.clone().requires_grad_()
        loss = head(*memory.score(x, ind, neg_num))['loss']
        return loss.detach(), torch.autograd.grad(loss, x)[0]

    def as_written(dtype=torch.float32, **eps):
        x = queries.to(dtype).requires_grad_()
        loss = plain_nce(plain_scores(x, plain.feature_bank.to(dtype), drawn), z, length, head.temperature, **eps)
        return loss.detach(), torch.autograd.grad(loss, x)[0]

    def error(found, exact):
        return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, exact))

    exact = as_written(torch.float64, eps=0)
    errors = dict(score=(error(ours(), exact), error(as_written(), exact)))
    steps = dict(
        draw=(lambda: SimpleMemory.draw(memory, ind, neg_num), plain_draw),
        score=(ours, as_written),
        update=(lambda: memory.update(ind, queries), lambda: plain_update(plain.feature_bank, ind, queries, 0.5)))
    exact = memory.feature_bank.double()
    plain_update(exact, ind, queries.double(), 0.5)
    for update in steps['update']:
        update()
    errors['update'] = (error([memory.feature_bank], [exact]), error([plain.feature_bank], [exact]))
    found = {}
    for name, functions in steps.items():
        seconds = interleaved(dict(zip(('ours', 'plain'), functions)), rounds, device)
        found[name] = dict(seconds=seconds['ours'], plain=seconds['plain'], ratio=seconds['plain'] / seconds['ours'])
        if name in errors:
            found[name].update(zip(('error', 'plain_error'), errors[name]))
    return found

"""InterCLR: margins, what is drawn as positive and negative, both losses and gradients against loops over samples."""
import copy
import math

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import arc_margin, cosine_margin
from mmssl.utils.errors import ConfigError

LENGTH, DIM = 12, tiny.DIM
LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3])  # sample 11 is alone
POOLS = dict(
    hard=dict(neg_num=3),
    semihard=dict(neg_num=3, semihard_neg_pool_num=5),
    random=dict(neg_num=3),
    semieasy=dict(neg_num=3, semieasy_neg_pool_num=5))


def build(neg_sampling='hard', **changes):
    """A float64 model whose positives are random, with a full memory."""
    model = tiny.build('InterCLRMoCo', neg_sampling=neg_sampling, **dict(POOLS[neg_sampling], **changes)).double()
    del model.pick_positives
    model.memory_bank.assign_label(LABELS)
    return model


def batch(step=0):
    data = tiny.batch('InterCLRMoCo', 6, seed=step)
    return dict(img=[v.double() for v in data['img']], idx=torch.tensor([0, 3, 5, 8, 10, 11]))


def queries(number=6, seed=0):
    q = torch.randn(number, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(q, dim=1)


def naive_info_nce(pos, neg, temperature=0.2):
    """-log of exp(pos) over exp(pos) and the exp of all negatives."""
    return -(pos / temperature - torch.stack([(s / temperature).exp() for s in [pos, *neg]]).sum().log())


@pytest.mark.parametrize('margin', [-1., -0.5, 0., 0.3, 1.2])
def test_margins(margin):
    """cos(theta) - m and cos(theta + m), with their gradients; beyond an angle of 0 or pi it goes on monotonically."""
    theta = torch.linspace(0.05, math.pi - 0.05, 60, dtype=torch.float64)
    cosine = theta.cos().requires_grad_()
    assert cosine_margin(cosine, margin).equal(cosine - margin)
    found = arc_margin(cosine, margin)
    inside = (theta + margin >= 0) & (theta + margin <= math.pi)
    expected = torch.stack([torch.cos(t + margin) for t in theta])
    torch.testing.assert_close(found[inside], expected[inside])
    slope, = torch.autograd.grad(found.sum(), cosine)
    torch.testing.assert_close(slope[inside], (torch.sin(theta + margin) / torch.sin(theta))[inside])
    assert (slope[~inside] == 1).all() and (found.diff() <= 0).all()  # falls as the angle grows
    assert found.diff().abs().max() < 0.1  # and has no jump
    ends = torch.tensor([-1., 1.], requires_grad=True)
    arc_margin(ends, margin).sum().backward()
    assert ends.grad.isfinite().all()


def test_positives():
    """Each other sample of the cluster equally often, never the sample itself unless it is alone."""
    model, idx = build(), torch.tensor([0, 3, 5, 8, 10, 11])
    same = LABELS[idx][:, None] == LABELS
    torch.manual_seed(0)
    drawn = torch.cat([model.pick_positives(same, idx) for _ in range(3000)], 1)
    for own, row in zip(idx.tolist(), drawn):
        others = [i for i in range(LENGTH) if LABELS[i] == LABELS[own] and i != own] or [own]
        shares = torch.bincount(row, minlength=LENGTH) / 3000
        expected = torch.zeros(LENGTH)
        expected[others] = 1 / len(others)
        torch.testing.assert_close(shares, expected, rtol=0, atol=0.04)


@pytest.mark.parametrize('neg_sampling', POOLS)
def test_negatives(neg_sampling):
    """Different samples of other clusters: all of the pool equally often, and none else."""
    model, q, idx = build(neg_sampling), queries(), torch.tensor([0, 3, 5, 8, 10, 11])
    sim, same = q @ model.memory_bank.feature_bank.T, LABELS[idx][:, None] == LABELS
    torch.manual_seed(0)
    drawn = torch.stack([model.pick_negatives(sim, same) for _ in range(2000)])  # 2000 x 6 x 3
    assert drawn.shape == (2000, 6, 3)
    for own, row, s in zip(idx.tolist(), drawn.unbind(1), sim.tolist()):
        others = sorted((i for i in range(LENGTH) if LABELS[i] != LABELS[own]), key=lambda i: -s[i])
        pool = dict(hard=others[:3], semihard=others[:5], random=others, semieasy=others[-5:])[neg_sampling]
        assert all(len(set(draw)) == 3 for draw in row.tolist())
        expected = torch.zeros(LENGTH)
        expected[pool] = 3 / len(pool)
        shares = torch.bincount(row.flatten(), minlength=LENGTH) / 2000
        torch.testing.assert_close(shares, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize('margin', [
    dict(),
    dict(inter_cos_margin=0.2),
    dict(inter_cos_marign_loss=False),
    dict(inter_cos_marign_loss=False, inter_arc_marign_loss=True, inter_arc_margin=.3)
])
@pytest.mark.parametrize('neg_sampling', POOLS)
def test_contrast_of_images(neg_sampling, margin):
    """Loss and gradient for the queries, by loops over what was drawn. The default margin of -0.5 adds 0.5."""
    model, idx = build(neg_sampling, **margin), torch.tensor([0, 3, 5, 8, 10, 11])
    bank, picked = model.memory_bank.feature_bank.clone(), {}
    for name in ('pick_positives', 'pick_negatives'):

        def note(*args, name=name, pick=getattr(model, name)):
            return picked.setdefault(name, pick(*args))

        setattr(model, name, note)
    q, reference = queries().requires_grad_(), queries().requires_grad_()
    loss = model.contrast_inter(q, idx)
    model.memory_bank.update_samples_memory(idx, queries(seed=1))  # before the backward pass, as in an iteration
    loss.backward()
    terms = []
    for row, positive, negatives in zip(reference, picked['pick_positives'], picked['pick_negatives']):
        pos = row.dot(bank[positive.item()])
        if margin.get('inter_arc_marign_loss'):
            pos = torch.cos(torch.acos(pos) + 0.3)
        elif margin.get('inter_cos_marign_loss', True):
            pos = pos - margin.get('inter_cos_margin', -0.5)
        terms.append(naive_info_nce(pos, [row.dot(bank[i]) for i in negatives.tolist()]))
    expected = sum(terms) / len(terms)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(q.grad, reference.grad)


def test_fewer_samples_of_other_clusters_than_negatives():
    """Those of the same cluster are left out; where one cluster has all there is nothing to contrast with."""
    model, idx = build(neg_num=LENGTH), torch.tensor([2])
    q, bank = queries(1), model.memory_bank.feature_bank
    model.pick_positives = lambda same, idx: torch.tensor([[4]])
    others = [q[0].dot(bank[i]) for i in range(LENGTH) if LABELS[i] != 0]
    torch.testing.assert_close(model.contrast_inter(q, idx), naive_info_nce(q[0].dot(bank[4]) + 0.5, others))
    model.memory_bank.label_bank.zero_()
    q.requires_grad_()
    loss = model.contrast_inter(q, idx)
    loss.backward()
    assert loss == 0 and not q.grad.any()


@pytest.mark.parametrize('margin', [0., 0.2, 'arc'])
def test_contrast_of_views(margin):
    change = dict(intra_arc_marign_loss=True, intra_arc_margin=0.25) if margin == 'arc' else \
        dict(intra_cos_marign_loss=margin > 0, intra_cos_margin=margin)
    model, q, k = build(**change), queries(), queries(seed=0) + 0.3 * queries(seed=1)
    k = F.normalize(k, dim=1)
    terms = []
    for a, b in zip(q, k):
        pos = torch.cos(torch.acos(a.dot(b)) + 0.25) if margin == 'arc' else a.dot(b) - margin
        terms.append(naive_info_nce(pos, [a.dot(key) for key in model.queue.T]))
    torch.testing.assert_close(model.contrast_intra(q, k), sum(terms) / len(terms))


@pytest.mark.parametrize('share_neck', [True, False])
@pytest.mark.parametrize('online_labels', [True, False])
def test_step_by_step(share_neck, online_labels):
    """Three iterations: weighted losses, gradients, the queue and the memory, which take the keys of their branch."""
    model = build(share_neck=share_neck, online_labels=online_labels, neg_num=4, intra_loss_weight=0.6)
    generator = torch.Generator().manual_seed(5)
    choice = torch.randint(3, (3, 6), generator=generator)

    def positives(same, idx):
        return torch.stack([row.nonzero()[:, 0][c % row.sum()] for row, c in zip(same, choice[step])])[:, None]

    model.pick_positives = positives
    for step in range(3):
        data, naive = batch(step), copy.deepcopy(model)
        bank, queue = copy.deepcopy(model.memory_bank), model.queue.clone()
        with torch.no_grad():
            for slow, fast in zip(naive.encoder_k.state_dict().values(),
                                  [*naive.backbone.state_dict().values(), *naive.neck.state_dict().values()]):
                slow.copy_(0.9 * slow + 0.1 * fast if slow.is_floating_point() else fast)
        maps_q, maps_k = naive.backbone(data['img'][0]), naive.encoder_k[0](data['img'][1])
        if share_neck:
            q = q_inter = F.normalize(naive.neck(maps_q)[0], dim=1)
            k = k_inter = F.normalize(naive.encoder_k[1](maps_k)[0], dim=1)
        else:
            q_inter, q = (F.normalize(neck(maps_q)[0], dim=1) for neck in (naive.neck.inter, naive.neck.intra))
            k_inter, k = (
                F.normalize(neck(maps_k)[0], dim=1) for neck in (naive.encoder_k[1].inter, naive.encoder_k[1].intra))
        intra = sum(naive_info_nce(a.dot(b), [a.dot(key) for key in queue.T]) for a, b in zip(q, k)) / 6
        terms = []
        positive = positives(bank.label_bank[data['idx']][:, None] == bank.label_bank, data['idx'])
        for row, i, j in zip(q_inter, data['idx'], positive):
            sims = [row.dot(f) for f, label in zip(bank.feature_bank, bank.label_bank) if label != bank.label_bank[i]]
            hardest = sorted(sims, key=lambda s: -s.item())[:4]
            terms.append(naive_info_nce(row.dot(bank.feature_bank[j.item()]) + 0.5, hardest))
        inter = sum(terms) / 6
        (0.6 * intra + 0.25 * inter).backward()

        model.zero_grad()
        out = model.train_step(data, None)
        out['loss'].backward()
        torch.testing.assert_close(out['loss'], 0.6 * intra + 0.25 * inter, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(out['log_vars']['inter_loss'], 0.25 * inter.detach().float())
        for (name, p), reference in zip(model.named_parameters(), naive.parameters()):
            assert (p.grad is None) == (reference.grad is None) == (name.startswith('encoder_k'))
            if p.grad is not None:
                torch.testing.assert_close(p.grad, reference.grad, rtol=1e-4, atol=1e-6, msg=name)
        if online_labels:
            assert out['log_vars']['change_ratio'] == bank.update_samples_memory(data['idx'], k_inter).float()
        else:
            bank.update_simple_memory(data['idx'], k_inter)
            assert 'change_ratio' not in out['log_vars'] and model.memory_bank.label_bank.equal(LABELS)
        torch.testing.assert_close(model.memory_bank.feature_bank, bank.feature_bank)
        assert model.memory_bank.label_bank.equal(bank.label_bank)
        places = (6 * step + torch.arange(6)) % 20
        torch.testing.assert_close(model.queue.T[places], k.detach(), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad


def test_warming_up_is_moco():
    """Only the loss of views counts: loss and gradients are MoCo's. A second neck still has gradients, all zero."""
    moco = tiny.build('MoCo')
    model = tiny.build('InterCLRMoCo', share_neck=True)
    model.load_state_dict({**model.state_dict(), **moco.state_dict()})
    model.warming_up, data = True, tiny.batch('MoCo')
    expected, found = moco.train_step(data, None), model.train_step(data, None)
    assert found['loss'].equal(expected['loss']) and found['log_vars']['inter_loss'] == 0
    expected['loss'].backward(), found['loss'].backward()
    for (name, p), q in zip(moco.named_parameters(), model.parameters()):
        assert (p.grad is None and q.grad is None) or p.grad.equal(q.grad), name
    model = tiny.build('InterCLRMoCo')
    model.warming_up = True
    model.train_step(data, None)['loss'].backward()
    assert not any(p.grad.any() for p in model.neck.inter.parameters())


def test_second_neck():
    """Initialised on its own; its key encoder is a copy; what is extracted for the memory is the inter branch's."""
    model = tiny.build('InterCLRMoCo')
    assert not model.neck.inter.mlp[0].weight.equal(model.neck.intra.mlp[0].weight)
    for a, b in zip(model.neck.state_dict().values(), model.encoder_k[1].state_dict().values(), strict=True):
        assert a.equal(b)
    maps = model.backbone(tiny.batch('InterCLRMoCo')['img'][0])
    assert model.neck(maps)[0].equal(model.neck.inter(maps)[0])


@pytest.mark.parametrize('change, message', [
    (dict(num_classes=5), 'num_classes is 5 and memory_bank.num_classes 4'),
    (dict(feat_dim=8), 'feat_dim is 8 and memory_bank.feat_dim 16'),
    (dict(neg_sampling='easy'), "one of .*'hard', 'semihard', 'random', 'semieasy'.*got 'easy'"),
    (dict(neg_num=13), 'hard negatives: neg_num=13 of a pool of 13 out of memory_bank.length=12'),
    (dict(neg_sampling='random', neg_num=0), 'random negatives: neg_num=0'),
    (dict(neg_sampling='semihard', neg_num=6, semihard_neg_pool_num=5), 'neg_num=6 of a pool of 5 out of'),
    (dict(neg_sampling='semihard'), 'semihard negatives: neg_num=4 of a pool of 128000 out of .*length=12'),
    (dict(neg_sampling='semieasy', semieasy_neg_pool_num=20), 'semieasy negatives: neg_num=4 of a pool of 20 out of'),
    (dict(intra_cos_marign_loss=True, intra_arc_marign_loss=True), 'intra_cos_.* and intra_arc_.* exclude each other'),
    (dict(inter_arc_marign_loss=True), 'inter_cos_.* and inter_arc_.* exclude each other'),
])
def test_arguments_that_cannot_be(change, message):
    """Bad input: more negatives than samples, a pool larger than the bank."""
    with pytest.raises(ConfigError, match=message):
        tiny.build('InterCLRMoCo', **change)

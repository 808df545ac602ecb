"""NPID: its loss, its negatives, and its memory bank."""
import copy

import pytest
import tiny
import torch
from scipy.stats import chisquare
from torch.nn import functional as F

from mmssl.models import NPID, SimpleMemory, bank_similarities
from mmssl.models.memories import keyed_integers

INDICES = torch.tensor([[3, 3, 0, 7, 1], [2, 9, 9, 8, 0], [5, 4, 3, 2, 1]])


def features(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double(), dim=-1)


@pytest.mark.parametrize('length', [10, 15, 16, 40])
def test_similarities_to_a_bank_that_changes(length):
    """Both ways, the bank as a whole and entries alone, give values and gradients of the bank as it was."""
    bank, queries = features(length, 6), features(3, 6, seed=1).requires_grad_()
    weights = features(3, 5, seed=2)
    expected = torch.stack([torch.stack([queries[b].dot(bank[i]) for i in row]) for b, row in enumerate(INDICES)])
    grad, = torch.autograd.grad((expected * weights).sum(), queries)
    found = bank_similarities(queries, bank, INDICES)
    bank.zero_()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), queries)[0], grad, rtol=1e-12, atol=1e-14)


def test_npid_step_by_step():
    """Softmax of the image's own entry among negatives; then the entry moves by the share of momentum."""
    model, data = tiny.build('NPID').double(), tiny.batch('NPID', 6)
    data['img'] = data['img'].double()
    data['idx'] = torch.tensor([2, 11, 5, 0, 7, 1])
    bank, twin = model.memory_bank.feature_bank.clone(), copy.deepcopy(model)
    z = F.normalize(twin.neck(twin.backbone(data['img']))[0], dim=1)
    negatives = twin.memory_bank.draw(data['idx'], 9, True)
    losses, expected_bank = [], bank.clone()
    for b, own in enumerate(data['idx'].tolist()):
        logits = torch.stack([z[b].dot(bank[i]) for i in (own, *negatives[b].tolist())]) / 0.2
        losses.append(-torch.log(logits[0].exp() / logits.exp().sum()))
        new = 0.7 * bank[own] + 0.3 * z[b].detach()
        expected_bank[own] = new / new.norm()
    expected = sum(losses) / 6
    out = model(**data)
    torch.testing.assert_close(out['loss'], expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(model.memory_bank.feature_bank, expected_bank, rtol=1e-10, atol=1e-12)
    out['loss'].backward()
    expected.backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters()):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-8, atol=1e-12, msg=name)


@pytest.mark.parametrize('exclude', [False, True])
def test_negatives_are_drawn_evenly(exclude):
    """All entries are equally frequent; with ensure_neg all but the image's own, which never comes."""
    memory, ind = SimpleMemory(20, 4, 0.5), torch.tensor([0, 7, 19])
    drawn = memory.draw(ind, 20000, exclude)
    assert drawn.shape == (3, 20000) and drawn.dtype == torch.int64
    for row, own in zip(drawn, ind.tolist()):
        counts = torch.bincount(row, minlength=20).tolist()
        assert len(counts) == 20
        if exclude:
            assert counts.pop(own) == 0
        assert chisquare(counts).pvalue > 1e-3


def test_negatives_depend_on_the_sample_and_the_iteration_alone():
    """So two processes draw what one draws, and a resumed training what an uninterrupted one does."""
    memory, ind = SimpleMemory(1000, 4, 0.5), torch.tensor([7, 3, 999, 0])
    twin = copy.deepcopy(memory)
    first = memory.draw(ind, 64)
    torch.manual_seed(5)
    assert torch.equal(torch.cat([copy.deepcopy(twin).draw(ind[2:], 64), twin.draw(ind[:2], 64)]), first[[2, 3, 0, 1]])
    second = memory.draw(ind, 64)
    assert (first == second).float().mean() < 0.02
    fresh = SimpleMemory(1000, 4, 0.5)
    fresh.load_state_dict(twin.state_dict())
    assert torch.equal(fresh.draw(ind, 64), second)
    # evaluations draw the same each time, and change nothing
    memory.eval()
    assert torch.equal(memory.draw(ind, 64), memory.draw(ind, 64)) and memory.draws == 2


@pytest.mark.parametrize('high', [1, 2, 3, 1281167, 2**31])
def test_drawn_numbers_are_as_random_ones(high):
    """Even over their range, and independent from one sample, iteration and column to the next."""
    numbers = keyed_integers(torch.tensor(3), torch.arange(200), 500, high)
    assert numbers.min() >= 0 and numbers.max() < high and numbers.dtype == torch.int64
    x = (numbers.double() + 0.5) / high
    if high > 3:
        assert chisquare(torch.histc(x.float(), 100, 0, 1).tolist()).pvalue > 1e-3
        x = x - x.mean()
        others = (keyed_integers(torch.tensor(4), torch.arange(200), 500, high).double() + 0.5) / high - 0.5
        for a, b in ((x, others), (x[1:], x[:-1]), (x[:, 1:], x[:, :-1])):
            assert abs((a * b).mean() * 12) < 4 / a.numel()**0.5


def test_the_bank_is_a_buffer_of_unit_vectors():
    """Pitfall: memories outside the checkpoint. Momentum 1 replaces; two banks of one size start equal."""
    torch.manual_seed(1)
    memory = SimpleMemory(20, 4, 1.)
    torch.manual_seed(2)
    assert torch.equal(memory.feature_bank, SimpleMemory(20, 4, 0.1).feature_bank)
    assert list(memory.state_dict()) == ['feature_bank', 'draws'] and not list(memory.parameters())
    torch.testing.assert_close(memory.feature_bank.norm(dim=1), torch.ones(20))
    new = torch.randn(2, 4) * 9
    memory.update(torch.tensor([3, 8]), new)
    torch.testing.assert_close(memory.feature_bank[[3, 8]], F.normalize(new, dim=1))


def test_of_a_sample_that_comes_twice_the_first_counts():
    memory = SimpleMemory(9, 4, 0.5)
    once = copy.deepcopy(memory)
    feature = torch.randn(5, 4)
    memory.update(torch.tensor([6, 2, 6, 0, 2]), feature)
    once.update(torch.tensor([0, 2, 6]), feature[[3, 1, 0]])
    torch.testing.assert_close(memory.feature_bank, once.feature_bank)


def update_on(rank, world_size):
    memory = SimpleMemory(9, 4, 0.5)
    feature = torch.arange(16.).reshape(4, 4).cos()[2 * rank:2 * rank + 2]
    memory.update(torch.tensor([[5, 1], [1, 8]])[rank], feature)
    return memory.feature_bank


def test_the_bank_is_the_same_on_all_processes(run_distributed):
    first, second = run_distributed(update_on)
    memory = SimpleMemory(9, 4, 0.5)
    memory.update(torch.tensor([5, 1, 1, 8]), torch.arange(16.).reshape(4, 4).cos())
    assert torch.equal(first, second) and torch.equal(first, memory.feature_bank)


def test_a_bank_that_is_too_short():
    memory = SimpleMemory(9, 4, 0.5)
    with pytest.raises(RuntimeError, match='memory_bank.length is 9, which must be the number of training samples'):
        memory.update(torch.tensor([8, 9]), torch.randn(2, 4))


@pytest.mark.parametrize('changes, message', [
    (dict(length=0), 'length=0'),
    (dict(feat_dim=-1), 'feat_dim=-1'),
    (dict(momentum=0), 'above 0 and at most 1; got 0'),
    (dict(momentum=1.5), 'got 1.5'),
])
def test_memories_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        SimpleMemory(**dict(dict(length=5, feat_dim=4, momentum=0.5), **changes))


def test_length_of_the_bank_from_data_or_checkpoint():
    memory = SimpleMemory(feat_dim=4)
    with pytest.raises(ValueError, match='needs the number of samples: give it as memory_bank.length'):
        memory.score(torch.randn(2, 4), torch.tensor([0, 1]), 3)
    memory.fit_to_data(9)
    assert torch.equal(memory.feature_bank, SimpleMemory(9, 4).feature_bank)
    memory.fit_to_data(9)
    with pytest.raises(ValueError, match='length is 9, the training data has 8 samples'):
        memory.fit_to_data(8)
    memory.update(torch.tensor([3]), torch.ones(1, 4))
    loaded = SimpleMemory(feat_dim=4)
    # a checkpoint of MMSelfSup, or of an earlier version, has features alone
    assert not any(loaded.load_state_dict(dict(feature_bank=memory.feature_bank)))
    assert torch.equal(loaded.feature_bank, memory.feature_bank) and loaded.length == 9 and loaded.draws == 0


def test_first_entries_as_in_vissl():
    """With norm_init=False numbers are uniform in +- 1 / sqrt(D / 3)."""
    bank = SimpleMemory(500, 48, norm_init=False).feature_bank
    assert bank.abs().max() <= 0.25 and chisquare(torch.histc(bank, 50, -0.25, 0.25).tolist()).pvalue > 1e-3
    assert abs(bank.norm(dim=1).pow(2).mean() - 1) < 0.01


def test_a_memory_that_is_not_updated():
    model = tiny.build('NPID', update_memory=False)
    before = model.memory_bank.feature_bank.clone()
    model(**tiny.batch('NPID'))
    assert torch.equal(model.memory_bank.feature_bank, before)


def test_negatives_that_cannot_be():
    cfg = {key: value for key, value in tiny.CONFIGS['NPID'].items() if key != 'type'}
    with pytest.raises(ValueError, match='neg_num must be positive, got 0'):
        NPID(**dict(cfg, neg_num=0))
    with pytest.raises(ValueError, match='memory_bank.length must be more than 1, got 1'):
        NPID(**dict(cfg, memory_bank=dict(cfg['memory_bank'], length=1)))


def test_a_bank_of_another_dimension():
    with pytest.raises(ValueError, match='model.neck gives 16 dimensions, model.memory_bank.feat_dim is 5'):
        tiny.build('NPID', memory_bank=dict(tiny.CONFIGS['NPID']['memory_bank'], feat_dim=5))
    model = tiny.build('NPID')
    model.memory_bank.feature_bank = torch.zeros(12, 5)  # as where a neck does not tell its width
    with pytest.raises(ValueError, match=r'dimension 5 \(feat_dim\), got features of shape \(8, 16\)'):
        model(**tiny.batch('NPID'))


def test_checkpoints_of_mmselfsup_load():
    """The names there are backbone, neck.fc and memory_bank.feature_bank, as here."""
    keys = list(tiny.build('NPID').state_dict())
    assert {'memory_bank.feature_bank', 'neck.fc.weight', 'backbone.conv1.weight'} <= set(keys)
    assert all(key.split('.')[0] in ('backbone', 'neck', 'memory_bank') for key in keys)

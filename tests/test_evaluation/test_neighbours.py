"""Exact nearest neighbours against all pairs, on features that are hard to tell apart."""
import numpy as np
import pytest
import torch

from mmssl.evaluation.neighbours import indexed_neighbours, search


def reference(bank, queries, k):
    """Float32 dot products of all pairs, one by one; of equals the first. And the same in float64."""
    x, y = (torch.nn.functional.normalize(part.float()) for part in (queries, bank))
    crow = torch.arange(len(x) + 1) * len(y)
    column = torch.arange(len(y)).repeat(len(x))
    pairs = torch.sparse_csr_tensor(crow, column, torch.zeros(len(column)), (len(x), len(y)))
    similarity = torch.sparse.sampled_addmm(pairs, x, y.T, beta=0.).values().view(len(x), len(y)).numpy()
    index = np.argsort(-similarity, 1, kind='stable')[:, :k]
    return np.take_along_axis(similarity, index, 1), index, np.sort(-(x.double() @ y.double().T).numpy(), 1)[:, :k]


def features(kind, n=700, m=31, size=24):
    generator = torch.Generator().manual_seed(3)
    bank, queries = torch.randn(n, size, generator=generator), torch.randn(m, size, generator=generator)
    if kind == 'relu':
        mix = torch.randn(size, size, generator=generator) * 0.7**torch.arange(size)[:, None]
        bank, queries = (bank @ mix + 1).relu(), (queries @ mix + 1).relu()
    elif kind == 'near ties':
        bank = bank[:1] + 1e-5 * bank
    elif kind == 'copies':
        bank[100:] = bank[:100].repeat(6, 1)
        queries[:9] = bank[:9]
    elif kind == 'constant':
        bank[:], queries[:] = 1, 1
    elif kind == 'zeros':
        bank[::2], queries[::3] = 0, 0
    elif kind == 'sorted':
        bank = bank[bank[:, 0].argsort()]
    return bank, queries


KINDS = ['noise', 'relu', 'near ties', 'copies', 'constant', 'zeros', 'sorted']


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('dims', [3, 24])
@pytest.mark.parametrize('kind', KINDS)
def test_same_as_all_pairs(kind, dims, dtype):
    """To the last index, whatever the bounds are made of, in one tile and in many, for few neighbours and for all."""
    bank, queries = features(kind)
    for k, memory_limit in ((1, 512), (10, 512), (10, 0.05), (300, 512), (300, 0.05), (700, 512)):
        found = search(bank, queries, k, memory_limit, dims=dims, dtype=dtype)
        similarity, index, exact = reference(bank, queries, k)
        np.testing.assert_array_equal(found.similarity.numpy(), similarity)
        np.testing.assert_allclose(found.similarity.numpy(), -exact, rtol=0, atol=3e-7)
        np.testing.assert_array_equal(found.index.numpy(), index, err_msg=f'{k} {memory_limit}')


def test_most_pairs_are_excluded():
    """Features with few leading directions: the estimate finds that few dimensions will do."""
    generator = torch.Generator().manual_seed(3)
    mix = torch.randn(128, 128, generator=generator) * 0.8**torch.arange(128)[:, None]
    bank, queries = (torch.randn(n, 128, generator=generator) @ mix for n in (40000, 500))
    found = search(bank, queries, 5)
    plain = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(bank).T
    assert (found.index == plain.topk(5).indices).float().mean() > 0.999
    assert found.dims < 128 and found.evaluated < 0.01 and found.fallback < 0.01


def test_index():
    """Exact with all features as they are, nearly so with 8 bits, mostly right with cells."""
    pytest.importorskip('faiss')
    bank, queries = features('relu', n=2000)
    exact = search(bank, queries, 10)
    for factory, least in (('Flat', 1), ('SQ8', 0.9), ('IVF8,Flat', 0.5)):
        similarity, index = indexed_neighbours(bank, queries, 10, factory, rows=700)
        assert (index[:, :, None] == exact.index[:, None]).any(2).float().mean() >= least, factory
        assert (similarity.diff(dim=1) <= 0).all() and similarity.dtype == torch.float32
    torch.testing.assert_close(indexed_neighbours(bank, queries, 10, 'Flat')[0], exact.similarity, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="cannot make the index 'Nonsense' of 2000 x 24"):
        indexed_neighbours(bank, queries, 10, 'Nonsense')
    with pytest.raises(ValueError, match='fewer than k=1900'):
        indexed_neighbours(bank, queries, 1900, 'IVF8,Flat')

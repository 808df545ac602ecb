"""Evaluation on the GPU against the CPU, and faiss on the GPU where it is installed."""
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_neighbours import features

from mmssl.evaluation import knn, linear
from mmssl.evaluation.neighbours import indexed_neighbours, search
from mmssl.evaluation.representation import alignment, effective_rank, feature_std, uniformity
from mmssl.utils import clustering
from mmssl.utils.kmeans import distributed_kmeans

pytestmark = pytest.mark.rehearsed


@pytest.fixture(scope='module')
def digits():
    data = load_digits()
    return torch.from_numpy(data.data.astype(np.float32)), torch.from_numpy(data.target).long()


@pytest.mark.parametrize('kind', ['noise', 'relu', 'near ties', 'copies', 'zeros'])
def test_neighbours_are_exact(kind, device):
    """Against all pairs in float64: each similarity, and each neighbour but for those equally near to 1e-6."""
    bank, queries = features(kind)
    similarity, index = (
        value.cpu()
        for value in (lambda found: (found.similarity, found.index))(search(bank.to(device), queries.to(device), 10)))
    x, y = (torch.nn.functional.normalize(part.double()) for part in (queries, bank))
    pairs = x @ y.T
    torch.testing.assert_close(similarity.double(), pairs.topk(10).values, rtol=0, atol=1e-6)
    torch.testing.assert_close(pairs.gather(1, index), similarity.double(), rtol=0, atol=1e-6)
    assert all(row.unique().numel() == 10 for row in index)


def test_classifiers_are_those_of_the_cpu(digits, device):
    x, y = digits
    found = [[
        knn.run(x[:1200].to(place), y[:1200].to(place), x[1200:].to(place), y[1200:].to(place), k=(1, 20)),
        linear.run(x[:1200], y[:1200], x[1200:], y[1200:], lrs=(0.1, 1.), epochs=3, device=place)
    ] for place in ('cpu', device)]
    for one, other in zip(*found):
        for name in ('top1', 'top5', 'k1_T0.07_top1', 'k20_T0.07_top1', 'k20_T0.07_top5'):
            assert abs(one.get(name, 0) - other.get(name, 0)) <= 2 / 597


def test_figures_of_a_representation_are_those_of_the_cpu(digits, device):
    one, other = digits[0][:300], digits[0][300:600]
    for figure in (feature_std, effective_rank, uniformity, lambda x: alignment(x, x.flip(0))):
        torch.testing.assert_close(figure(one.to(device)).cpu(), figure(one), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(effective_rank(one), effective_rank(one * other))


@pytest.mark.parametrize('spherical', [True, False])
def test_kmeans_is_that_of_the_cpu(digits, device, spherical):
    """The first centroids come from keys, so that only distances equal to float32 precision could decide otherwise."""
    runs = [distributed_kmeans(digits[0].to(place), 20, 5, spherical=spherical) for place in ('cpu', device)]
    assert (runs[0].labels == runs[1].labels.cpu()).float().mean() > 0.99
    np.testing.assert_allclose(runs[1].losses, runs[0].losses, rtol=1e-3)


@pytest.mark.real
def test_faiss(digits, device, monkeypatch):
    """k-means on the GPU, where faiss was built for it, finds clusters as tight as those of the CPU."""
    faiss = pytest.importorskip('faiss')
    if device.type == 'cuda' and not getattr(faiss, 'get_num_gpus', int)():
        pytest.skip('this faiss has no GPU: pip install faiss-gpu in its place')
    x = digits[0].numpy()
    labels, centres, losses = clustering.faiss_kmeans(x, 20, 20)
    if device.type == 'cuda':
        assert type(clustering._exact_index(64)).__name__ == 'GpuIndexFlatL2'
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    expected = clustering.faiss_kmeans(x, 20, 20)[2]
    assert losses[-1] == pytest.approx(expected[-1], rel=0.02) and losses[-1] < losses[0]
    nearest = ((x[:, None] - centres)**2).sum(2).argmin(1)
    assert (nearest == labels).mean() > 0.999
    bank, queries = features('relu')
    similarity, _ = indexed_neighbours(bank, queries, 10, 'Flat', device=device)
    assert similarity.device == device
    torch.testing.assert_close(similarity.cpu(), search(bank, queries, 10).similarity, rtol=0, atol=1e-6)

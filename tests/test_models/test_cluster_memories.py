"""Memories of ODC and InterCLR against loops over samples in float64, and what happens to small clusters."""
import pytest
import torch
from torch.nn import functional as F

from mmssl.models import InterCLRMemory, ODCMemory
from mmssl.models.memories.cluster import split_in_two

LENGTH, DIM, CLUSTERS = 40, 6, 5


def directions(number, dim=DIM, seed=0):
    vectors = torch.randn(number, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(vectors, dim=1)


def make(kind=ODCMemory, length=LENGTH, num_classes=CLUSTERS, min_cluster=3, seed=0, labels=None, momentum=0.3):
    memory = kind(length, DIM, momentum, num_classes, min_cluster).double()
    if labels is None:
        labels = torch.randint(num_classes, (length, ), generator=torch.Generator().manual_seed(seed))
    memory.init_memory(3 * directions(length, seed=seed), labels)
    return memory


def naive_centroids(features, labels, old):
    centroids = []
    for cluster, centroid in enumerate(old):
        total = sum(features[i] for i in range(len(features)) if labels[i] == cluster)
        centroids.append(centroid if isinstance(total, int) or not total.any() else total / total.norm())
    return torch.stack(centroids)


def naive_update(bank, labels, centroids, momentum, ind, feature):
    """New bank, labels and change ratio, one sample after the other; of a repeated one the first counts."""
    bank, labels, changed, seen = bank.clone(), labels.clone(), [], {}
    for i, f in zip(ind.tolist(), feature):
        if i not in seen:
            mixed = (1 - momentum) * bank[i] + momentum * f / f.norm()
            bank[i] = mixed / mixed.norm()
            distances = [(bank[i] - c).norm() for c in centroids]
            seen[i] = distances.index(min(distances)) != labels[i]
            labels[i] = distances.index(min(distances))
        changed.append(float(seen[i]))
    return bank, labels, sum(changed) / len(changed)


@pytest.mark.parametrize('kind', [ODCMemory, InterCLRMemory])
@pytest.mark.parametrize('momentum', [0.3, 1.])
def test_against_loops_over_samples(kind, momentum):
    """Four updates of batches, with a sample that is there twice, and of the centroids."""
    memory = make(kind, momentum=momentum)
    features, labels = directions(LENGTH), memory.label_bank.clone()
    torch.testing.assert_close(memory.feature_bank, features)
    centroids = naive_centroids(features, labels, [None] * CLUSTERS)
    torch.testing.assert_close(memory.centroids, centroids)
    for step in range(4):
        ind = torch.randperm(LENGTH)[:10]
        ind[7] = ind[2]
        new = 5 * directions(10, seed=10 + step)
        features, labels, changed = naive_update(features, labels, centroids, momentum, ind, new)
        assert memory.update_samples_memory(ind, new).item() == pytest.approx(changed)
        torch.testing.assert_close(memory.feature_bank, features)
        assert memory.label_bank.equal(labels) and 0 < changed
        torch.testing.assert_close(memory.centroids, centroids)  # only when asked to
        asked = None if step % 2 else [0, 3]
        every = naive_centroids(features, labels, centroids)
        centroids = torch.stack([every[c] if asked is None or c in asked else centroids[c] for c in range(CLUSTERS)])
        memory.update_centroids_memory(asked)
        torch.testing.assert_close(memory.centroids, centroids)
    assert memory.cluster_sizes().equal(torch.bincount(labels, minlength=CLUSTERS))
    assert memory.cluster_sizes([1, 1, 4]).tolist() == [0, 2, 0, 0, 1]


def test_without_first_clusters():
    """Centroids are distinct directions, samples that were not seen do not count, the first feature replaces."""
    memory = ODCMemory(LENGTH, DIM, 0.3, CLUSTERS, 3)
    start = memory.centroids.clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(CLUSTERS))
    memory.update_centroids_memory()
    assert memory.centroids.equal(start) and memory.label_bank.unique().tolist() == list(range(CLUSTERS))
    new = directions(8).float()
    memory.update_samples_memory(torch.arange(8), 2 * new)
    torch.testing.assert_close(memory.feature_bank[:8], new)
    assert memory.label_bank[:8].equal((new @ start.T).argmax(1)) and not memory.feature_bank[8:].any()
    memory.deal_with_small_clusters()
    memory.update_centroids_memory()
    assert memory.centroids.isfinite().all() and memory.cluster_sizes().min() >= 3


def test_a_cluster_that_falls_empty_keeps_its_centroid():
    labels = torch.arange(LENGTH) % (CLUSTERS - 1)
    memory = make(labels=labels)
    memory.centroids[-1] = torch.tensor([1., 0, 0, 0, 0, 0])
    memory.update_centroids_memory()
    assert memory.centroids[-1].tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize('seed', range(30))
def test_small_clusters_are_rebuilt(seed):
    """Bad input: empty clusters. Random sizes: no label out of range, none small but where none can be large enough."""
    generator = torch.Generator().manual_seed(seed)
    clusters, least = (torch.randint(1, 9, (2, ), generator=generator)).tolist()
    length = clusters * least + torch.randint(60, (1, ), generator=generator).item()
    # the last clusters are smaller and smaller
    labels = (clusters * torch.rand(length, generator=generator, dtype=torch.float64)**2.5).long()
    memory = make(length=length, num_classes=clusters, min_cluster=least, seed=seed, labels=labels)
    before = memory.cluster_sizes()
    features, centroids = memory.feature_bank.clone(), memory.centroids.clone()
    memory.deal_with_small_clusters()
    sizes = memory.cluster_sizes()
    assert sizes.sum() == length and 0 <= memory.label_bank.min() and memory.label_bank.max() < clusters
    assert ((sizes >= least) | (sizes == 0)).all()
    assert sizes.min() >= least or sizes.max() < 2 * least
    assert memory.feature_bank.equal(features)
    if before.min() >= least:
        assert memory.label_bank.equal(labels) and memory.centroids.equal(centroids)
    again = memory.label_bank.clone()
    memory.deal_with_small_clusters()
    assert memory.label_bank.equal(again)  # nothing is left to do


def test_samples_of_small_clusters_go_to_the_nearest_other():
    """Clusters 3 and 4 are small, and none is large enough to be split: they stay empty."""
    labels = torch.tensor([0] * 5 + [1] * 5 + [2] * 5 + [3] * 2 + [4])
    memory = make(length=18, min_cluster=3, labels=labels)
    memory.min_cluster = 6  # more than there can be
    memory.label_bank[:3] = torch.tensor([1, 1, 2])
    labels, centroids = memory.label_bank.clone(), memory.centroids.clone()
    assert memory.cluster_sizes().tolist() == [2, 7, 6, 2, 1]
    memory.deal_with_small_clusters()
    for i, feature in enumerate(memory.feature_bank):
        nearest = min((1, 2), key=lambda c: (feature - centroids[c]).norm())
        assert memory.label_bank[i] == (labels[i] if labels[i] in (1, 2) else nearest)


def test_the_largest_cluster_is_split():
    """Cluster 1 holds two heaps of 12 and 8; the empty cluster 2 gets one of them, and both their centroids."""
    axes = torch.eye(DIM, dtype=torch.float64)
    heaps = [(axes[0], 6, 0), (axes[1], 12, 1), (axes[2], 8, 1)]
    features = torch.cat([axis + 0.1 * directions(n) for axis, n, _ in heaps])
    memory = ODCMemory(26, DIM, 0.5, 3, 4).double()
    memory.init_memory(features, [label for _, n, label in heaps for _ in range(n)])
    memory.deal_with_small_clusters()
    labels = memory.label_bank
    assert (labels[:6] == 0).all()
    assert sorted([labels[6:18].unique().tolist(), labels[18:].unique().tolist()]) == [[1], [2]]
    expected = naive_centroids(F.normalize(features, dim=1), labels, [None] * 3)
    torch.testing.assert_close(memory.centroids, expected)


@pytest.mark.parametrize('seed', range(5))
def test_split_is_two_means(seed):
    """Two heaps are told apart as by scikit-learn's k-means."""
    from sklearn.cluster import KMeans
    centres = directions(2, seed=seed)
    features = F.normalize(centres[torch.arange(50) % 3 % 2] + 0.25 * directions(50, seed=seed + 100), dim=1)
    found = split_in_two(features, 5)
    expected = torch.from_numpy(KMeans(2, n_init=5, random_state=0).fit(features.numpy()).labels_).bool()
    assert found.equal(expected) or found.equal(~expected)
    assert split_in_two(features, 5).equal(found)


def test_split_keeps_a_least_size():
    """One sample apart from the others takes its nearest ones along; equal vectors are split too."""
    others = F.normalize(torch.eye(DIM, dtype=torch.float64)[0] + 0.1 * directions(20), dim=1)
    alone = -others[:1]
    part = split_in_two(torch.cat([others, alone]), 1)
    assert part.sum() in (1, 20) and part[-1] != part[0]
    part = split_in_two(torch.cat([others, alone]), 4)
    assert part.sum() in (4, 17)
    assert split_in_two(torch.ones(9, DIM) / DIM**0.5, 4).sum() in (4, 5)
    assert split_in_two(torch.zeros(9, DIM), 4).sum() in (4, 5)


def test_labels_from_outside_and_features_alone():
    memory = make(InterCLRMemory)
    features = memory.feature_bank.clone()
    labels = (torch.arange(LENGTH) * 3) % CLUSTERS
    memory.assign_label(labels.numpy())
    assert memory.label_bank.equal(labels) and memory.feature_bank.equal(features)
    torch.testing.assert_close(memory.centroids, naive_centroids(features, labels, [None] * CLUSTERS))
    ind, new = torch.tensor([3, 9, 3]), directions(3, seed=5)
    expected = naive_update(features, labels, memory.centroids, 0.3, ind, new)[0]
    memory.update_simple_memory(ind, new)
    torch.testing.assert_close(memory.feature_bank, expected)
    assert memory.label_bank.equal(labels)


def test_all_state_is_in_the_checkpoint():
    """PITFALLS: queue or bank kept outside the checkpoint."""
    memory, other = make(), ODCMemory(LENGTH, DIM, 0.3, CLUSTERS, 3).double()
    assert set(memory.state_dict()) == {'feature_bank', 'label_bank', 'centroids'}
    other.load_state_dict(memory.state_dict())
    for m in (memory, other):
        m.update_samples_memory(torch.arange(10), directions(10, seed=3))
        m.update_centroids_memory()
        m.deal_with_small_clusters()
    for key, value in memory.state_dict().items():
        assert value.equal(other.state_dict()[key])


def run(rank, world_size):
    """Batches that have samples in common, over ranks too, and everything that is done to clusters."""
    memory, changed = make(InterCLRMemory, length=60, min_cluster=8), []
    if rank == 1:  # the banks of ranks differ until one is sent to all
        memory.feature_bank.neg_()
    memory.broadcast_feature_bank()
    for step in range(6):
        ind = torch.randint(60, (12, ), generator=torch.Generator().manual_seed(step))
        feature = directions(12, seed=step)
        mine = slice(rank * 12 // world_size, (rank + 1) * 12 // world_size)
        changed.append(memory.update_samples_memory(ind[mine], feature[mine]))
        memory.update_simple_memory(ind[mine] // 2, feature[mine].flip(1))
        memory.update_centroids_memory()
        memory.deal_with_small_clusters()
    return dict(memory.state_dict(), changed=torch.stack(changed))


def test_two_processes_equal_one(run_distributed):
    """The banks of both are those of one process, bit for bit."""
    expected = run(0, 1)
    assert torch.bincount(expected['label_bank']).min() >= 8
    for found in run_distributed(run):
        for key, value in expected.items():
            assert value.equal(found[key]), key


@pytest.mark.parametrize('change, message', [
    (dict(momentum=0.), 'above 0 and at most 1, got 0'),
    (dict(momentum=1.5), 'above 0 and at most 1, got 1.5'),
    (dict(num_classes=41), '40 samples .* too few for 41 clusters'),
    (dict(min_cluster=9), r'40 samples .* no 5 clusters .* at least 9 .* min_cluster can be 8 at most'),
    (dict(feat_dim=0), 'feat_dim=0'),
])
def test_sizes_that_cannot_be(change, message):
    """Bad input: fewer samples than clusters."""
    with pytest.raises(ValueError, match=message):
        ODCMemory(
            **dict(dict(length=LENGTH, feat_dim=DIM, momentum=0.5, num_classes=CLUSTERS, min_cluster=3), **change))


def test_wrong_features_and_labels():
    """Bad input: NaN features. The memory stays as it was."""
    memory = make(InterCLRMemory)
    before = {key: value.clone() for key, value in memory.state_dict().items()}
    features, labels = directions(LENGTH).numpy(), torch.zeros(LENGTH, dtype=torch.long)
    with pytest.raises(ValueError, match=r'40 samples .* in 6 dimensions .*got features of shape \(40, 5\)'):
        memory.init_memory(features[:, :5], labels)
    broken = features.copy()
    broken[[7, 11]] = float('nan')
    with pytest.raises(ValueError, match='2 samples have NaN or infinity, the first is sample 7'):
        memory.init_memory(broken, labels)
    with pytest.raises(ValueError, match=r'clusters of 40 samples .* shape \(39,\)'):
        memory.init_memory(features, labels[1:])
    with pytest.raises(ValueError, match=r'clusters 0 to 4 .* labels from 0 to 5'):
        memory.assign_label([5] + 39 * [0])
    with pytest.raises(ValueError, match=r'dimension 6 \(feat_dim\), got features of shape \(2, 7\)'):
        memory.update_samples_memory(torch.arange(2), torch.ones(2, 7))
    for key, value in memory.state_dict().items():
        assert value.equal(before[key])

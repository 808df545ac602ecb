import numpy as np
import pytest

from mmssl.datasets import DistributedGivenIterationSampler, DistributedGroupSampler, DistributedSampler, GroupSampler
from mmssl.datasets.loader import EpochBatchSampler
from mmssl.datasets.registry import build_sampler
from mmssl.datasets.samplers import distributed_sampler
from mmssl.utils.errors import ConfigError


class Grouped:
    flag = np.array([0] * 13 + [1] * 6)

    def __len__(self):
        return 19


def batches(sampler, size, drop_last=False):
    return [[idx for _, idx in batch] for batch in EpochBatchSampler(sampler, size, drop_last)]


@pytest.mark.parametrize('n, world, size', [(24, 2, 3), (25, 2, 3), (31, 3, 4), (7, 4, 2), (3, 8, 1), (100, 1, 7)])
@pytest.mark.parametrize('drop_last', [False, True])
def test_several_processes_see_the_global_order(n, world, size, drop_last):
    """One process with batches of W * B and W processes with batches of B see the same, batch by batch."""
    data = range(n)
    one = DistributedSampler(data, 1, 0, seed=3, batch_size=world * size, drop_last=drop_last)
    many = [DistributedSampler(data, world, r, seed=3, batch_size=size, drop_last=drop_last) for r in range(world)]
    for epoch in (0, 5):
        for s in (one, *many):
            s.set_epoch(epoch)
        whole = batches(one, world * size, drop_last)
        parts = [batches(s, size, drop_last) for s in many]
        assert len({len(p) for p in parts}) == 1 == len({len(s) for s in many})
        joined = [sum(step, []) for step in zip(*parts)]
        if drop_last:
            assert joined == whole
            continue
        # all processes get equally many: the order is continued from its start
        flat, order = sum(joined, []), sum(whole, [])
        assert sorted(order) == list(range(n)) and len(flat) == -(-n // world) * world
        assert flat == np.resize(order, len(flat)).tolist()
        assert joined[:len(whole) - 1] == whole[:-1]


@pytest.mark.parametrize('options', [{}, dict(shuffle=False), dict(replace=True)])
@pytest.mark.parametrize('drop_last', [False, True])
def test_an_order_computed_by_index(options, drop_last, monkeypatch):
    """Orders above a size are not listed; they begin anywhere, and processes share them as they do listed ones."""
    monkeypatch.setattr(distributed_sampler, 'LISTED', 100)
    monkeypatch.setattr(distributed_sampler, '_PIECE', 64)
    n, world, size = 1001, 3, 4
    one = DistributedSampler(range(n), 1, 0, seed=3, batch_size=world * size, drop_last=drop_last, **options)
    assert not isinstance(one.global_indices(), np.ndarray)
    many = [
        DistributedSampler(range(n), world, r, seed=3, batch_size=size, drop_last=drop_last, **options)
        for r in range(world)
    ]
    whole = list(one)
    if not options:
        assert sorted(whole) == list(range(n))
    elif 'replace' in options:
        assert 580 < len(set(whole)) < 690 and set(whole) < set(range(n))  # 633 expected
    joined = [sum(step, []) for step in zip(*(batches(s, size) for s in many))]
    full = n // (world * size) * world * size
    assert sum(joined, [])[:full] == whole[:full]
    for start in (0, 3, 63, 64, 65, 200, len(many[1])):
        assert list(many[1].iterate(start)) == list(many[1])[start:]
    one.set_epoch(1)
    assert (list(one) == whole) == ('shuffle' in options)


def test_batch_size_one_is_torchs_order():
    from torch.utils.data import DistributedSampler as Reference
    for rank in range(3):
        ours = DistributedSampler(range(11), 3, rank, shuffle=False)
        assert list(ours) == list(Reference(range(11), 3, rank, shuffle=False)) and len(ours) == 4


def test_every_seed_and_epoch_has_its_own_order():
    """Pitfall: a sampler that ignores its seed. Nor does seed 0 in epoch 1 repeat seed 1 in epoch 0."""
    orders = {}
    for seed in range(3):
        sampler = DistributedSampler(range(50), 1, 0, seed=seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders[seed, epoch] = tuple(sampler)
            assert tuple(sampler) == orders[seed, epoch] and sorted(sampler) == list(range(50))
    assert len(set(orders.values())) == 9


def test_replacement():
    sampler = DistributedSampler(range(1000), 1, 0, replace=True)
    drawn = list(sampler)
    assert len(drawn) == 1000 and 550 < len(set(drawn)) < 720  # 632 expected
    with pytest.raises(ConfigError, match='needs shuffle=True'):
        DistributedSampler(range(3), 1, 0, shuffle=False, replace=True)


@pytest.mark.parametrize('world', [1, 2])
def test_uniform_indices(world):
    labels = np.repeat([0, 1, 3, -1], [700, 200, 50, 50])
    samplers = [DistributedSampler(range(1000), world, r, seed=1) for r in range(world)]
    for s in samplers:
        s.set_uniform_indices(labels, 5)
    epochs = []
    for epoch in range(2):
        for s in samplers:
            s.set_epoch(epoch)
        drawn = np.concatenate([list(s) for s in samplers])
        counts = np.bincount(labels[drawn] + 1, minlength=6)
        assert counts[0] == counts[3] == counts[5] == 0 and len(drawn) == 1000
        assert abs(counts[[1, 2, 4]] - 1000 / 3).max() < 2
        times = np.bincount(drawn, minlength=1000)
        # classes smaller than their share are repeated evenly, of larger ones no image comes twice
        assert times[:700].max() == 1 and set(times[700:900]) <= {0, 1, 2} and set(times[900:950]) <= {5, 6, 7}
        epochs.append(drawn)
    assert not np.array_equal(*epochs)
    with pytest.raises(ValueError, match='3 labels for 1000 samples'):
        samplers[0].set_uniform_indices([0, 1, 2], 3)
    with pytest.raises(ValueError, match='no sample has a label'):
        samplers[0].set_uniform_indices([-1] * 1000, 3)


def test_given_iterations():
    world, size, n = 2, 4, 10
    runs = [list(DistributedGivenIterationSampler(range(n), 5, size, world, r, seed=2)) for r in range(world)]
    assert all(len(run) == 20 for run in runs)
    steps = [sum((run[i * size:(i + 1) * size] for run in runs), []) for i in range(5)]
    assert sum(steps, []) == list(DistributedGivenIterationSampler(range(n), 5, world * size, 1, 0, seed=2))
    for start in range(0, 40, n):  # whole passes
        assert sorted(sum(steps, [])[start:start + n]) == list(range(n))
    rest = DistributedGivenIterationSampler(range(n), 5, size, world, 1, last_iter=2, seed=2)
    assert list(rest) == runs[1][12:] and len(rest) == 8


@pytest.mark.parametrize('world', [1, 2])
def test_groups(world):
    data = Grouped()
    size = 4
    samplers = [DistributedGroupSampler(data, size, world, r, seed=1) for r in range(world)]
    parts = [batches(s, size) for s in samplers]
    assert all(len(s) == size * len(p) for s, p in zip(samplers, parts))
    for step in zip(*parts):
        assert len(set(data.flag[np.concatenate(step)])) == 1
    assert set(np.concatenate([np.concatenate(p) for p in parts])) == set(range(19))
    before = parts[0]
    samplers[0].set_epoch(1)
    assert batches(samplers[0], size) != before
    if world == 1:
        assert batches(GroupSampler(data, size, seed=1), size) == before


def test_wrong_arguments():
    with pytest.raises(ValueError, match='rank must be 0 to 1, got 2'):
        DistributedSampler(range(3), 2, 2)
    with pytest.raises(ValueError, match='empty'):
        DistributedSampler([], 1, 0)
    with pytest.raises(ConfigError, match='needs an attribute "flag"'):
        GroupSampler(range(3))


def test_batch_sampler_begins_anywhere():
    sampler = EpochBatchSampler(DistributedSampler(range(23), 1, 0, seed=7), 4)
    sampler.set_epoch(3)
    whole = list(sampler)
    assert len(whole) == len(sampler) == 6 and {epoch for batch in whole for epoch, _ in batch} == {3}
    for start in (0, 1, 5, 6):
        sampler.set_epoch(3, start)
        assert list(sampler) == whole[start:]
    # a loader that nobody told goes on with the next epoch, from its start
    for epoch in (3, 4):
        sampler.begin()
        assert [key for key, _ in sum(sampler, [])] == [epoch] * (0 if epoch == 3 else 23)
    # a hook that knows the sampler alone
    sampler.set_epoch(7, 2)
    sampler.begin()
    sampler.sampler.set_epoch(9)
    sampler.begin()
    assert [key for key, _ in sum(sampler, [])] == [9] * 23
    with pytest.raises(ValueError, match='start must be 0 to 6'):
        sampler.set_epoch(0, 7)


def test_a_sampler_of_a_config():
    known = dict(dataset=range(10), num_replicas=2, rank=1, seed=4, batch_size=3, samples_per_gpu=3, drop_last=True)
    built = build_sampler(dict(type='DistributedSampler', replace=True), **known)
    assert list(built) == list(DistributedSampler(range(10), 2, 1, True, True, 4, 3, True))
    grouped = build_sampler(dict(type='DistributedGroupSampler', seed=5), **dict(known, dataset=Grouped()))
    assert list(grouped) == list(DistributedGroupSampler(Grouped(), 3, 2, 1, seed=5))
    for cfg, words in [(dict(type='DistributedSample'), "'DistributedSampler'"), (dict(replace=True), 'no "type"'),
                       (dict(type='DistributedSampler', windows=3), "no argument 'windows'"),
                       (dict(type='DistributedGroupSampler'), 'attribute "flag"'), (dict(type=object), 'no sampler')]:
        with pytest.raises(ConfigError, match=words):
            build_sampler(cfg, **known)

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Dataset, Subset

from mmssl.datasets import BlockShuffleSampler, RepeatDataset
from mmssl.datasets.builder import build_dataloader
from mmssl.datasets.loader import EpochBatchSampler
from mmssl.datasets.registry import build_sampler
from mmssl.datasets.samplers import block_sampler
from mmssl.datasets.samplers.block_sampler import block_ends
from mmssl.utils.errors import ConfigError


class Blocks(Dataset):
    """Numbers in blocks of these sizes."""

    def __init__(self, *sizes):
        self.data_source = self
        self.blocks = np.cumsum(sizes)

    def __len__(self):
        return int(self.blocks[-1])

    def __getitem__(self, idx):
        return dict(img=np.float32(idx), idx=idx)


SIZES = [7, 1, 0, 12, 5, 9, 30, 2, 2, 8, 11, 4, 6]
DATA = Blocks(*SIZES)  # 97 samples
BLOCK_OF = np.repeat(np.arange(len(SIZES)), SIZES)


def naive(seed, epoch, window):
    """The order of one process: permuted blocks in windows, each shuffled."""
    blocks = np.random.default_rng((seed, epoch)).permutation(len(SIZES))
    windows, order = -(-len(SIZES) // window), []
    for w in range(windows):
        members = blocks[w * len(SIZES) // windows:(w + 1) * len(SIZES) // windows]
        samples = np.concatenate([np.flatnonzero(BLOCK_OF == b) for b in members])
        shuffled = np.arange(len(samples))
        np.random.default_rng((seed, epoch, 0, w)).shuffle(shuffled)
        order += samples[shuffled].tolist()
    return order


@pytest.mark.parametrize('window', [1, 4, 100])
def test_windows_of_blocks_are_shuffled(window):
    sampler = BlockShuffleSampler(DATA, 1, 0, window=window, seed=3)
    orders = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert orders[-1] == naive(3, epoch, window) and sorted(orders[-1]) == list(range(97))
        for start in range(98):
            assert list(sampler.iterate(start)) == orders[-1][start:]
    assert orders[0] != orders[1]
    if window == 1:
        assert (np.diff(BLOCK_OF[orders[0]]) != 0).sum() == 11  # one block after another; one is empty


@pytest.mark.parametrize('world, size', [(2, 4), (3, 5), (4, 1)])
@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('split', ['all', 'node', 'process'])
def test_processes_share_the_samples(world, size, drop_last, split, monkeypatch):
    """Equal shares whose union has every sample once, but for what fills up the last round."""
    monkeypatch.setattr(block_sampler, 'processes_of_a_node', lambda world: 2 if world % 2 == 0 else 1)
    team = dict(all=world, node=2 if world % 2 == 0 else 1, process=1)[split]
    samplers = [
        BlockShuffleSampler(DATA, world, r, window=2, split=split, seed=1, batch_size=size, drop_last=drop_last)
        for r in range(world)
    ]
    for epoch in range(3):
        for s in samplers:
            s.set_epoch(epoch)
        parts = [list(s) for s in samplers]
        assert {len(p) for p in parts} == {97 // world if drop_last else -(-97 // world)} == {len(s) for s in samplers}
        joined = sum(parts, [])
        if drop_last:
            assert len(set(joined)) == len(joined)
        else:
            assert set(joined) == set(range(97))
        for part, s in zip(parts, samplers):
            assert list(s.iterate(11)) == part[11:]
        # who reads which block: one is cut between two shares, and what fills up the last round comes from the first
        seen = [set(BLOCK_OF[sum(parts[i:i + team], [])]) for i in range(0, world, team)]
        assert sum(map(len, seen)) <= 12 + len(seen) - 1 + max(0, len(joined) - 97)
    if split == 'all':
        one = BlockShuffleSampler(DATA, 1, 0, window=2, seed=1, batch_size=world * size, drop_last=drop_last)
        one.set_epoch(2)
        whole, steps = [[i for _, i in b] for b in EpochBatchSampler(one, world * size)], \
            zip(*([[i for _, i in b] for b in EpochBatchSampler(s, size)] for s in samplers))
        for step, batch in zip(steps, whole[:97 // (world * size)]):
            assert sum(step, []) == batch


def test_processes_of_a_node(monkeypatch):
    from mmssl.utils import dist
    assert dist.processes_of_a_node(3) == 3
    monkeypatch.setattr(dist, 'is_distributed', lambda: True)
    for hosts, size in [('aabbcc', 2), ('abc', 1), ('aaab', None), ('abab', None), ('aabba', None)]:
        monkeypatch.setattr(dist, 'all_gather_object', lambda host: list(hosts))
        if size:
            assert dist.processes_of_a_node(len(hosts)) == size
            continue
        with pytest.raises(ConfigError, match='each machine needs equally many'):
            dist.processes_of_a_node(len(hosts))


def test_more_processes_than_samples():
    for split in ('all', 'process'):
        parts = [list(BlockShuffleSampler(Blocks(2, 1), 8, r, split=split)) for r in range(8)]
        assert {len(p) for p in parts} == {1} and set(sum(parts, [])) == {0, 1, 2}
        assert not any(list(BlockShuffleSampler(Blocks(2, 1), 8, r, split=split, drop_last=True)) for r in range(8))


def test_blocks_of_wrappers():
    joined = ConcatDataset([Blocks(3, 2), RepeatDataset(Blocks(1, 4), 2)])
    assert block_ends(joined).tolist() == [3, 5, 6, 10, 11, 15]
    assert block_ends(Subset(joined, [0, 2, 4, 5, 9, 14])).tolist() == [2, 3, 4, 5, 5, 6]
    assert block_ends(range(5)) is None and block_ends(ConcatDataset([Blocks(2), range(3)])) is None
    with pytest.raises(ConfigError, match='sort its indices'):
        block_ends(Subset(joined, [3, 1]))
    assert sorted(BlockShuffleSampler(joined, 1, 0)) == list(range(15))
    sampler = BlockShuffleSampler(range(10), 1, 0, block_size=4, window=1)
    assert sampler.ends.tolist() == [4, 8, 10]


def test_large_windows_are_not_listed(monkeypatch):
    from mmssl.datasets.samplers import distributed_sampler
    monkeypatch.setattr(distributed_sampler, 'LISTED', 10)
    sampler = BlockShuffleSampler(DATA, 1, 0, window=5)
    assert sorted(sampler) == list(range(97)) and list(sampler.iterate(40)) == list(sampler)[40:]


@pytest.mark.parametrize('options, words', [
    (dict(window=0), 'window is an integer of at least 1, got 0'),
    (dict(block_size=0), 'block_size is an integer of at least 1'),
    (dict(split='nodes'), "must be 'all', 'node' or 'process', got 'nodes'"),
    (dict(window=2.5), 'window must be int'),
    (dict(dataset=range(5)), 'names no blocks.*set block_size'),
])
def test_what_does_not_fit(options, words):
    known = dict(dataset=DATA, num_replicas=1, rank=0)
    with pytest.raises(ConfigError, match=words):
        build_sampler(dict(type='BlockShuffleSampler', **options), **known)
    bad = Blocks(3, 2)
    bad.data_source = type('Source', (), dict(blocks=[3, 4]))()
    with pytest.raises(ConfigError, match='ascend up to its 5 samples'):
        BlockShuffleSampler(bad, 1, 0)


def test_a_config_names_the_sampler_of_its_training():
    from mmcv import Config

    from mmssl.core.training import build_loader
    sampler = dict(type='BlockShuffleSampler', window=3)
    cfg = Config(dict(data=dict(samples_per_gpu=8, workers_per_gpu=0, sampler=sampler), seed=2))
    assert list(build_loader(DATA, cfg).sampler) == naive(2, 0, 3)
    cfg.data.replace = True
    for options in (dict(testing=True), dict(shuffle=False, drop_last=False)):  # tests, and phases of validation
        assert list(build_loader(DATA, cfg, **options).sampler) == list(range(97))
    for replace, shuffle in ((True, True), (False, False)):
        cfg.data.update(replace=replace, shuffle=shuffle)
        with pytest.raises(ConfigError, match='takes the place of shuffle and replace'):
            build_loader(DATA, cfg)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_loader_resumes_in_the_middle(workers):
    loader = build_dataloader(
        DATA, samples_per_gpu=8, workers_per_gpu=workers, dist=False, seed=2, drop_last=True,
        sampler=dict(type='BlockShuffleSampler', window=3))  # yapf: disable
    loader.set_epoch(1)
    whole = [batch['idx'].tolist() for batch in loader]
    assert sum(whole, []) == naive(2, 1, 3)[:96]
    loader.set_epoch(1, start=7)
    assert [batch['idx'].tolist() for batch in loader] == whole[7:]
    with pytest.raises(ConfigError, match='takes the place of shuffle and replace'):
        build_dataloader(DATA, samples_per_gpu=8, shuffle=False, sampler=dict(type='BlockShuffleSampler'))


def load(rank, world_size, split):
    loader = build_dataloader(
        DATA, samples_per_gpu=4, workers_per_gpu=rank, seed=7, sampler=dict(type='BlockShuffleSampler', split=split))
    loader.set_epoch(2, start=1)
    return [batch['idx'].tolist() for batch in loader]


def load_all(rank, world_size):
    return [load(rank, world_size, split) for split in ('all', 'node', 'process')]


def test_two_processes_load_what_one_does(run_distributed):
    """Of one machine 'node' is 'all'; the union of split blocks has every sample, whatever the workers."""
    one = BlockShuffleSampler(DATA, 1, 0, seed=7, batch_size=8)
    one.set_epoch(2)
    whole = list(one.iterate(8))
    (all0, node0, split0), (all1, node1, split1) = run_distributed(load_all)
    joined = [sum(step, []) for step in zip(all0, all1)]
    assert sum(joined[:-1], []) == whole[:88] and (node0, node1) == (all0, all1)
    parts = [BlockShuffleSampler(DATA, 2, r, split='process', seed=7, batch_size=4) for r in range(2)]
    for part, found in zip(parts, (split0, split1)):
        part.set_epoch(2)
        assert sum(found, []) == list(part)[4:]
    assert set(list(parts[0]) + list(parts[1])) == set(range(97))

import math
import multiprocessing
import os
import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mmssl.datasets import (BlockShuffleSampler, ConcatDataset, DistributedGroupSampler, DistributedSampler, Folder,
                            MultiViewDataset, PrefetchLoader, RepeatDataset, SingleViewDataset, build_dataloader)
from mmssl.datasets.collators import collate
from mmssl.datasets.dataset_wrappers import ClassBalancedSubset
from mmssl.datasets.loader import EpochLoader, KeyedDataset, _end_workers, left_out
from mmssl.utils.errors import BrokenImageError, ConfigError

VIEW = [
    dict(type='RandomResizedCrop', size=24),
    dict(type='RandomHorizontalFlip'),
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4, hue=0.1)], p=0.8),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
]


class Noise:
    """A step as users write them: on Pillow images, drawing from all three global generators."""

    def __call__(self, img):
        shift = random.randrange(40) + np.random.randint(40) + int(torch.randint(40, ()))
        return img.point(lambda v: (v + shift) % 256)


@pytest.fixture
def two_views(photo_folder):
    return MultiViewDataset(
        dict(type='Folder', data_prefix=str(photo_folder)), [1, 1], [VIEW, [*VIEW, Noise()]], prefetch=True)


def loader_of(dataset, workers=0, size=5, **kwargs):
    return build_dataloader(dataset, samples_per_gpu=size, workers_per_gpu=workers, dist=False, seed=11, **kwargs)


def content(batches):
    """Everything in some batches as plain comparable values, one entry a sample."""
    out = []
    for batch in batches:
        views = batch['img'] if isinstance(batch['img'], list) else [batch['img']]
        out += [(int(i), *(v[n].numpy().tobytes() for v in views)) for n, i in enumerate(batch['idx'])]
    return out


def test_images_depend_on_neither_workers_nor_interruption(two_views):
    """Pitfalls: the stream of augmentations repeats each epoch; resume does not restore the position in the data."""
    reference = {}
    for workers in (0, 1, 3):
        loader = loader_of(two_views, workers)
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            got = content(loader)
            assert got == reference.setdefault(epoch, got) and len(got) == 24
        loader.set_epoch(1, start=3)  # resumed within an epoch, with workers that have done other things before
        assert content(loader) == reference[1][15:] and len(loader) == 5
        next(iter(loader))  # an epoch that is abandoned leaves nothing behind
        loader.set_epoch(0)
        assert content(loader) == reference[0]
    # another epoch: another order, and no image is augmented as before; the same for the two views
    first, second = (dict((i, images) for i, *images in reference[e]) for e in (0, 1))
    assert [s[0] for s in reference[0]] != [s[0] for s in reference[1]] and sorted(first) == sorted(second)
    assert all(first[i][v] != second[i][v] for i in first for v in (0, 1)) and all(a != b for a, b in first.values())
    # nobody announces epochs: they follow each other
    loader = loader_of(two_views)
    assert [content(loader) for _ in range(2)] == [reference[0], reference[1]]
    # another seed
    assert content(build_dataloader(two_views, samples_per_gpu=5, workers_per_gpu=0, seed=12)) != reference[0]


def _train_order(rank, world_size, folder, size):
    data = MultiViewDataset(dict(type='Folder', data_prefix=folder), [2], [VIEW], prefetch=True)
    loader = build_dataloader(data, samples_per_gpu=size, workers_per_gpu=1, seed=11, drop_last=True)
    loader.set_epoch(2, start=1)
    return [content([batch]) for batch in loader]


def test_two_processes_see_the_batches_of_one(photo_folder, run_distributed):
    """Pitfall: every rank gets the same augmentation stream. Two processes together see what one process sees."""
    one = _train_order(0, 1, str(photo_folder), 6)
    two = run_distributed(_train_order, str(photo_folder), 3)
    assert len(one) == 3 and [a + b for a, b in zip(*two)] == one


def test_without_a_seed_processes_agree(run_distributed):
    a, b = run_distributed(_drawn_order)
    assert not set(a) & set(b) and len({*a, *b}) == 360


def _drawn_order(rank, world_size):
    data = SingleViewDataset(dict(type='Digits', split='test'), [], prefetch=True)
    return torch.cat([b['idx'] for b in build_dataloader(data, samples_per_gpu=60, workers_per_gpu=0)]).tolist()


def test_repetitions_differ(photo_folder):
    part = MultiViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), [1], [VIEW], prefetch=True)
    got = content(loader_of(RepeatDataset(part, 3)))
    assert len(got) == 72 == len(set(got)) and np.bincount([i for i, _ in got]).tolist() == [3] * 24


class DrawsGlobally(Dataset):
    """A dataset as users write them."""

    def __len__(self):
        return 12

    def __getitem__(self, idx):
        assert type(idx) is int
        return dict(img=torch.rand(2), idx=idx, other=np.random.rand() + random.random())


def test_dataset_that_draws_from_global_generators():
    wrapped = ConcatDataset([RepeatDataset(DrawsGlobally(), 1)])
    labelled = DrawsGlobally()
    labelled.gt_labels = np.arange(12) % 2
    part = ClassBalancedSubset(labelled, fraction=1)
    runs = [
        torch.cat([b['img'][:, 0] + b['other'] for b in loader_of(data, workers)]).tolist()
        for data in (DrawsGlobally(), wrapped, part) for workers in (0, 2)
    ]
    assert all(run == runs[0] for run in runs) and len(set(runs[0])) == 12


def test_a_list_is_a_dataset_too():
    loader = build_dataloader([dict(img=torch.full((3, 2, 2), float(i)), idx=i) for i in range(4)],
                              samples_per_gpu=2,
                              workers_per_gpu=0,
                              shuffle=False,
                              dist=False)
    assert [batch['idx'].tolist() for batch in loader] == [[0, 1], [2, 3]]


def test_global_generators_are_left_alone(two_views):
    """Resume is exact only if neither making an iterator nor loading in the main process draws a number."""

    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    for workers in (0, 1):
        for _ in range(2):
            list(loader_of(two_views, workers))
    assert state() == before
    # and who asks the dataset itself afterwards gets random views
    assert not np.array_equal(two_views[0]['img'][0], two_views[0]['img'][0])


@pytest.mark.long
@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_spawned_workers(two_views, method):
    """Also where a worker's parent is not the process that has asked for it."""
    loader = loader_of(two_views, 1, size=12, multiprocessing_context=method)
    assert content(loader) == content(loader_of(two_views, size=12))


@pytest.fixture
def broken_folder(photo_folder, tmp_path):
    """21 good images and three broken ones: a truncated JPEG, an empty file, and a text with the name of a JPEG."""
    good = sorted(photo_folder.rglob('*.jpg'))
    for i, path in enumerate(good):
        (tmp_path / f'{i:02d}.jpg').write_bytes(path.read_bytes())
    (tmp_path / '03.jpg').write_bytes(good[3].read_bytes()[:5000])
    (tmp_path / '10.jpg').write_bytes(b'')
    (tmp_path / '17.jpg').write_text('not an image')
    assert len(Folder(str(tmp_path))) == 24
    return tmp_path


@pytest.fixture
def partly_broken(broken_folder):
    return MultiViewDataset(dict(type='Folder', data_prefix=str(broken_folder)), [2], [VIEW], prefetch=True)


def test_workers_end_with_the_process_that_holds_their_loader(two_views):
    """They are told to, before the exit function of torch, which waits 5 s for each and then sends SIGTERM."""
    loader = loader_of(two_views, 2, persistent_workers=True)
    next(batches := iter(loader))
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    _end_workers()
    assert [worker.exitcode for worker in workers] == [0, 0]
    del batches


def test_broken_images_are_replaced(partly_broken, warnings_of_data):
    """Pitfall: a broken image ends the run after hours, or trains on grey squares."""
    reference, counts = None, []
    for workers in (0, 1, 3):
        loader = loader_of(partly_broken, workers, broken_images=dict(max_share=0.5))
        warnings_of_data.clear()
        epochs = [content(loader) for _ in range(2)]
        reference = reference or epochs
        assert epochs == reference and all(len(e) == 24 for e in epochs)
        # those in their places are valid ones, with a label and an index of their own, in another augmentation
        assert all({i for i, *_ in e} <= set(range(24)) - {3, 10, 17} and len(set(e)) == 24 for e in epochs)
        # three files, however often others stood in for them
        assert loader.broken == PrefetchLoader(loader).broken == 3 and PrefetchLoader(
            loader).replaced == loader.replaced
        counts.append((loader.replaced, loader.seen - loader.replaced))
        # one warning a file
        assert len(warnings_of_data) == 3
        for name, reason in (('03.jpg', 'Premature end'), ('10.jpg', 'empty'), ('17.jpg', 'no known kind')):
            assert len([w for w in warnings_of_data if name in w and reason in w]) == 1
    assert len(set(counts)) == 1 and counts[0][0] >= 6 and counts[0][1] == 48
    # the valid ones are what they would be without their neighbours
    loader = loader_of(partly_broken.__class__(partly_broken.data_source, [2], [[]]))
    assert {s for s in reference[0]} - {s for s in reference[1]} == set(reference[0]) and len(loader) == 5


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images_are_left_out(partly_broken, workers, warnings_of_data):
    loader = loader_of(partly_broken, workers, size=1, shuffle=False, broken_images=dict(policy='skip'))
    whole = content(loader)
    assert [i for i, *_ in whole] == [i for i in range(24) if i not in (3, 10, 17)] and not warnings_of_data
    assert [idx for idx, _, _ in loader.met] == [3, 10, 17] and loader.broken == 3 and not loader.replaced
    words = left_out([*loader.met, (23, os.fsdecode(b'a\n\xff.jpg'), 'torn')], 24)
    assert words.startswith('4 of 24 images cannot be read and are left out: ') and words.endswith('; and 1 more')
    words = left_out([(23, os.fsdecode(b'a\n\xff \xc3\xa4.jpg'), 'torn')], 24)
    assert words.endswith('left out: a\\n\\xff ä.jpg (torn)')


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images_end_the_run_if_so_wanted(partly_broken, workers):
    with pytest.raises(ValueError, match=r'cannot read the image .*(03|10|17)\.jpg'):
        list(loader_of(partly_broken, workers, broken_images=dict(policy='stop')))


@pytest.mark.long
@pytest.mark.parametrize('workers', [0, 2])
def test_too_many_broken_images(partly_broken, workers):
    loader = loader_of(partly_broken, workers, broken_images=dict(max_share=0.05))
    with pytest.raises(ConfigError, match=r'3 files.* a share of 0\.1\d+; broken_images.max_share allows 0.05.*jpg'):
        for _ in range(6):
            list(loader)
    assert 100 <= loader.seen < 200


@pytest.mark.parametrize('share', [5, -0.1, '0.5', True])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(ConfigError, match=f'max_share is a share from 0 to 1, got {share!r}'):
        loader_of(SingleViewDataset(dict(type='Digits'), [], prefetch=True), broken_images=dict(max_share=share))


def test_chance_alone_does_not_end_the_first_pass():
    loader = loader_of(SingleViewDataset(dict(type='Digits'), [], prefetch=True), broken_images=dict(max_share=0.01))
    loader._count(128, [(0, 'a', 'torn'), (1, 'b', 'torn')])  # 1.6 per cent, but one more or less is chance
    with pytest.raises(ConfigError, match='12 of 138 images'):
        loader._count(10, [(i, str(i), 'torn') for i in range(10)])


def test_nothing_but_broken_images(tmp_path):
    for i in range(30):
        (tmp_path / f'{i}.jpg').write_text('no')
    data = SingleViewDataset(Folder(str(tmp_path)), [], prefetch=True)
    for workers in (0, 1):
        with pytest.raises(ConfigError, match=r'21 broken images in a row; the last: .*\d\.jpg'):
            list(loader_of(data, workers))


class PartlyBroken(Dataset):
    """24 samples; 3, 10 and 17 cannot be read."""

    def __len__(self):
        return 24

    def __getitem__(self, idx):
        if idx in (3, 10, 17):
            raise BrokenImageError(f'{idx}.jpg', 'torn')
        return dict(img=np.zeros((1, 1, 3), np.uint8), idx=idx)


def test_no_image_is_twice_in_a_batch_with_broken_ones():
    """Pitfall: an image stands in for a broken one beside itself, as a negative of its own."""
    one = PartlyBroken()
    for data in (one, RepeatDataset(one, 3), ConcatDataset([RepeatDataset(one, 2), PartlyBroken()])):
        reference, replaced = None, 0
        for workers in (0, 2) if data is one else (0, ):
            loader = loader_of(data, workers, size=8, broken_images=dict(max_share=1))
            seen = []
            for epoch in range(10):
                loader.set_epoch(epoch)
                plan = [[idx for _, idx in keys] for keys in loader.batch_sampler]
                for planned, batch in zip(plan, loader, strict=True):
                    # what an index stands for: a second part's images are others
                    images = [
                        i % 24 + 100 * (i >= 48 and data is not one and isinstance(data, ConcatDataset))
                        for i in [*planned, *batch['idx'].tolist()]
                    ]
                    wanted, got = images[:8], images[8:]
                    stand_in = [g for w, g in zip(wanted, got) if w % 100 in (3, 10, 17)]
                    assert not {3, 10, 17} & {g % 100 for g in got}
                    assert all((w == g) == (w % 100 not in (3, 10, 17)) for w, g in zip(wanted, got))
                    assert len(set(stand_in)) == len(stand_in) and not {*stand_in} & {*wanted}
                    seen.append(got)
                    replaced += len(stand_in)
            reference = reference or seen
            assert seen == reference
        assert replaced >= 30
    # a draw that is in no batch already is what it always was
    loader = loader_of(one, size=1, shuffle=False, broken_images=dict(max_share=1))
    drawn = np.random.default_rng((11, 0, 3))
    expected = next(i for i in (int(drawn.integers(24)) for _ in range(9)) if i not in (3, 10, 17))
    assert [batch['idx'].item() for batch in loader][3] == expected


@pytest.mark.parametrize('kind', ['shuffled', 'blocks', 'own blocks', 'groups'])
def test_replacements_are_in_the_batch_of_no_process(kind):
    """Two processes replace what one does, and by the same images."""
    data = ConcatDataset([PartlyBroken(), PartlyBroken()])
    data.flag = np.arange(48) // 24

    def loader(world, rank):
        size = 8 // world
        if kind == 'groups':
            sampler = DistributedGroupSampler(data, size, world, rank, seed=4)
        elif kind == 'shuffled':
            sampler = DistributedSampler(data, world, rank, seed=4, batch_size=size)
        else:
            sampler = BlockShuffleSampler(
                data,
                world,
                rank,
                window=2,
                block_size=4,
                split='process' if kind[0] == 'o' else 'all',
                seed=4,
                batch_size=size)
        return loader_of(data, size=size, sampler=sampler, broken_images=dict(max_share=1))

    replaced = 0
    loaders = [loader(2, 0), loader(2, 1), loader(1, 0)]
    for epoch in range(8):
        batches = []
        for one in loaders:
            one.set_epoch(epoch)
            batches.append([batch['idx'].tolist() for batch in one])
        plans = [[[idx for _, idx in keys] for keys in one.batch_sampler] for one in loaders]
        for first, second, left, right in zip(*batches[:2], *plans[:2], strict=True):
            assert not {3, 10, 17, 27, 34, 41} & {*first, *second}
            news = [new for new, old in zip(first + second, left + right) if new != old]
            # 'own blocks': a process does not know the blocks of another
            assert kind == 'own blocks' or not {*news} & {*left, *right}
            replaced += len(news)
        if kind != 'own blocks':
            together = [a + b for a, b in zip(*batches[:2])]
            same = sum(a == b for a, b in zip(together, batches[2], strict=True))
            assert same >= len(together) - 1  # two that draw the same replacement differ
        loaders[1].set_epoch(epoch, start=2)  # resumed in the middle
        assert [batch['idx'].tolist() for batch in loaders[1]] == batches[1][2:]
    assert replaced >= 40


def test_a_batch_of_all_images_has_no_replacement():
    one = PartlyBroken()
    with pytest.raises(ConfigError, match=r'stand in for (3|10|17).jpg.* of 24 samples are in its batch of 24 already'):
        list(loader_of(one, size=24))
    # one is free, and found, however few these are
    keys = [(0, idx) for idx in range(24) if idx not in (10, 12, 17)]
    samples, broken = KeyedDataset(one, 0, 'replace').__getitems__(keys)
    assert samples[3]['idx'] == 12 and {name for _, name, _ in broken} <= {'3.jpg', '10.jpg', '17.jpg'}
    with pytest.raises(ConfigError, match='stand in for 3.jpg .* already, or are broken as well'):
        KeyedDataset(one, 0, 'replace').__getitems__([*keys, (0, 12)])


@pytest.mark.parametrize('options, message', [
    (dict(polcy='raise'), "did you mean 'policy'"),
    (dict(policy='grey'), "must be 'replace' or 'skip' or 'stop' here, got 'grey'"),
])
def test_wrong_options_for_broken_images(options, message):
    with pytest.raises(ConfigError, match=message):
        loader_of(DrawsGlobally(), broken_images=options)


@pytest.mark.parametrize('workers', [0, 1])
def test_collation(photo_folder, workers):
    """uint8 images are stacked once and viewed as N x C x H x W."""
    source = dict(type='ImageNet', data_prefix=str(photo_folder))
    data = SingleViewDataset(source, [dict(type='Resize', size=(10, 14))], prefetch=True)
    batch = next(iter(loader_of(data, workers, shuffle=False)))
    img = batch['img']
    assert img.shape == (5, 3, 10, 14) and img.dtype == torch.uint8
    assert img.is_contiguous(memory_format=torch.channels_last) and img.is_shared() == bool(workers)
    np.testing.assert_array_equal(img[2].permute(1, 2, 0).numpy(), data[2]['img'])
    assert batch['label'].dtype == batch['idx'].dtype == torch.int64
    assert batch['idx'].tolist() == [0, 1, 2, 3, 4] and batch['label'].tolist() == [0] * 5


def test_collation_of_other_things():
    uint8 = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    samples = [
        dict(img=(uint8[:, ::-1], torch.ones(2), np.ones((5, 5), bool)), idx=i, weight=0.5, name='a', box=uint8)
        for i in range(3)
    ]
    batch = collate(samples)
    assert [tuple(part.shape) for part in batch['img']] == [(3, 4, 2, 3), (3, 2), (3, 5, 5)]
    np.testing.assert_array_equal(batch['img'][0][1].permute(1, 2, 0), uint8[:, ::-1])
    assert batch['weight'].dtype == torch.float64 and batch['name'] == ['a'] * 3 and batch['box'].shape == (3, 2, 3, 4)
    assert collate([1, 2]).tolist() == [1, 2]
    with pytest.raises(ConfigError, match=r'differ in shape: \[\(2, 3, 4\), \(4, 3, 4\)\]'):
        collate([dict(img=uint8), dict(img=np.concatenate([uint8, uint8]))])


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_normalisation(channels, channels_last):
    rng = np.random.default_rng(0)
    mean, std = rng.uniform(0.3, 0.6, channels), rng.uniform(0.1, 0.3, channels)
    arrays = rng.integers(256, size=(2, 4, 6, 5, channels), dtype=np.uint8)
    batch = dict(img=[torch.from_numpy(a).permute(0, 3, 1, 2) for a in arrays], idx=torch.arange(4))
    loader = PrefetchLoader([batch], mean.tolist(), std.tolist(), channels_last=channels_last)
    got, = loader
    form = torch.channels_last if channels_last else torch.contiguous_format
    for view, array in zip(got['img'], arrays):
        reference = ((array / 255. - mean) / std).transpose(0, 3, 1, 2)
        assert view.dtype == torch.float32 and view.is_contiguous(memory_format=form)
        np.testing.assert_allclose(view.numpy(), reference, atol=2e-6)
    assert batch['img'][0].dtype == torch.uint8 and len(loader) == 1
    # one number for all channels
    one, = PrefetchLoader([batch], 0.5, 0.2)
    np.testing.assert_allclose(one['img'][1].permute(0, 2, 3, 1), (arrays[1] / 255. - 0.5) / 0.2, atol=2e-6)


def test_prefetch_equals_the_pipeline_that_normalises(photo_folder):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    source = Folder(str(photo_folder))
    floats = MultiViewDataset(source, [2], [[*VIEW, dict(type='ToTensor'), dict(type='Normalize', mean=mean, std=std)]])
    bytes_ = MultiViewDataset(source, [2], [VIEW], prefetch=True)
    for a, b in zip(
            PrefetchLoader(loader_of(floats)), loader_of(bytes_, prefetch=True, img_norm_cfg=dict(mean=mean, std=std))):
        for x, y in zip(a['img'], b['img']):
            torch.testing.assert_close(x, y, atol=2e-6, rtol=0)


def test_wrong_normalisation():
    batch = dict(img=torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ConfigError, match='of 3 channels.* and the images have 1'):
        list(PrefetchLoader([batch], [0.5] * 3, [0.2] * 3))
    with pytest.raises(ConfigError, match='uint8 images need img_norm_cfg'):
        list(PrefetchLoader([batch]))
    with pytest.raises(ConfigError, match='divide by 255'):
        PrefetchLoader([batch], [123., 117., 104.], [58., 57., 57.])
    with pytest.raises(ConfigError, match='std must be positive'):
        PrefetchLoader([batch], 0.5, 0.)
    with pytest.raises(ConfigError, match='mean of img_norm_cfg is of 2 channels, std of 3'):
        PrefetchLoader([batch], [0.5] * 2, [0.2] * 3)
    for mean in ([], [0.5, math.nan, 0.5]):
        with pytest.raises(ConfigError, match='finite numbers, one a channel, got mean='):
            PrefetchLoader([batch], mean, 0.2)


def test_prefetch_loader_passes_everything_on(two_views):
    inner = loader_of(two_views)
    loader = PrefetchLoader(inner, 0.5, 0.2)
    assert loader.dataset is two_views and loader.sampler is inner.sampler and len(loader) == 5
    loader.set_epoch(4, start=2)
    assert inner.sampler.epoch == 4 and len(list(loader)) == 3
    floats = dict(img=torch.rand(2, 3, 4, 4), mask=torch.ones(2, 4), names=['a', 'b'])
    got, = PrefetchLoader([floats], 0.5, 0.2)
    assert torch.equal(got['img'], floats['img']) and got['names'] == ['a', 'b'] and torch.equal(
        got['mask'], floats['mask'])


@pytest.mark.parametrize('arguments, sizes', [
    (dict(samples_per_gpu=5), [5, 5, 2]),
    (dict(imgs_per_gpu=5), [5, 5, 2]),
    (dict(samples_per_gpu=5, drop_last=True), [5, 5]),
    (dict(samples_per_gpu=2, num_gpus=3, dist=False), [6, 6]),
    (dict(samples_per_gpu=12, sampler=DistributedSampler(range(12), 4, 1, shuffle=False)), [3]),
])
def test_build_dataloader(arguments, sizes):
    loader = build_dataloader(DrawsGlobally(), workers_per_gpu=0, **arguments)
    assert [len(b['idx']) for b in loader] == sizes and len(loader) == len(sizes)
    assert isinstance(loader, EpochLoader)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(), ConfigError, 'samples_per_gpu must be a positive integer, got None'),
    (dict(samples_per_gpu=0), ConfigError, 'samples_per_gpu'),
    (dict(samples_per_gpu=1, workers_per_gpu=-1), ConfigError, 'workers_per_gpu'),
    (dict(samples_per_gpu=1, prefech=True), TypeError, 'prefech'),
])
def test_build_dataloader_with_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        build_dataloader(DrawsGlobally(), **arguments)

"""Samples as dicts: several images and labels side by side, steps that see all of them."""
import random

import numpy as np
import pytest
import torch

from mmssl.apis import train_model
from mmssl.core.training import build_loader
from mmssl.datasets import (PIPELINES, DistributedSampler, MultiViewDataset, PrefetchLoader, SampleDataset,
                            build_dataloader, build_dataset)
from mmssl.datasets.collators import collate
from mmssl.datasets.pipelines import Compose, SampleStep
from mmssl.datasets.pipelines.rng import reseed, rng, seed_sample
from mmssl.models import BaseModel
from mmssl.utils.errors import ConfigError

VIEW = [
    dict(type='RandomResizedCrop', size=24),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, hue=0.1),
]


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


@PIPELINES.register_module(force=True)
class CutPatches(SampleStep):
    """Image -> image and four patches in random order, the order being the label."""
    makes = ('order', )

    def __call__(self, sample):
        img = sample['img']
        order = rng().permutation(4)
        h, w = img.shape[0] // 2, img.shape[1] // 2
        patches = np.stack([img[h * (i // 2):, w * (i % 2):][:h, :w] for i in order])
        return dict(sample, img=dict(image=img, patches=patches), order=order)


@PIPELINES.register_module(force=True)
class ForeignSampleStep:
    """As users write them, on the global generators."""
    takes_sample = True

    def __call__(self, sample):
        return dict(sample, drawn=random.randrange(10**9) + np.random.randint(10**9) + int(torch.randint(10**9, ())))


def photos(folder):
    return dict(type='ImageNet', data_prefix=str(folder))


def patches_of(folder):
    return SampleDataset(
        photos(folder), [
            dict(type='CenterCrop', size=64),
            dict(type='CutPatches'),
            dict(type='OnEntries', entries=['patches'], transforms=[dict(type='RandomCrop', size=20)]),
            dict(type='RandomHorizontalFlip'),
            dict(type='ForeignSampleStep'),
        ],
        prefetch=True)


def get(dataset, idx, seed=3, epoch=0):
    seed_sample(seed, epoch, idx)
    return dataset[idx]


def test_a_sample_of_image_and_patches(photo_folder):
    data = patches_of(photo_folder)
    sample = get(data, 5)
    assert sorted(sample) == ['drawn', 'idx', 'img', 'label', 'order'] and sample['idx'] == 5 and sample['label'] == 0
    assert sample['img']['image'].shape == (64, 64, 3) and sample['img']['patches'].shape == (4, 20, 20, 3)
    assert data[20]['label'] == 1 and data.gt_labels.tolist() == [0] * 12 + [1] * 12 and len(data) == 24
    # the order comes from the step's own stream: the patches hold what they should
    image = Compose([dict(type='CenterCrop', size=64)])(data.stored(5))
    patch, place = sample['img']['patches'][0], sample['order'][0]
    cell = image[32 * (place // 2):, 32 * (place % 2):][:32, :32]
    windows = np.lib.stride_tricks.sliding_window_view(cell, (20, 20, 3))[:, :, 0]
    assert any((windows == p).all((-1, -2, -3)).any() for p in (patch, patch[:, ::-1]))


def test_each_image_draws_anew():
    """Same content in all entries: what differs is what was drawn, and twice the same key gives the same."""
    data = SampleDataset(dict(type='Digits'), [dict(type='Copies', num=6), dict(type='RandomCrop', size=4)], True)
    views = get(data, 0)['img']
    assert len({view.tobytes() for view in views}) > 3
    assert [v.tobytes() for v in get(data, 0)['img']] == [v.tobytes() for v in views]
    for other in (get(data, 0, seed=4), get(data, 0, epoch=1)):
        assert [v.tobytes() for v in other['img']] != [v.tobytes() for v in views]
    seed_sample(3, 0, 0)
    data[0]
    assert [v.tobytes() for v in data[0]['img']] == [v.tobytes() for v in views]  # asked twice within a sample


def test_copies_are_the_views_of_multi_view(photo_folder):
    copies = SampleDataset(photos(photo_folder), [dict(type='Copies', num=3), *VIEW], True)
    views = MultiViewDataset(photos(photo_folder), [3], [VIEW], True)
    for idx in (0, 17):
        for one, other in zip(get(copies, idx)['img'], get(views, idx)['img'], strict=True):
            np.testing.assert_array_equal(one, other)


def content(batches):
    found = []
    for batch in batches:
        found.append([batch['idx'].tolist(), batch['drawn'].tolist(), batch['order'].tolist()] +
                     [batch['img'][name].sum((-1, -2, -3)).tolist() for name in ('image', 'patches')])
    return found


def test_neither_workers_nor_interruption_change_a_sample(photo_folder):
    data = patches_of(photo_folder)

    def batches(workers, start=0):
        loader = build_dataloader(data, samples_per_gpu=5, workers_per_gpu=workers, dist=False, seed=11)
        loader.set_epoch(1, start)
        return content(loader)

    alone = batches(0)
    assert batches(2) == alone and batches(0, start=3) == alone[3:]


def test_two_processes_see_what_one_sees(photo_folder):
    data = patches_of(photo_folder)

    def batches(size, rank=0, world_size=1):
        sampler = DistributedSampler(data, world_size, rank, True, False, 11, size)
        return content(
            build_dataloader(data, samples_per_gpu=size, dist=False, seed=11, sampler=sampler, workers_per_gpu=0))

    alone, halves = batches(8), [batches(4, rank, 2) for rank in range(2)]
    for whole, first, second in zip(alone, *halves, strict=True):
        rows = [a + b for a, b in zip(first, second)]
        assert sorted(map(str, zip(*rows))) == sorted(map(str, zip(*whole)))


@pytest.mark.parametrize('channels_last', [False, True])
def test_patches_are_normalised_on_the_device(photo_folder, channels_last):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.1]
    data = patches_of(photo_folder)
    loader = build_dataloader(data, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=1, shuffle=False)
    batch = next(iter(PrefetchLoader(loader, mean, std, channels_last=channels_last)))
    assert batch['img']['image'].shape == (4, 3, 64, 64) and batch['img']['patches'].shape == (4, 4, 3, 20, 20)
    for i in range(4):
        stored = get(data, i, seed=1)
        for name in ('image', 'patches'):
            reference = np.moveaxis((stored['img'][name] / 255. - mean) / std, -1, -3)
            np.testing.assert_allclose(batch['img'][name][i].numpy(), reference, atol=2e-6)
        assert batch['order'][i].tolist() == stored['order'].tolist()
    assert batch['img']['patches'].dtype == torch.float32
    # the other way, through ToTensor and Normalize
    cut, floats = [dict(type='CutPatches')], [dict(type='ToTensor'), dict(type='Normalize', mean=mean, std=std)]
    images, tensors = (
        collate([get(SampleDataset(photos(photo_folder), steps), i) for i in range(3)])['img']
        for steps in (cut, cut + floats))
    loader = PrefetchLoader((), mean, std)
    for name in ('image', 'patches'):
        torch.testing.assert_close(tensors[name], loader.prepare(dict(img=images[name]))['img'], atol=2e-6, rtol=0)


def test_a_view_has_its_own_probability(photo_folder):
    white = dict(type='RandomErasing', p=1.0, scale=(0.9, 0.9), ratio=(1., 1.), value=255)
    data = SampleDataset(
        photos(photo_folder),
        [dict(type='CenterCrop', size=32),
         dict(type='Copies', num=3),
         dict(type='EachView', step=white, p=[1, 0, .5])],
        prefetch=True)
    plain = Compose([dict(type='CenterCrop', size=32)])
    changed = np.array(
        [[not np.array_equal(view, plain(data.stored(idx))) for view in get(data, idx, epoch=epoch)['img']]
         for idx in range(24) for epoch in range(8)])
    assert changed[:, 0].all() and not changed[:, 1].any() and 70 < changed[:, 2].sum() < 122  # 96 of 192, 4 sigma
    with pytest.raises(ConfigError, match='has 3 probabilities, the sample has 2 images: p must have 2'):
        get(SampleDataset(dict(type='Digits'), [dict(type='Copies'), data.pipeline.transforms[2]], True), 0)


def test_steps_on_chosen_views():
    invert = dict(type='RandomInvert', p=1.0)  # of torchvision
    data = SampleDataset(
        dict(type='Digits'), [dict(type='Copies', num=3),
                              dict(type='OnEntries', entries=[1], transforms=[invert])], True)
    first, second, third = get(data, 9)['img']
    np.testing.assert_array_equal(second, 255 - first)
    np.testing.assert_array_equal(third, first)


def test_entries_that_steps_add_or_take_away():
    """By name all is possible; in a list every view keeps its place."""

    def rename(sample):
        return dict(sample, img=dict(b=sample['img'].popitem()[1]))

    rename.takes_sample = True
    source = dict(a=dict(type='Digits'), other=dict(type='Digits'))
    data = SampleDataset(source, [dict(type='OnEntries', entries=['a'], transforms=[rename])], True)
    assert sorted(data[0]['img']) == ['b', 'other']
    steps = [dict(type='Copies'), dict(type='OnEntries', entries=[0], transforms=[rename])]
    with pytest.raises(ConfigError, match=r"must leave the images \[0\] under these names, .* they made \['b'\]"):
        SampleDataset(dict(type='Digits'), steps, True)[0]


def test_multi_crop_of_samples():
    """Views of two sizes from one list of steps; heads learn their numbers as from MultiViewDataset."""
    crops = [
        dict(type='Copies', num=5),
        dict(type='OnEntries', entries=[0, 1], transforms=[dict(type='RandomResizedCrop', size=8)]),
        dict(type='OnEntries', entries=[2, 3, 4], transforms=[dict(type='RandomResizedCrop', size=4)]),
    ]
    data = SampleDataset(dict(type='Digits'), crops, True)
    assert [view.shape for view in data[0]['img']] == [(8, 8, 3)] * 2 + [(4, 4, 3)] * 3 and data.num_views == [2, 3]
    assert SampleDataset(dict(type='Digits'), [], True).num_views is None


def test_sources_side_by_side():
    data = build_dataset(
        dict(
            type='SampleDataset',
            data_source=dict(
                left=dict(type='Digits', num_images=20), right=dict(type='Digits', split='test', num_images=20)),
            pipeline=[dict(type='RandomCrop', size=6)],
            prefetch=True))
    left, right = (
        build_dataset(dict(type='SampleDataset', data_source=dict(type='Digits', **kwargs), pipeline=[]))
        for kwargs in (dict(num_images=20), dict(split='test', num_images=20)))
    sample = get(data, 7)
    assert sample['label'] == dict(left=left[7]['label'], right=right[7]['label']) and sample['idx'] == 7
    assert sorted(sample['img']) == ['left', 'right'] and sample['img']['left'].shape == (6, 6, 3)
    batch = collate([get(data, i) for i in range(5)])
    assert batch['img']['right'].shape == (5, 3, 6,
                                           6) and batch['label']['left'].tolist() == left.gt_labels[:5].tolist()
    assert not hasattr(data, 'gt_labels')
    with pytest.raises(ConfigError, match='different numbers of images: a 20, b 21'):
        SampleDataset(dict(a=dict(type='Digits', num_images=20), b=dict(type='Digits', num_images=21)), [])


def test_a_source_without_a_type_is_told():
    with pytest.raises(ConfigError, match="data_source has no type, and 'data_prefix' is no data source"):
        SampleDataset(dict(data_prefix='photos'), [])
    with pytest.raises(ConfigError, match='data_source is empty'):
        SampleDataset(dict(), [])


def test_parallel_labels(tmp_path):
    clusters = np.arange(20)[::-1] % 7
    np.save(tmp_path / 'clusters.npy', clusters)
    data = SampleDataset(
        dict(type='Digits', num_images=20), [],
        labels=dict(cluster=str(tmp_path / 'clusters.npy'), digit=None, half=[0, 1] * 10))
    assert data[3]['label'] == dict(cluster=clusters[3], digit=data.data_source.labels[3], half=1)
    assert collate([data[i] for i in range(20)])['label']['cluster'].tolist() == clusters.tolist()
    with pytest.raises(ConfigError, match='labels.cluster .* for each of the 21 samples'):
        SampleDataset(dict(type='Digits', num_images=21), [], labels=dict(cluster=str(tmp_path / 'clusters.npy')))


@pytest.mark.parametrize('pipeline, message', [
    ([dict(type='OnEntries', entries=['patch'], transforms=[])
      ], "entry 'patch'; the images of the sample are one array"),
    ([dict(type='Copies'), dict(type='OnEntries', entries=[2], transforms=[])], r'entry 2; .* are \[0, 1\]'),
    ([lambda img: img.convert('RGB'), dict(type='Copy')], "'Copy' is not a registered pipeline step; did you mean"),
    ([dict(type='EachView', step=dict(type='RandomGrayscale', p=0.2), p=[1])
      ], 'probability of its own, 0.2, .* set p=1.0'),
    ([dict(type='Copies', num=0)], 'num must be a positive integer, got 0'),
    ([dict(type='RandomAppliedTrans', transforms=[dict(type='Copies')])], 'Copies takes a whole sample'),
    ([dict(type='ToTensor')], 'prefetch=True takes arrays of images'),
    ([type('Odd', (SampleStep, ), dict(__call__=lambda self, sample: 3))()], 'must return one, a dict with img'),
])
def test_faults_are_told(pipeline, message):
    with pytest.raises(ConfigError, match=message):
        SampleDataset(dict(type='Digits'), pipeline, prefetch=True)[0]


def test_sample_steps_belong_to_sample_data_sets():
    with pytest.raises(ConfigError, match='Copies takes a whole sample .* SampleDataset'):
        build_dataset(dict(type='SingleViewDataset', data_source=dict(type='Digits'), pipeline=[dict(type='Copies')]))


def test_broken_images_are_replaced(photo_folder, tmp_path):
    (tmp_path / 'a').mkdir()
    for i, path in enumerate(sorted((photo_folder / 'china').iterdir())[:8]):
        (tmp_path / 'a' / f'{i}.jpg').write_bytes(b'no image' if i == 2 else path.read_bytes())
    source = photos(tmp_path)
    data = SampleDataset(dict(one=source, two=source), VIEW, True)
    loader = build_dataloader(
        data, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=0, broken_images=dict(max_share=1))
    for batch in loader:
        assert 2 not in batch['idx'] and len(set(batch['idx'].tolist())) == 4
        assert batch['img']['one'].shape == batch['img']['two'].shape == (4, 3, 24, 24)
    assert loader.replaced == 1 == loader.broken


class Matching(BaseModel):
    """A model on images by name."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 2)

    def forward_train(self, img, label, **kwargs):
        assert kwargs['idx'].shape == label['left'].shape
        return dict(loss=(self.net(img['left'].mean((2, 3))) - self.net(img['right'].mean((2, 3)))).square().mean())


@pytest.mark.long
def test_a_model_trains_on_images_by_name(tmp_path):
    from mmcv import Config
    cfg = Config(
        dict(
            model=dict(type='Matching'),
            data=dict(
                samples_per_gpu=4,
                workers_per_gpu=0,
                collate=dict(type='DefaultCollator'),
                train=dict(
                    type='SampleDataset',
                    data_source=dict(
                        left=dict(type='Digits', num_images=12), right=dict(type='Digits', split='test',
                                                                            num_images=12)),
                    pipeline=[dict(type='RandomCrop', size=6)],
                    prefetch=True)),
            img_norm_cfg=dict(mean=[0.5], std=[0.2]),
            optimizer=dict(type='SGD', lr=0.1),
            optimizer_config=dict(),
            lr_config=dict(policy='fixed'),
            runner=dict(type='EpochBasedRunner', max_epochs=2),
            seed=0,
            work_dir=str(tmp_path)))
    runner = train_model(Matching(), build_dataset(cfg.data.train), cfg)
    assert runner.iter == 6


def test_collate_of_a_config_is_built():
    from mmcv import Config
    cfg = Config(dict(data=dict(samples_per_gpu=4, workers_per_gpu=0, collate=dict(type='DefaultColator'))))
    with pytest.raises(
            ConfigError, match="'DefaultColator' is not a registered collator; did you mean 'DefaultCollator'"):
        build_loader(build_dataset(dict(type='SampleDataset', data_source=dict(type='Digits'), pipeline=[])), cfg)

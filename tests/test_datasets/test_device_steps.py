import copy
import itertools
import logging
import pickle
import weakref
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from mmcv import Config
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils.data import Subset
from torch.utils.data._utils.pin_memory import pin_memory

from mmssl.core.training import build_loader
from mmssl.datasets import (ConcatDataset, MultiViewDataset, PrefetchLoader, RelativeLocDataset, RepeatDataset,
                            RotationPredDataset, SampleDataset, SingleViewDataset, build_dataloader, build_dataset,
                            collators)
from mmssl.datasets.collators import collate_images
from mmssl.datasets.device_steps import leave_to_device
from mmssl.datasets.loader import KeyedDataset
from mmssl.datasets.pipelines import ColorJitter, Compose, RandomGrayscale, Step, deferred, device_kernels
from mmssl.datasets.pipelines.deferred import Deferred, DeferredImages, plan
from mmssl.datasets.pipelines.record import deferring, first_deferred
from mmssl.datasets.pipelines.rng import reseed, seed_sample
from mmssl.datasets.registry import build_collator
from mmssl.utils.config import load_config
from mmssl.utils.config_names import check_settings
from mmssl.utils.errors import ConfigError

JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
BLUR = dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=1.)
CROP = dict(type='RandomResizedCrop', size=104, scale=(0.2, 1.))
VIEW = [
    CROP,
    dict(type='RandomAppliedTrans', transforms=[JITTER], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(BLUR, p=0.5),
    dict(type='Solarization', p=0.3),
    dict(type='RandomHorizontalFlip'),
]
GREY_LEVELS = dict(mean=[0.] * 3, std=[1 / 255] * 3)  # so that images leave the loader as grey levels


def images_of(photographs, size, channels=3):
    """Eight crops, and of four channels one more plane of grey levels."""
    crops = [photographs[i % 2][30 * i:30 * i + size, 50 * i:50 * i + size] for i in range(8)]
    return [np.dstack([crop, crop[::-1, ::-1, 0]])[..., 4 - channels:] for crop in crops]


def all_at_once(batch):
    """The images of a batch, with all of them in each kernel as on a GPU."""
    with mock.patch.object(deferred, '_in_caches', lambda kernel, x, index, parts: kernel(x, index, *parts)):
        return batch.work.do()


def both(steps, images):
    """A pipeline's images: done one by one, and on the batch. N x H x W x C."""
    pipeline, found = Compose(steps), []
    for one in (pipeline, deferring(pipeline)):
        found.append([])
        for number, img in enumerate(images):
            seed_sample(0, 0, number)
            found[-1].append(one(img))
    reseed()
    assert first_deferred(pipeline.transforms)[0] < len(steps)
    batch = collate_images(found[1])
    assert isinstance(batch, DeferredImages) and batch.work.waves
    assert torch.equal(all_at_once(batch), batch.done())
    return np.stack(found[0]), batch.done().movedim(1, -1).numpy()


@pytest.mark.parametrize('channels, size, steps, mean, most', [
    (3, 104, [dict(JITTER, contrast=0, saturation=0, hue=0)], 0, 0),
    (3, 104, [dict(JITTER, brightness=0, saturation=0, hue=0)], 0, 0),
    (3, 104, [dict(JITTER, brightness=0, contrast=0, hue=0)], 0.2, 1),  # OpenCV's coefficients have ten bits
    (3, 104, [dict(JITTER, brightness=0, contrast=0, saturation=0)], 0, 0),
    (3, 64, [dict(JITTER, brightness=0, contrast=0, saturation=0)], 0, 0),
    (3, 104, [JITTER], 0.15, 5),
    (3, 64, [JITTER], 0.3, 8),
    (3, 104, [dict(type='RandomGrayscale', p=0.5)], 0.005, 1),
    (3, 104, [dict(type='Grayscale', num_output_channels=1)], 0.005, 1),
    (1, 104, [JITTER, dict(type='Grayscale', num_output_channels=3)], 0, 0),
    (3, 104, [BLUR], 0.005, 1),
    (3, 104, [dict(type='Solarization', threshold=100, p=0.5)], 0, 0),
    (3, 104, [dict(type='RandomSolarize', threshold=[0, 256])], 0, 0),
    (3, 104, [dict(type='RandomSolarize', threshold=99.5, p=1.)], 0, 0),
    (3, 104, [dict(type='RandomPosterize', bits=[0, 8], p=1.)], 0, 0),
    (3, 104, [dict(type='RandomAdjustSharpness', sharpness_factor=[0, 3.])], 0.005, 1),
    (3, 104, [dict(type='RandomAutocontrast', p=0.8)], 0.01, 1),
    (3, 104, [dict(type='RandomPhotometric', p=0.8)], 0.02, 1),
    (3, 104, [dict(type='Lighting', alphastd=0.5)], 0.005, 1),
    (3, 104, [dict(type='ToLab')], 0.3, 2),  # OpenCV's tables have fewer bits
    (3, 104, [dict(type='ToLab', channels='bL')], 0.3, 2),
    # what is inverted from 99 on is 98 or 156, where 98 and 99 were one grey level apart
    (4, 104, [JITTER, dict(type='RandomGrayscale', p=0.3), dict(type='RandomSolarize', threshold=99)], 0.1, 60),
    (4, 104, [dict(type='RandomPosterize', bits=3), BLUR, dict(type='Solarization')], 0.005, 1),
    (3, 104, [dict(BLUR), *(dict(type=f'Random{way}Flip') for way in ('Horizontal', 'Vertical'))], 0.005, 1),
    (3, 104, [dict(BLUR), dict(type='RandomErasing', value=[10, 200.5, 3], p=0.8)], 0.005, 1),
    (2, 104, [dict(type='ColorJitter', brightness=0.4, contrast=0.9), BLUR], 0.005, 1),
])  # yapf: disable
def test_steps_on_the_batch_are_those_on_one_image(photographs, channels, size, steps, mean, most):
    one, batch = both(steps, images_of(photographs, size, channels))
    difference = abs(one.astype(int) - batch)
    assert batch.dtype == np.uint8 and one.shape == batch.shape
    assert difference.mean((1, 2, 3)).max() <= mean and difference.max() <= most
    assert abs(one.astype(int) -
               np.stack(images_of(photographs, size, channels))[..., :1]).max() > 20  # it did something


def test_each_order_of_the_jitter(photographs):
    """24 orders in one batch: at most three waves before that of the hue and three behind it."""
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.2)
    orders = list(itertools.permutations(range(4)))
    images = (images_of(photographs, 104) * 3)[:24]
    factors = [(0.7 + i / 40, 1.3 - i / 40, 0.5 + i / 24, -0.19 + i / 60) for i in range(24)]
    one = np.stack([jitter.apply(img, order, *own) for img, order, own in zip(images, orders, factors)])

    drawn = iter(zip(orders, factors))
    recorded = deferring(Compose([jitter])).transforms[0]
    recorded.step = copy.copy(jitter)
    recorded.step.draw = lambda img: (lambda order, own: (order, *own))(*next(drawn))
    batch = collate_images([recorded(img) for img in images])
    assert torch.equal(all_at_once(batch), batch.done())
    names = [name for name, *_ in batch.work.waves]
    assert names.count('hue') == 1 and set(names) == {'linear', 'hue'} and len(names) <= 7
    difference = abs(one.astype(int) - batch.done().movedim(1, -1).numpy())
    assert difference.mean((1, 2, 3)).max() < 0.2 and difference.max() <= 6


def loaders(dataset, workers=0, **options):
    return [
        build_dataloader(
            dataset,
            samples_per_gpu=6,
            workers_per_gpu=workers,
            dist=False,
            seed=5,
            prefetch=True,
            img_norm_cfg=GREY_LEVELS,
            device_steps=on,
            **options) for on in (False, True)
    ]


def flat(img):
    """Tensors of a batch's images."""
    if isinstance(img, dict):
        return [t for one in img.values() for t in flat(one)]
    return [t for one in img for t in flat(one)] if isinstance(img, list) else [img]


def assert_same_images(dataset, mean=1., **options):
    """A batch of each loader: images are those of the worker within some grey levels on average, all else is equal."""
    usual, device = (next(iter(loader)) for loader in loaders(dataset, **options))
    assert set(usual) == set(device)
    pairs = list(zip(flat(usual['img']), flat(device['img']), strict=True))
    for one, other in pairs:
        assert one.shape == other.shape and one.dtype == other.dtype and one.stride() == other.stride()
        if one.dtype == torch.float32:
            assert (one - other).abs().flatten(1).mean(1).max() < mean
        else:
            assert torch.equal(one, other)
    for name in set(usual) - {'img'}:
        assert str(usual[name]) == str(device[name])
    return device


@pytest.mark.parametrize('name', [
    'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k', 'byol/byol_resnet50_8xb32-accum16-coslr-200e_in1k',
    'simclr/simclr_resnet50_8xb32-coslr-200e_in1k', 'dino/dino_vit-small-p16_16xb64-mcrop-2-8-coslr-300e_in1k',
    'pirl/pirl_resnet50_32xb32-coslr-200e_in1k'
])
def test_pipelines_of_the_recipes(photo_folder, name):
    """Two views with the same pipeline and with two, many sizes, and an image with patches."""
    cfg = load_config(f'configs/selfsup/{name}.py').data.train
    cfg.data_source = dict(type='Folder', data_prefix=str(photo_folder))
    assert_same_images(build_dataset(cfg), mean=2)


def test_views_of_one_size_go_through_the_device_together(photo_folder, monkeypatch):
    small = [dict(CROP, size=64), *VIEW[1:]]
    dataset = MultiViewDataset(
        dict(type='Folder', data_prefix=str(photo_folder)), [2, 3, 1, 1],
        [VIEW, small, [CROP, dict(JITTER), dict(type='Grayscale')], [CROP]], prefetch=True)  # yapf: disable
    batches = []
    for together in (2**26, 3 * 6 * 64 * 64 * 3 - 1):
        monkeypatch.setattr(collators, '_TOGETHER', together)
        samples = KeyedDataset(leave_to_device(dataset), 0).__getitems__([(0, i) for i in range(6)])[0]
        batches.append(collate_images([sample['img'] for sample in samples]))
    one, other = batches
    assert isinstance(one[-1], torch.Tensor)
    assert len({id(view.work) for view in one[:-1]}) == 3 and len({id(view.work) for view in other[:-1]}) == 5
    for a, b in zip(one[:-1], other[:-1]):
        assert torch.equal(a.done(), b.done())
    moved = [view.to('cpu') for view in one[:2]]
    kept = weakref.ref(moved[0].work)
    assert moved[0].work is moved[1].work and moved[0].done().data_ptr() == moved[0].work.done().data_ptr()
    del moved
    assert kept() is None  # although the batch that came from the worker is still there


def test_an_image_does_not_depend_on_its_batch(photo_folder):
    """So it is the same for any number of processes, and of images in a batch."""
    source = dict(type='Folder', data_prefix=str(photo_folder))
    dataset = leave_to_device(SingleViewDataset(source, VIEW, prefetch=True))
    dataset = KeyedDataset(pickle.loads(pickle.dumps(dataset)), 0)  # as spawned workers get it
    images = [sample['img'] for sample in dataset.__getitems__([(0, i) for i in range(8)])[0]]
    together = all_at_once(collate_images(images))
    for i, img in enumerate(images):
        assert torch.equal(collate_images([img]).done()[0], together[i])


def test_mixing_comes_behind_the_steps(photo_folder):
    dataset = MultiViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), [1, 1], [VIEW, VIEW], prefetch=True)
    batch = assert_same_images(dataset, collate=dict(type='MixupCrops', alpha=2.))
    assert len(batch['img'][0]) == 3
    # five images make three, the last of which stays as it is
    pipeline = deferring(Compose(VIEW))
    samples = [dict(img=pipeline(dataset.stored(i)), idx=i) for i in range(5)]
    seed_sample(0, 0, 0)
    mixed = build_collator(dict(type='MixupCrops', alpha=2.))(samples)['img'].done()
    reseed()
    assert torch.equal(mixed[2], collate_images([samples[4]['img']]).done()[0])
    assert not torch.equal(mixed[0], collate_images([samples[0]['img']]).done()[0])


@pytest.mark.parametrize('steps', [
    [CROP, dict(type='Copies'), dict(type='EachView', step=dict(JITTER), p=[0.5, 0.9]),
     dict(type='EachView', step=BLUR, p=[1., 0.1])],
    [dict(CROP, size=60), dict(type='Copies'), JITTER,
     dict(type='OnEntries', entries=[1], transforms=[dict(BLUR, p=0.5)])],
    [CROP, dict(type='OnEntries', entries=['a'], transforms=[dict(JITTER), dict(type='RandomHorizontalFlip')])],
    [CROP, dict(JITTER), dict(type='RandomAngle'), dict(type='RandomGrayscale', p=0.3)],
    [CROP, dict(type='ImageToPatches'), dict(type='RandomGrayscale', p=0.4), dict(type='RandomHorizontalFlip')],
    [CROP, JITTER, dict(type='SimMIMMaskGenerator', input_size=96)],
    [dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=104, second_size=48),
     dict(type='RandomGrayscale', p=0.5), dict(BLUR, p=0.5), dict(type='RandomHorizontalFlip')],
])  # yapf: disable
def test_samples_of_several_images(photo_folder, steps):
    """Copies, steps on some of them, patches, masks, turned images: the same numbers are drawn for each."""
    source = dict(type='Folder', data_prefix=str(photo_folder))
    several = any(step.get('entries') == ['a'] for step in steps)
    dataset = SampleDataset(dict(a=source, b=source) if several else source, steps, prefetch=True)
    assert_same_images(dataset, 1.)


def test_other_data_sets(photo_folder):
    source = dict(type='Folder', data_prefix=str(photo_folder))
    single = partial(SingleViewDataset, source, VIEW, prefetch=True)
    assert_same_images(RotationPredDataset(source, VIEW, prefetch=True))
    assert_same_images(RelativeLocDataset(source, [CROP], VIEW[1:], prefetch=True), 1.)
    wrapped = RepeatDataset(ConcatDataset([single(), single()]), 2)
    assert_same_images(wrapped)
    assert_same_images(Subset(wrapped, list(range(20, 30))))
    assert isinstance(wrapped[0]['img'], np.ndarray)  # the data set itself is as it was


def content(loader, start=0):
    loader.set_epoch(1, start)
    return [(batch['idx'].tolist(), [t.numpy().tobytes() for t in flat(batch['img'])]) for batch in loader]


def test_the_same_batches_in_workers_and_after_a_resume(photo_folder):
    dataset = MultiViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), [2], [VIEW], prefetch=True)
    _, loader = loaders(dataset)
    whole = content(loader)
    assert len(whole) == 4 and content(loader, 2) == whole[2:]
    _, loader = loaders(dataset, workers=2)
    assert content(loader, 1) == whole[1:] and content(loader) == whole
    part = loader.in_order(range(6, 12))
    assert [batch['idx'].tolist() for batch in part] == [list(range(6, 12))]


def test_the_setting_of_a_config(photo_folder, caplog):
    """In a training, and in a test, whose pipelines have no colour steps."""
    source = dict(type='Folder', data_prefix=str(photo_folder))
    train, test = (SingleViewDataset(source, steps, prefetch=True) for steps in (VIEW, [dict(CROP, scale=(1, 1))]))
    logging.getLogger('mmssl').propagate = True
    images = {}
    for on in (False, True):
        cfg = Config(
            dict(data=dict(samples_per_gpu=4, workers_per_gpu=0, device_steps=on), img_norm_cfg=GREY_LEVELS, seed=3))
        check_settings(cfg)
        images[on] = [next(iter(build_loader(d, cfg, testing=d is test)))['img'] for d in (train, test)]
    logging.getLogger('mmssl').propagate = False
    assert 0 < (images[False][0] - images[True][0]).abs().mean() < 1
    assert torch.equal(images[False][1], images[True][1])
    assert 'without a GPU' in caplog.text and 'has no colour steps that can be left to the device' in caplog.text


class Darker(Step):
    """A native step of a user's."""

    def apply(self, img):
        return img // 2


class OwnGrey(RandomGrayscale):
    """A subclass may do anything."""

    def apply(self, img):
        return img // 3


@pytest.mark.parametrize('steps, message', [
    ([CROP, JITTER, Darker()], 'Darker cannot run on the device and has a colour step before it'),
    ([JITTER, CROP], 'RandomResizedCrop cannot run on the device'),
    ([CROP, dict(type='RandomAppliedTrans', transforms=[JITTER, dict(type='RandomInvert')])], None),
    ([CROP, JITTER, OwnGrey(p=1.)], 'OwnGrey cannot run'),
    ([CROP, JITTER, dict(type='RandomErasing', value='random')], 'RandomErasing cannot run'),
    ([CROP, JITTER, dict(type='RandomRotation', degrees=10)], 'RandomRotation cannot run'),
])
def test_nothing_that_could_be_left_to_the_device(photo_folder, steps, message):
    dataset = SingleViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), steps, prefetch=True)
    with pytest.raises(ConfigError, match=message or 'RandomAppliedTrans.ColorJitter, RandomInvert. cannot run'):
        loaders(dataset)


def test_steps_up_to_one_that_cannot_run_there_stay_in_the_worker(photo_folder, caplog):
    dataset = SingleViewDataset(
        dict(type='Folder', data_prefix=str(photo_folder)),
        [CROP, JITTER, OwnGrey(p=0.5), dict(BLUR)], prefetch=True)
    logging.getLogger('mmssl').propagate = True
    try:
        assert_same_images(dataset)
    finally:
        logging.getLogger('mmssl').propagate = False
    assert 'OwnGrey cannot run on the device and has a colour step before it: all steps up to it' in caplog.text
    assert 'on the device run GaussianBlur' in caplog.text


def test_what_cannot_have_device_steps(photo_folder):
    source = dict(type='Folder', data_prefix=str(photo_folder))
    good = SingleViewDataset(source, VIEW, prefetch=True)
    for dataset, options, message in (
        (SingleViewDataset(source, [*VIEW, dict(type='ToTensor')]), {}, 'takes prefetch=True in the data set'),
        ([dict(img=1)], {}, 'list is none'),
        (good, dict(collate=lambda samples: samples), 'collators of mmssl'),
    ):
        with pytest.raises(ConfigError, match=message):
            loaders(dataset, **options)
    mixed = SingleViewDataset(
        source, [CROP, dict(type='RandomAppliedTrans', transforms=[dict(type='Grayscale')])], prefetch=True)
    with pytest.raises(ConfigError, match='differ in their channels'):
        next(iter(loaders(mixed)[1]))
    with pytest.raises(TypeError, match='pixels cannot be used'):
        np.asarray(Deferred(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(ConfigError, match='uint8, got uint16'):
        Deferred(np.zeros((4, 4, 3), np.uint16))
    with pytest.raises(ValueError, match='hue takes images of 1, 3 or 4 channels, got 5'):
        deferring(Compose([dict(type='ColorJitter', hue=0.2)]))(np.zeros((8, 8, 5), np.uint8))


ALL_STEPS = [
    *VIEW[1:],
    dict(type='Lighting'),
    dict(type='RandomPhotometric'),
    dict(type='RandomVerticalFlip'),
    dict(type='RandomErasing'),
    dict(type='ToLab', channels='Lb'),
]


def recorded_batch(images):
    """What a worker makes of images by all steps that can be left to the device."""
    pipeline, views = deferring(Compose(ALL_STEPS)), []
    for number, img in enumerate(images):
        seed_sample(0, 0, number)
        views.append(pipeline(img).turn(1))
    reseed()
    return collate_images(views)


@pytest.mark.long
def test_on_a_gpu_no_tensor_is_left_behind_and_nothing_waits_for_it(photographs):
    """Fake tensors refuse operations on tensors of two devices, and those that need a value or its count."""
    used = set()
    for size in (40, 104):
        images = images_of(photographs, size)
        batch = recorded_batch(images)
        batch.mixed = recorded_batch(images[:5]), 0.3
        used |= {name for name, *_ in batch.work.waves}
        with FakeTensorMode() as mode:
            loader = PrefetchLoader((), channels_last=True)
            loader.device = torch.device('cuda')
            loader.scale = loader.shift = torch.empty(2, 1, 1, device='cuda')
            batch = batch.copied('fake', mode.from_tensor)
            assert batch.work.images.device.type == 'cpu'
            img = loader.prepare(dict(img=[batch]))['img'][0]
            assert img.device.type == 'cuda' and img.shape == (8, 2, size, size) and img.dtype == torch.float32
            assert img.is_contiguous(memory_format=torch.channels_last)
    kernels = {name for name, value in vars(device_kernels).items() if callable(value) and name[0] not in '_F'}
    assert used == kernels - {'wraps'}

    with FakeTensorMode():  # this test would see such operations
        x, host = torch.empty(2, 3, device='cuda'), torch.empty(2, 3)
        for wrong, error in ((lambda: x[x > 0], DynamicOutputShapeException),
                             (lambda: x.sum().item(), DataDependentOutputException), (lambda: x + host, RuntimeError)):
            with pytest.raises(error):
                wrong()


def test_memory_is_pinned_by_the_loader_of_torch(photographs, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self: pinned.append(self.dtype) or self)
    batch = recorded_batch(images_of(photographs, 40))
    same = pin_memory(dict(img=[batch]))['img'][0]
    assert pinned == [torch.uint8, torch.float32] and torch.equal(same.done(), batch.done())


def test_waves_keep_the_order_of_each_image():
    linear = ('linear', (1., 0., 0., 1., 0., 0., 0., 0.))
    operations = [(('hue', (0.1, )), linear), (linear, ('blur', (1., )), linear), ()]
    waves, numbers = plan(operations)
    assert [name for name, *_ in waves] == ['linear', 'hue', 'linear', 'blur', 'linear']
    assert plan([(), ()])[0] == []

"""RandomAug against timm's own transform, with the figures of the fine-tuning recipes."""
import random

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image

from mmssl.datasets import SingleViewDataset, build_dataloader
from mmssl.datasets.pipelines import Compose, RandomAug, seed_sample
from mmssl.datasets.pipelines.rng import reseed
from mmssl.utils.errors import ConfigError

create_transform = pytest.importorskip('timm.data').create_transform

NORM = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
FINETUNE = dict(auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic', re_prob=0.25, re_mode='pixel', re_count=1)
SWIN = dict(input_size=192, color_jitter=0.4, **FINETUNE)
VIT = dict(input_size=224, color_jitter=None, **FINETUNE)


@pytest.fixture(autouse=True)
def _leave_no_key():
    reseed()
    yield
    reseed()


def seeded(step, img, seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return step(img)


@pytest.mark.parametrize('ours, theirs', [
    (SWIN, SWIN),
    (dict(VIT, **NORM), dict(VIT, **NORM)),
    (dict(input_size=(96, 128), color_jitter=0.4, interpolation=3, re_prob=1., re_mode='rand', re_count=3),
     dict(input_size=(96, 128), color_jitter=0.4, interpolation='bicubic', re_prob=1., re_mode='rand', re_count=3)),
    (dict(auto_augment='augmix-m3', interpolation='random', mean=(0.5, ) * 3, std=(0.2, ) * 3),
     dict(auto_augment='augmix-m3', interpolation='random', mean=(0.5, ) * 3, std=(0.2, ) * 3, color_jitter=None)),
    ({}, dict(input_size=224, color_jitter=None)),  # None is timm's default, but for the jitter, which it has none of
], ids=['swin', 'vit', 'jitter', 'augmix', 'none'])  # yapf: disable
def test_equals_timm(photographs, ours, theirs):
    step, reference = RandomAug(**ours), create_transform(is_training=True, **theirs)
    pipeline = Compose([dict(type='RandomAug', **ours)])  # of arrays, as data sources give them
    for i in range(6):
        expected = seeded(reference, Image.fromarray(photographs[i % 2]), i)
        assert torch.equal(seeded(step, Image.fromarray(photographs[i % 2]), i), expected)
        assert torch.equal(seeded(pipeline, photographs[i % 2], i), expected)


def test_small_images_are_cropped_with_a_border(photographs):
    """Up to 32 pixels: as CIFAR's, the object stays as large as it is."""
    img = Image.fromarray(photographs[0][:32, :32])
    step = RandomAug(input_size=32, re_prob=0.)
    reference = T.Compose([
        T.RandomCrop(32, padding=4),
        T.RandomHorizontalFlip(),
        T.ToTensor(),
        T.Normalize(**NORM),
    ])
    for i in range(10):
        assert torch.equal(seeded(step, img, i), seeded(reference, img, i))
    assert isinstance(RandomAug(input_size=33).transforms.transforms[0], type(RandomAug().transforms.transforms[0]))


def test_views_are_keyed(photo_folder):
    """In a data set and its workers: the same tensor for a sample in an epoch, another one in the next."""
    dataset = SingleViewDataset(
        dict(type='Folder', data_prefix=str(photo_folder)), [dict(type='RandomAug', **dict(SWIN, input_size=64))])
    views = {}
    for workers in (0, 2):
        loader = build_dataloader(dataset, samples_per_gpu=8, workers_per_gpu=workers, dist=False, seed=1)
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            for batch in loader:
                assert batch['img'].shape == (8, 3, 64, 64) and batch['img'].dtype == torch.float32
                for idx, view in zip(batch['idx'].tolist(), batch['img']):
                    assert torch.equal(views.setdefault((epoch, idx), view), view)
    assert len({view.numpy().tobytes() for view in views.values()}) == 48
    seed_sample(1, 1, 5)
    assert torch.equal(dataset[5]['img'], views[1, 5])
    dataset.prefetch = True
    with pytest.raises(ConfigError, match='or set prefetch=False, which RandomAug needs'):
        dataset[0]


@pytest.mark.parametrize('arguments, message', [
    (dict(input_size=0), 'input_size must be a positive integer'),
    (dict(interpolation='cubic'), 'interpolation must be one of'),
    (dict(re_prob=1.5), r'RandomAug \(re_prob\): the probability p must be within 0..1, got 1.5'),
    (dict(re_mode='pixels'), "re_mode must be 'const', 'rand' or 'pixel'.*got re_mode='pixels'"),
    (dict(re_count=0), 're_count 1 or more, got.*re_count=0'),
    (dict(color_jitter=(0.4, 0.1)), r'color_jitter must be one number or those of.*got \(0.4, 0.1\)'),
    (dict(mean=(0.5, )), 'one mean and one positive std a channel'),
    (dict(auto_augment='random-m9'), "timm knows no auto_augment 'random-m9'; such as"),
    (dict(auto_augment='rand-q9'), "timm knows no auto_augment 'rand-q9'"),
    (dict(auto_augment='rand-m9-mstd-inc1'), "timm knows no auto_augment 'rand-m9-mstd-inc1'"),
])  # yapf: disable
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomAug(**arguments)

"""Patches of Jigsaw and PIRL: where they lie, in which order, and what is random."""
from itertools import permutations

import numpy as np
import pytest
import torch

from mmssl.datasets import PIPELINES, PrefetchLoader, SampleDataset, build_dataloader
from mmssl.datasets.permutations import choose_permutations
from mmssl.datasets.pipelines import ImageAndPatches, ImageToPatches, PermutePatches, SamplePipeline
from mmssl.datasets.pipelines.patches import image_to_patches
from mmssl.datasets.pipelines.rng import seed_sample
from mmssl.utils.errors import ConfigError


def coordinates(height, width):
    """An image whose pixels hold their own place; sides up to 256."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, 0 * x], 2).astype(np.uint8)


def cell_of(patch, cell):
    """Number of the cell that a patch of `coordinates` was cut out of, in raster order."""
    y, x = (int(n) // cell for n in patch[0, 0, :2])
    assert (patch[-1, -1, 0] // cell, patch[-1, -1, 1] // cell) == (y, x)  # all of it
    return y, x


@pytest.mark.parametrize('num_patches, jitter, size, side', [(9, None, 255, 64), (9, 21, 255, 64), (9, 0, 255, 85),
                                                             (4, None, 64, 24), (16, 3, 64, 13)])
def test_patches_of_a_grid(num_patches, jitter, size, side):
    """VISSL: 255 pixels make cells of 85, and with a jitter of 21 patches of 64; raster order."""
    step, per_side = ImageToPatches(num_patches, jitter), int(num_patches**0.5)
    corners = set()
    for sample in range(40):
        seed_sample(0, 0, sample)
        patches = step(dict(img=coordinates(size, size), idx=3))['img']
        assert patches.shape == (num_patches, side, side, 3) and patches.dtype == np.uint8
        found = [cell_of(patch, size // per_side) for patch in patches]
        assert found == [(y, x) for y in range(per_side) for x in range(per_side)]
        corners.update(tuple(patch[0, 0, :2] % (size // per_side)) for patch in patches)
    room = size // per_side - side
    assert {n for corner in corners for n in corner} <= set(range(room + 1))
    assert len(corners) == 1 if room == 0 else len(corners) > min(30, room**2 // 2)


def test_the_label_tells_the_order():
    """All permutations come up, and a patch lies where its permutation says."""
    step, chosen = PermutePatches(permutations=30, rule='max-min', seed=5), choose_permutations(30, 9, 'max-min', 5)
    patches, labels = np.stack(image_to_patches(coordinates(255, 255))), []
    for sample in range(300):
        seed_sample(0, 0, sample)
        out = step(dict(img=patches, label=7, idx=sample))
        labels.append(out['label'])
        np.testing.assert_array_equal(out['img'], patches[chosen[out['label']]])
        assert out['idx'] == sample
    assert set(labels) == set(range(30)) and max(np.bincount(labels)) < 30 and step.num_classes == 30
    assert [cell_of(patch, 85) for patch in patches] == [(y, x) for y in range(3) for x in range(3)]  # as they were


def test_permutations_of_a_file(tmp_path):
    """Published sets count from 1, and are 2000 by default here too."""
    chosen = choose_permutations(12, 4)
    np.save(tmp_path / 'four.npy', chosen + 1)
    step = PermutePatches(str(tmp_path / 'four.npy'), num_patches=4)
    out = step(dict(img=np.arange(4, dtype=np.uint8).repeat(12).reshape(4, 2, 2, 3), idx=0))
    assert out['img'][:, 0, 0, 0].tolist() == chosen[out['label']].tolist() and step.num_classes == 12
    assert PermutePatches.__init__.__defaults__[0] == 2000
    with pytest.raises(ConfigError, match='permutations: those of .*four.npy are of 4 patches, num_patches is 9'):
        PermutePatches(str(tmp_path / 'four.npy'))


def test_image_and_patches():
    """A crop of the image, and patches of another crop in any of all orders; `permute=False` leaves them in place.

    VISSL: permute_patches is ignored there.
    """
    img, orders = coordinates(200, 200), set()
    options = dict(size=32, patch_size=60, patch_scale=(0.99, 1.), num_patches=4, jitter=6)
    for sample in range(300):
        seed_sample(1, 0, sample)
        out = ImageAndPatches(**options)(dict(img=img, label=-1, idx=sample))
        assert list(out['img']) == ['image', 'patches'] and (out['label'], out['idx']) == (-1, sample)
        assert out['img']['image'].shape == (32, 32, 3) and out['img']['patches'].shape == (4, 24, 24, 3)
        centres = out['img']['patches'].mean((1, 2))[:, :2] // 100
        orders.add(tuple(int(2 * y + x) for y, x in centres))
        straight = ImageAndPatches(**options, permute=False)(dict(img=img, idx=sample))['img']['patches']
        assert (straight.mean((1, 2))[:, :2] // 100).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert orders == set(permutations(range(4)))
    # the share of the area that each crop has
    seed_sample(1, 0, 0)
    spread = [[
        np.ptp(part[..., 0].astype(int)) * np.ptp(part[..., 1].astype(int)) / 200**2 for part in parts
    ] for parts in zip(
        *[(out['image'], out['patches'])
          for out in (ImageAndPatches(size=32, scale=(0.1, 0.3), patch_size=60, jitter=0)(dict(img=img, idx=0))['img']
                      for _ in range(100))])]
    assert 0.05 < min(spread[0]) and max(spread[0]) < 0.35 and 0.5 < min(spread[1]) <= max(spread[1]) <= 1


def test_each_piece_has_colours_of_its_own():
    """As in PIRL: the steps behind draw anew for the image and for each patch."""
    pipeline = SamplePipeline([
        dict(type='ImageAndPatches', size=32, patch_size=48),
        dict(type='ColorJitter', brightness=0.9, contrast=0., saturation=0., hue=0.)
    ])
    seed_sample(0, 0, 0)
    out = pipeline(dict(img=np.full((64, 64, 3), 100, np.uint8), idx=0))['img']
    levels = [int(piece[0, 0, 0]) for piece in (out['image'], *out['patches'])]
    assert len(set(levels)) == 10


def dataset(*steps):
    return SampleDataset(dict(type='Digits', num_images=30), [dict(type='Resize', size=48), *steps], prefetch=True)


def test_batches_of_jigsaw():
    """B x P x C x h x w, normalised, with the permutation as label; whoever loads them, the same."""
    data = dataset(dict(type='ImageToPatches'), dict(type='PermutePatches', permutations=50))
    found = []
    for workers in (0, 2):
        loader = build_dataloader(data, samples_per_gpu=12, workers_per_gpu=workers, dist=False, shuffle=False, seed=3)
        found.append(list(PrefetchLoader(loader, [0.5] * 3, [0.25] * 3)))
    batch = found[0][0]
    assert batch['img'].shape == (12, 9, 3, 12, 12) and batch['img'].dtype == torch.float32
    assert batch['label'].shape == (12, ) and len(set(batch['label'].tolist())) > 6
    for a, b in zip(*found):
        assert a['img'].equal(b['img']) and a['label'].equal(b['label']) and a['idx'].equal(b['idx'])
    seed_sample(3, 0, 5)
    plain = data[5]
    assert plain['label'] == batch['label'][5]
    expected = (torch.from_numpy(plain['img']).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    torch.testing.assert_close(batch['img'][5], expected)


def test_batches_of_pirl():
    loader = build_dataloader(
        dataset(dict(type='ImageAndPatches', size=32, patch_size=45)),
        samples_per_gpu=8,
        workers_per_gpu=0,
        dist=False,
        seed=0)
    batch = next(iter(PrefetchLoader(loader, [0.5] * 3, [0.25] * 3)))
    assert {k: tuple(v.shape) for k, v in batch['img'].items()} == dict(image=(8, 3, 32, 32), patches=(8, 9, 3, 11, 11))


@pytest.mark.parametrize('step, message', [
    (dict(type='ImageToPatches', num_patches=8), 'num_patches must be a square number.*got 8'),
    (dict(type='ImageToPatches', jitter=-1), 'jitter must be 0 pixels or more, got -1'),
    (dict(type='PermutePatches', permutations=30, num_patches=4), 'number must be 1 to 24'),
    (dict(type='PermutePatches', permutations=30, rule='max'), "rule must be one of .*got 'max'"),
    (dict(type='ImageAndPatches', num_patches=1), 'num_patches must be a square number'),
])
def test_steps_that_cannot_be(step, message):
    with pytest.raises(ConfigError, match=message):
        PIPELINES.build(step)


@pytest.mark.parametrize('steps, message', [
    ([dict(type='PermutePatches', permutations=5)], 'PermutePatches takes 9 patches.*got ndarray of another kind'),
    ([dict(type='ImageToPatches', num_patches=4),
      dict(type='PermutePatches', permutations=5)], 'PermutePatches takes 9 patches.*got 4 patches'),
    ([dict(type='Resize', size=8), dict(type='ImageToPatches')], 'ImageToPatches: an image of 8 x 8 .* 9 x 9 or more'),
    ([dict(type='ImageToPatches', jitter=16)], '48 x 48 pixels is too small .* jitter of 16: it takes 51 x 51 or more'),
    ([dict(type='ToTensor'), dict(type='ImageToPatches')], 'ImageToPatches: patches are cut out of .*got Tensor'),
    ([dict(type='Copies'), dict(type='ImageAndPatches', size=32)], 'ImageAndPatches takes a sample of one image'),
])
def test_steps_in_the_wrong_place(steps, message):
    with pytest.raises(ConfigError, match=message):
        dataset(*steps)[0]


def test_as_many_outputs_as_permutations():
    """The number stands in two places of a config: training says at once where they differ."""
    from mmcv import Config

    from mmssl.apis import train_model
    from mmssl.models import build_algorithm
    data = dataset(
        dict(type='ImageToPatches', num_patches=4), dict(type='PermutePatches', permutations=9, num_patches=4))
    model = build_algorithm(
        dict(
            type='Jigsaw',
            backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
            neck=dict(
                type='ChainNeck', necks=[dict(type='MLPNeck', channels=[4]),
                                         dict(type='ConcatTowers', num_towers=4)]),
            head=dict(type='ClsHead', in_channels=None, num_classes=10)))
    cfg = Config(
        dict(
            data=dict(samples_per_gpu=10, workers_per_gpu=0),
            optimizer=dict(type='SGD', lr=0.1),
            runner=dict(type='EpochBasedRunner', max_epochs=1)))
    with pytest.raises(ConfigError, match='num_classes is 10, .* of data.train .* of 9 classes: set .*num_classes=9'):
        train_model(model, data, cfg)

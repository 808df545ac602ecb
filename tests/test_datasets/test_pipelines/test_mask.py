"""Masks against straightforward loops, and their way from the pipeline to the device."""
import math
import random
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from mmssl.datasets import SingleViewDataset, build_dataloader, build_dataset
from mmssl.datasets.pipelines import (BEiTMaskGenerator, Compose, MaskFeatMaskGenerator, MaskStep, SimMIMMaskGenerator,
                                      seed_sample)
from mmssl.datasets.pipelines.rng import reseed, rng

ROOT = Path(__file__).resolve().parents[3]
NORM = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
TENSOR = [dict(type='ToTensor'), dict(type='Normalize', **NORM)]
TWO = dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=32, second_size=16, interpolation='bicubic')
CAE_MASK = dict(type='BEiTMaskGenerator', input_size=(14, 14), num_masking_patches=75, min_num_patches=16)
SAMPLES = 1500


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


def masks_of(generator, count=SAMPLES):
    masks = []
    for i in range(count):
        seed_sample(3, 0, i)
        masks.append(generator.draw_mask())
    return np.array(masks)


def naive_block(height, width, least, most, min_aspect=0.3):
    """The corners of a block as BEiT draws it, or None where it is too long."""
    area = random.uniform(least, most)
    aspect = math.exp(random.uniform(math.log(min_aspect), math.log(1 / min_aspect)))
    h, w = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
    if h >= height or w >= width:
        return None
    top, left = random.randint(0, height - h), random.randint(0, width - w)
    return top, left, h, w


def naive_block_mask(size, number, least):
    """A mask of blocks, patch by patch, for as long as it takes."""
    mask = [[0] * size for _ in range(size)]
    missing = number
    while missing:
        block = naive_block(size, size, least, missing)
        if block is None:
            continue
        top, left, h, w = block
        new = [(i, j) for i in range(top, top + h) for j in range(left, left + w) if not mask[i][j]]
        if len(new) <= missing:
            for i, j in new:
                mask[i][j] = 1
            missing -= len(new)
    return mask


def naive_simmim_mask(side, scale, number):
    chosen = random.sample(range(side * side), number)
    return [[int(i // scale * side + j // scale in chosen) for j in range(side * scale)] for i in range(side * scale)]


def same_shares(ours, theirs):
    """Each place is hidden equally often, but for chance."""
    a, b = ours.mean(0), theirs.mean(0)
    deviation = np.sqrt(np.maximum(a * (1 - a), 1e-3) / len(ours) + np.maximum(b * (1 - b), 1e-3) / len(theirs))
    assert (np.abs(a - b) / deviation).max() < 4.5


def alone(masks):
    """Number of hidden patches without a hidden one beside, above or below."""
    m = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    beside = m[:, :-2, 1:-1] + m[:, 2:, 1:-1] + m[:, 1:-1, :-2] + m[:, 1:-1, 2:]
    return (masks * (beside == 0)).sum((1, 2))


@pytest.mark.parametrize('generator, number, least', [
    (BEiTMaskGenerator((14, 14), 75, min_num_patches=16), 75, 16),
    (MaskFeatMaskGenerator(), 78, 15),
], ids=['cae', 'maskfeat'])  # yapf: disable
def test_block_masks_are_distributed_as_those_of_loops(generator, number, least):
    ours = masks_of(generator)
    random.seed(0)
    theirs = np.array([naive_block_mask(14, number, least) for _ in range(SAMPLES)])
    assert (ours.sum((1, 2)) == number).all()
    same_shares(ours, theirs)
    # how often hidden and seen patches are neighbours, one above the other and side by side, which blocks of other
    # shapes change; and how many hidden patches are alone, of which patches drawn one by one make more
    for count in (lambda m: np.abs(np.diff(m, axis=1)).sum((1, 2)), lambda m: np.abs(np.diff(m)).sum((1, 2)), alone):
        assert ks_2samp(count(ours), count(theirs)).pvalue > 1e-3


def test_blocks_have_the_sizes_shapes_and_places_of_loops():
    """The first block of a mask, found by its bounding box."""
    generator = BEiTMaskGenerator((14, 14), 75, min_num_patches=16)
    ours = []
    seed_sample(0, 0, 0)
    while len(ours) < SAMPLES:
        block = generator._draw_block(75, *rng().random(4))  # a bit a patch
        mask = np.array([*np.binary_repr(block, 196)][::-1]).reshape(14, 14) == '1'
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if 0 < mask.sum() <= 75:
            assert mask.sum() == len(rows) * len(columns)
            ours.append((rows[0], columns[0], len(rows), len(columns)))
    random.seed(0)
    theirs = []
    while len(theirs) < SAMPLES:
        block = naive_block(14, 14, 16, 75)
        if block and block[2] * block[3] <= 75:
            theirs.append(block)
    ours, theirs = np.array(ours), np.array(theirs)
    for a, b in zip(ours.T, theirs.T):
        assert ks_2samp(a, b).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]).pvalue > 1e-3


def test_simmim_masks_are_distributed_as_those_of_loops():
    ours = masks_of(SimMIMMaskGenerator(), 600)
    random.seed(0)
    theirs = np.array([naive_simmim_mask(6, 8, 22) for _ in range(600)])
    assert ours.shape == theirs.shape == (600, 48, 48)
    squares = ours.reshape(600, 6, 8, 6, 8)
    assert (squares == squares[:, :, :1, :, :1]).all() and (squares[:, :, 0, :, 0].sum((1, 2)) == 22).all()
    same_shares(ours, theirs)
    # two squares are hidden together as often as in a draw without replacement
    together = np.einsum('nij,nkl->ijkl', *[squares[:, :, 0, :, 0]] * 2) / 600
    together = together.reshape(36, 36)[~np.eye(36, dtype=bool)]
    assert abs(together.mean() - 22 * 21 / (36 * 35)) < 1e-9 and together.std() < 1.5 * math.sqrt(0.37 * 0.63 / 600)


@pytest.mark.parametrize('generator, number', [
    (BEiTMaskGenerator(14, 75), 75),
    (BEiTMaskGenerator([14, 14], 75, 16, 20), 75),
    (BEiTMaskGenerator((7, 21), 100, 4, None, 0.5, 3), 100),
    (BEiTMaskGenerator((14, 14), 196), 196),  # no block covers the whole
    (BEiTMaskGenerator((14, 14), 0), 0),
    (BEiTMaskGenerator((1, 30), 12), 12),  # no block fits
    (BEiTMaskGenerator((14, 14), 5, 150), 5),  # all blocks are larger
    (MaskFeatMaskGenerator(4), 6),
    (MaskFeatMaskGenerator(10, 0.29), 29),  # 0.29 * 100 is 28.999999999999996
    (MaskFeatMaskGenerator(14, 1.), 196),
    (SimMIMMaskGenerator(160, 32, 32, 0.56), 14),  # 0.56 * 25 is 14.000000000000002
    (SimMIMMaskGenerator(64, 16, 16, 0.), 0),
    (SimMIMMaskGenerator(64, 16, 16, 0.01), 1),
], ids=repr)  # yapf: disable
def test_the_number_is_exact(generator, number):
    """Pitfall: masks of a batch with different numbers of hidden patches, and a loop without end where none fits."""
    masks = masks_of(generator, 50)
    assert (masks.sum((1, 2)) == number).all() and masks.dtype == np.int64 and np.isin(masks, (0, 1)).all()
    if hasattr(generator, 'get_shape'):
        assert masks.shape[1:] == generator.get_shape()


def test_what_blocks_do_not_reach_is_filled_evenly():
    masks = masks_of(BEiTMaskGenerator((1, 30), 12), SAMPLES)[:, 0]
    assert np.abs(masks.mean(0) - 0.4).max() < 4.5 * math.sqrt(0.24 / SAMPLES)


@pytest.mark.parametrize('build, message', [
    (lambda: SimMIMMaskGenerator(200), 'multiple of mask_patch_size.*got 200, 32 and 4'),
    (lambda: SimMIMMaskGenerator(192, 32, 5), 'got 192, 32 and 5'),
    (lambda: SimMIMMaskGenerator(192, 0), 'got 192, 0 and 4'),
    (lambda: SimMIMMaskGenerator(192.), 'whole pixels; got 192.0'),
    (lambda: SimMIMMaskGenerator(mask_ratio=1.1), 'mask_ratio must be within 0..1, got 1.1'),
    (lambda: MaskFeatMaskGenerator(mask_ratio=-0.1), 'mask_ratio must be within 0..1, got -0.1'),
    (lambda: MaskFeatMaskGenerator(0), 'mask_window_size must be a positive integer'),
    (lambda: BEiTMaskGenerator((14, 14), 197), r'within 0..196, which is the grid of 14 x 14; got 197'),
    (lambda: BEiTMaskGenerator(14, 0.4), 'must be an integer.*got 0.4'),
    (lambda: BEiTMaskGenerator((14, 14, 3), 75), 'input_size must be'),
    (lambda: BEiTMaskGenerator(14, 75, 20, 10), 'min_num_patches=20, max_num_patches=10'),
    (lambda: BEiTMaskGenerator(14, 75, 0), 'min_num_patches=0'),
    (lambda: BEiTMaskGenerator(14, 75, min_aspect=2., max_aspect=1.), 'min_aspect=2.0, max_aspect=1.0'),
    (lambda: BEiTMaskGenerator(14, 75, min_aspect=2.), 'min_aspect=2.0, max_aspect=0.5'),
    (lambda: BEiTMaskGenerator(14, 75, min_aspect=0), 'min_aspect=0'),
])  # yapf: disable
def test_wrong_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('generator', [SimMIMMaskGenerator(), BEiTMaskGenerator(14, 75), MaskFeatMaskGenerator()])
def test_images_pass(generator):
    """One image or several, arrays or tensors: they come out as they went in, with the mask behind them."""
    array, tensor = np.zeros((8, 8, 3), np.uint8), torch.zeros(3, 8, 8)
    for images in ((array, ), (tensor, ), (array, array), (tensor, tensor)):
        for given in (images, list(images), images[0]):
            out = generator(given)
            expected = images if isinstance(given, (tuple, list)) else images[:1]
            assert isinstance(out, tuple) and len(out) == len(expected) + 1
            assert all(a is b for a, b in zip(out, expected)) and out[-1].ndim == 2


def test_both_images_are_flipped_or_neither(photographs):
    """The flip stands before the crop in CAE's pipeline; behind it, the images still fit together."""
    for kind, axis in (('RandomHorizontalFlip', 1), ('RandomVerticalFlip', 0)):
        plain, flipped = Compose([TWO]), Compose([TWO, dict(type=kind)])
        swapped = []
        for i in range(40):
            seed_sample(0, 0, i)
            before = plain(photographs[0])
            seed_sample(0, 0, i)
            after = flipped(photographs[0])
            same = [np.array_equal(a, b) for a, b in zip(before, after)]
            turned = [np.array_equal(np.flip(a, axis), b) for a, b in zip(before, after)]
            assert (same, turned) in (([True] * 2, [False] * 2), ([False] * 2, [True] * 2))
            swapped.append(turned[0])
        assert 8 < sum(swapped) < 32


def test_steps_in_the_wrong_order(photographs):
    mask = dict(type='MaskFeatMaskGenerator')
    for steps, message in (
        ([TWO, dict(type='RandomResizedCrop', size=8)], 'RandomResizedCrop takes one image and got 2: it must stand'),
        ([TWO, dict(type='ColorJitter', hue=0.1)], 'ColorJitter takes one image and got 2'),
        ([mask, dict(type='RandomHorizontalFlip')], 'RandomHorizontalFlip takes images: it must stand before'),
        ([TWO, *TENSOR, dict(type='RandomVerticalFlip')], 'RandomVerticalFlip takes images'),
    ):
        with pytest.raises(TypeError, match=message):
            Compose(steps)(photographs[0])
    # the published order, with the normalisation before the mask, and the other one give the same
    results = []
    for steps in ([TWO, *TENSOR, CAE_MASK], [TWO, CAE_MASK, *TENSOR]):
        seed_sample(0, 0, 0)
        results.append(Compose(steps)(photographs[0]))
    assert all(np.array_equal(a, b) for a, b in zip(*results))


class HideTopHalf(MaskStep):
    """As a user writes one."""

    def draw_mask(self):
        return np.repeat([1, 0], 8).reshape(4, 4)


def data(folder, *steps, prefetch=True):
    return SingleViewDataset(dict(type='Folder', data_prefix=str(folder)), [TWO, *steps], prefetch)


def loaded(dataset, workers, epoch=0):
    """All batches of an epoch as [images..., mask], joined; in the order of the samples."""
    loader = build_dataloader(
        dataset,
        samples_per_gpu=9,
        workers_per_gpu=workers,
        dist=False,
        seed=5,
        prefetch=dataset.prefetch,
        img_norm_cfg=NORM)
    loader.set_epoch(epoch)
    batches = list(loader)
    order = torch.cat([batch['idx'] for batch in batches]).argsort()
    assert all(isinstance(batch['img'], list) for batch in batches)
    return [torch.cat(parts)[order] for parts in zip(*(batch['img'] for batch in batches))]


@pytest.mark.parametrize('mask', [CAE_MASK, dict(type='SimMIMMaskGenerator'), dict(type='MaskFeatMaskGenerator')],
                         ids=lambda mask: mask['type'])  # yapf: disable
def test_from_the_pipeline_to_the_device(photo_folder, mask):
    """Images are normalised on the way, masks arrive as they are; the same whoever makes them, others each epoch."""
    dataset = data(photo_folder, mask)
    first, second, masks = loaded(dataset, 2)
    for one in (loaded(dataset, 0), loaded(dataset, 1)):
        assert all(torch.equal(a, b) for a, b in zip(one, (first, second, masks)))
    assert first.shape == (24, 3, 32, 32) and second.shape == (24, 3, 16, 16)
    assert first.dtype == second.dtype == torch.float32 and masks.dtype == torch.int64
    for i in range(24):
        seed_sample(5, 0, i)
        img = dataset[i]['img']
        assert img[0].dtype == np.uint8 and np.array_equal(img[2], masks[i])
    in_the_worker = loaded(data(photo_folder, *TENSOR, mask, prefetch=False), 2)
    for got, expected in zip((first, second), in_the_worker):
        assert (got - expected).abs().max() < 1e-5
    assert torch.equal(masks, in_the_worker[2])
    later = loaded(dataset, 2, epoch=1)[2]
    assert len({m.numpy().tobytes() for m in (*masks, *later)}) == 48
    assert torch.equal(loaded(data(photo_folder, HideTopHalf()), 0)[2][5], torch.tensor(HideTopHalf().draw_mask()))


@pytest.mark.parametrize('name, shapes, hidden', [
    ('mae', [(224, 224, 3)], None),
    ('simmim', [(192, 192, 3), (48, 48)], 22 * 64),
    ('cae', [(224, 224, 3), (112, 112, 3), (14, 14)], 75),
    ('maskfeat', [(224, 224, 3), (14, 14)], 78),
])  # yapf: disable
def test_published_data(photo_folder, name, shapes, hidden):
    """The figures of the recipes are held by tests/test_configs.py; this is what comes out of their data."""
    cfg = mmcv.Config.fromfile(str(ROOT / f'configs/selfsup/_base_/datasets/imagenet_{name}.py')).data.train
    cfg.data_source = dict(type='Folder', data_prefix=str(photo_folder))
    img = build_dataset(cfg)[3]['img']
    img = img if isinstance(img, tuple) else (img, )
    assert [part.shape for part in img] == shapes
    assert all(part.dtype == np.uint8 for part in img if part.ndim == 3)
    assert hidden is None or img[-1].sum() == hidden

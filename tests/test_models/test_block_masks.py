# Copyright (c) mmssl contributors. All rights reserved.
"""Masks drawn in the model: their shapes against a loop, their ratios, and what they depend on."""
import math

import numpy as np
import pytest
import torch

from mmssl.models.utils import block_masks
from mmssl.models.utils.block_masks import BlockMasks, draw_blocks, masked_patches
from mmssl.utils.errors import ConfigError


def one_by_one(count, grid, numbers, least, aspect):
    """The loop of iBOT's and DINOv2's published masks, with given random numbers."""
    mask, hidden, failed = np.zeros(grid, bool), 0, 0
    for area, slope, top, left in numbers:
        if hidden == count or failed == 10:
            break
        area = least + (count - hidden - least) * area
        slope = math.exp(math.log(aspect) + (math.log(1 / aspect) - math.log(aspect)) * slope)
        h, w = round(math.sqrt(area * slope)), round(math.sqrt(area / slope))
        failed += 1
        if h < grid[0] and w < grid[1]:
            top, left = int(top * (grid[0] - h + 1)), int(left * (grid[1] - w + 1))
            new = h * w - mask[top:top + h, left:left + w].sum()
            if 0 < new <= count - hidden:
                mask[top:top + h, left:left + w] = True
                hidden, failed = hidden + new, 0
    return mask


@pytest.mark.parametrize('grid, least, aspect', [((14, 14), 16, 0.3), ((14, 14), 4, 0.3), ((7, 5), 1, 0.5)])
def test_blocks_are_those_of_a_loop(grid, least, aspect):
    generator = np.random.default_rng(1)
    counts = generator.integers(1, grid[0] * grid[1] // 2, 200)
    numbers = generator.random((200, 64, 4))
    masks = draw_blocks(counts, grid, numbers, least, aspect)
    for mask, count, own in zip(masks, counts, numbers):
        assert (mask == one_by_one(count, grid, own, least, aspect)).all()
        assert mask.sum() <= count
    assert masks.sum() > 0.97 * counts.sum()


@pytest.mark.parametrize('shape', ['block', 'random'])
def test_each_crop_draws_its_ratio(shape):
    """iBOT: half of the crops, and from 0.1 to 0.5 of their patches."""
    shares = BlockMasks(shape=shape)(2000, 2, (14, 14)).flatten(1).double().mean(1)
    masked = shares[shares > 0]
    assert abs(len(masked) / 4000 - 0.5) < 0.03
    assert masked.max() <= 0.5 and abs(masked.mean() - 0.3) < 0.01 and abs(masked.std() - 0.4 / 12**0.5) < 0.01
    assert shape == 'block' or masked.min() >= 19 / 196  # of single patches the number is exact
    fixed = BlockMasks(ratio=[0.25, 0.25], probability=1, shape='random')(8, 1, (4, 6))
    assert fixed.shape == (8, 4, 6) and (fixed.flatten(1).sum(1) == 6).all()


def test_stratified_ratios_are_spread_over_the_batch():
    """DINOv2: exactly half of the crops, with one ratio in each of as many equal parts of the range."""
    masks = BlockMasks(stratified=True, shape='random')(20, 2, (50, 50))
    hidden = masks.flatten(1).sum(1)
    assert (hidden > 0).sum() == 20
    shares = hidden[hidden > 0].sort()[0] / 2500
    part = torch.arange(20)
    assert (shares >= 0.1 + 0.02 * part - 1 / 2500).all() and (shares <= 0.1 + 0.02 * (part + 1)).all()
    assert 0 < (hidden[:20] > 0).sum() < 20  # shuffled over both views
    assert BlockMasks(stratified=True, probability=0)(4, 2, (8, 8)).sum() == 0


@pytest.mark.parametrize('settings', [dict(), dict(stratified=True), dict(shape='random')])
def test_one_process_draws_what_two_draw(settings, monkeypatch):
    masks = BlockMasks(**settings)
    whole = [masks(6, 2, (8, 8)).unflatten(0, (2, 6)) for _ in range(3)]
    for rank in range(2):
        monkeypatch.setattr(block_masks, 'get_dist_info', lambda rank=rank: (rank, 2))
        masks = BlockMasks(**settings)
        for expected in whole:
            assert masks(3, 2, (8, 8)).unflatten(0, (2, 3)).equal(expected[:, 3 * rank:3 * rank + 3])


def test_masks_depend_on_seed_and_iteration():
    masks = BlockMasks()
    first, second = masks(16, 2, (8, 8)), masks(16, 2, (8, 8))
    assert not first.equal(second)
    assert not BlockMasks(seed=1)(16, 2, (8, 8)).equal(first)
    resumed = BlockMasks()
    resumed.load_state_dict(masks.state_dict())
    torch.manual_seed(3)
    assert resumed(16, 2, (8, 8)).equal(masks(16, 2, (8, 8)))
    masks.eval()
    assert masks(16, 2, (8, 8)).equal(masks(16, 2, (8, 8)))  # a validation uses up nothing


def test_places_and_weights():
    masks = torch.zeros(3, 2, 3, dtype=torch.bool)
    masks[0, 1, 2] = masks[2, 0, 0] = masks[2, 1, 0] = True
    index, weight = masked_patches(masks)
    assert index.tolist() == [5, 12, 15] and weight.tolist() == [1, 0.5, 0.5]
    index, weight = masked_patches(torch.zeros(3, 2, 3, dtype=torch.bool))
    assert index.shape == weight.shape == (0, ) and index.dtype == torch.long


@pytest.mark.parametrize('settings, said', [
    (dict(ratio=[0.5, 0.1]), r'ratio=\[0.5, 0.1\]'),
    (dict(ratio=[0.3]), r'ratio=\[0.3\]'),
    (dict(probability=2), 'probability=2'),
    (dict(shape='stars'), "'stars'"),
    (dict(aspect=3.3), 'aspect=3.3'),
    (dict(min_patches=0), 'min_patches=0'),
])
def test_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        BlockMasks(**settings)


def test_blocks_larger_than_a_crop():
    with pytest.raises(ConfigError, match='no block of min_patches=16 patches fits in 4 x 4'):
        BlockMasks(min_patches=16)(8, 2, (4, 4))

# Copyright (c) mmssl contributors. All rights reserved.
import numpy as np
import pytest
import torch

from mmssl.datasets import MultiViewDataset, PrefetchLoader, Synthetic, build_dataloader, build_datasource
from mmssl.utils.errors import ConfigError


@pytest.mark.parametrize('dtype, white', [('uint8', 255), ('uint16', 65535), ('float32', 1)])
@pytest.mark.parametrize('shape', [(40, 56, 3), (33, 8, 13), (16, 16, 1)])
def test_images_of_any_form(dtype, white, shape):
    source = build_datasource(dict(type='Synthetic', num_images=7, shape=shape, dtype=dtype, num_classes=3))
    images = [source.get_array(i) for i in range(7)]
    assert {(img.shape, img.dtype.name) for img in images} == {(shape, dtype)}
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, 0] and len(source) == 7
    values = np.stack(images) / white
    assert values.min() >= 0 and values.max() <= 1 and 0.4 < values.mean() < 0.6 and values.std() > 0.1
    assert abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.5
    smooth = np.abs(np.diff(values, axis=1)).mean() if shape[0] > 16 else 0
    assert smooth < 0.1  # neighbours of white noise differ by 0.33
    np.testing.assert_array_equal(source.get_array(4), Synthetic(num_images=5, shape=shape, dtype=dtype).get_array(4))
    assert (Synthetic(num_images=5, shape=shape, dtype=dtype, seed=1).get_array(4) != images[4]).any()
    grey = Synthetic(shape=shape, dtype=dtype, fill='grey').get_array(49_999)
    assert grey.dtype.name == dtype and np.ptp(grey) == 0 and abs(grey.flat[0] / white - 128 / 255) < 1e-6


def test_a_recipe_for_files_takes_it(tmp_path):
    """By its type alone: the folder and the list need not exist."""
    data = MultiViewDataset(
        dict(type='Synthetic', data_prefix=str(tmp_path / 'absent'), ann_file='absent.txt', num_images=20), [2],
        [[dict(type='RandomResizedCrop', size=32)]],
        prefetch=True)
    views = data[11]['img']
    assert [v.shape for v in views] == [(32, 32, 3)] * 2 and (views[0] != views[1]).any()
    assert data.data_source.get_img(3).size == (256, 256)


@pytest.mark.parametrize('dtype, white', [('uint16', 65535), ('float32', 1)])
def test_deep_images_reach_the_device(dtype, white):
    data = MultiViewDataset(
        dict(type='Synthetic', num_images=8, shape=(48, 48, 13), dtype=dtype), [2],
        [[dict(type='RandomResizedCrop', size=32),
          dict(type='RandomHorizontalFlip')]],
        prefetch=True)
    loader = build_dataloader(data, samples_per_gpu=8, workers_per_gpu=0, dist=False, seed=0)
    batch, = PrefetchLoader(loader, mean=[0.5] * 13, std=[0.25] * 13, max_value=white)
    for img in batch['img']:
        assert img.shape == (8, 13, 32, 32) and img.dtype == torch.float32
        assert abs(img.mean()) < 0.2 and 0.4 < img.std() < 1.2 and img.abs().max() <= 2.001


@pytest.mark.parametrize('options, message', [
    (dict(num_images=0), 'num_images of Synthetic is an integer of at least 1, got 0'),
    (dict(shape=(8, 8)), r'height, width and channels, such as \(256, 256, 3\), got \(8, 8\)'),
    (dict(shape=(8, 8, 600)), 'has 600 channels: 512 at most'),
    (dict(color_type='grayscale'), "has 3 channels: 1 with color_type='grayscale'"),
    (dict(fill='gray'), "'noise' or 'grey', got 'gray'"),
    (dict(dtype='int8'), "uint8, uint16, float32, got 'int8'"),
])
def test_wrong_options_of_synthetic_images(options, message):
    with pytest.raises(ConfigError, match=message):
        build_datasource(dict(type='Synthetic', **options))

# Copyright (c) mmssl contributors. All rights reserved.
"""Statistics of channels against float64 references."""
import json

import numpy as np
import pytest

from mmssl.datasets import build_dataset
from mmssl.datasets import channel_statistics as module
from mmssl.datasets.channel_statistics import ChannelStatistics, channel_statistics, normalisation_of
from mmssl.utils.errors import ConfigError


def images(kind, number=20, channels=4):
    """Of different sizes, with an offset beside which the deviation is small."""
    rng = np.random.default_rng(0)
    scale, offset = dict(uint8=(9, 100), uint16=(7, 60000), float32=(0.5, 1e5))[kind]
    made = []
    for i in range(number):
        img = rng.normal(offset, scale, (9 + i, 11, channels)) - np.arange(channels)
        made.append(img.astype(kind) if kind == 'float32' else np.round(img).astype(kind))
    return made


def folder(path, made):
    path.mkdir(exist_ok=True)
    for i, img in enumerate(made):
        np.save(path / f'{i:02d}.npy', img)
    source = dict(type='Folder', data_prefix=str(path), extensions=['.npy'], depth='stored', layout='HWC')
    return build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[]))


@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('most', [2**24, 150])
def test_equal_to_float64(kind, most, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_MOST', most)  # large images in parts as well
    made = images(kind)
    if kind == 'float32':
        for img in made[::3]:
            img[:4, :, 1] = np.nan
    every = np.concatenate([img.reshape(-1, 4) for img in made])
    found, broken = channel_statistics(folder(tmp_path / 'a', made))
    assert not broken and found.images == 20 and found.pixels == len(every)
    real = every.astype(np.float64)
    np.testing.assert_allclose(found.mean, np.nanmean(real, 0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.nanstd(real, 0), rtol=1e-7)
    np.testing.assert_array_equal(found.low, np.nanmin(every, 0))
    np.testing.assert_array_equal(found.high, np.nanmax(every, 0))
    np.testing.assert_allclose(found.missing, np.isnan(real).mean(0), atol=1e-12)
    for q in (1, 50, 99):
        expected = np.nanpercentile(real, q, axis=0, method='inverted_cdf')
        np.testing.assert_allclose(found.percentile(q), expected, rtol=0.004 if kind == 'float32' else 0)


def test_percentiles_of_floats_of_both_signs():
    img = np.random.default_rng(1).normal(0, 3, (300, 300, 2)).astype(np.float32) * [1, 1e-3]
    found = ChannelStatistics.of(img.astype(np.float32))
    for q in (0, 0.1, 10, 50.2, 97, 100):
        expected = np.percentile(img.reshape(-1, 2), q, axis=0, method='inverted_cdf')
        np.testing.assert_allclose(found.percentile(q), expected, rtol=0.005)


def test_neither_workers_nor_broken_files_matter(tmp_path):
    dataset = folder(tmp_path / 'a', images('float32'))
    (tmp_path / 'a/07.npy').write_bytes(b'\x93NUMPY')
    alone, broken = channel_statistics(dataset)
    shared, same = channel_statistics(dataset, workers=2)
    assert [idx for idx, _, _ in broken] == [7] == [idx for idx, _, _ in same] and alone.images == 19
    for name in ('mean', 'squares', 'bins', 'count'):
        np.testing.assert_array_equal(getattr(alone, name), getattr(shared, name))
    part, _ = channel_statistics(dataset, num=5)
    assert part.images == 5 and (channel_statistics(dataset, num=5)[0].mean == part.mean).all()
    with pytest.raises(ConfigError, match='num must be 1 or more'):
        channel_statistics(dataset, num=0)
    for options, words in ((dict(seed=-1), 'seed of the draw'), (dict(workers=-1), 'number of workers')):
        with pytest.raises(ConfigError, match=f'{words} is an integer of at least 0, got -1'):
            channel_statistics(dataset, **options)
    np.save(tmp_path / 'a/03.npy', np.zeros((9, 9, 5), np.float32))
    with pytest.raises(
            ConfigError, match=r'sample 3 \(.*03.npy\): images differ: float32 of 4 channels, and float32 of 5'):
        channel_statistics(dataset)


def test_settings():
    deep = ChannelStatistics.of(np.array([[[1, 500, 7], [3, 700, 7]]], np.uint16))
    assert normalisation_of(deep) == dict(mean=[2, 600, 7], std=[1, 100, 1], max_value=1)
    assert normalisation_of(ChannelStatistics.of(np.array([[[0], [255]]], np.uint8))) == dict(mean=[0.5], std=[0.5])


def test_tool(call_tool, tmp_path):
    place = tmp_path / "a user's tiles"
    folder(place, images('uint16'))
    done = call_tool('tools/analysis_tools/channel_statistics.py', place, '--extensions', '.npy', '--layout', 'HWC',
                     '--workers', 0, '--out', tmp_path / 'out.json')  # yapf: disable
    written = json.loads((tmp_path / 'out.json').read_text())
    line = f'img_norm_cfg = dict(mean={written["img_norm_cfg"]["mean"]}, std='
    assert '20 images of uint16, 4 channels; 0 cannot be read' in done.stdout and line in done.stdout
    assert '--cfg-options model.backbone.in_channels=4 img_norm_cfg.mean="[' in done.stdout
    source = 'data.train.data_source.'
    assert f' {source}depth="stored" {source}layout="HWC" {source}extensions="[\'.npy\']"' in done.stdout
    assert abs(written['channels']['mean'][2] - 59998) < 1 and written['img_norm_cfg']['max_value'] == 1
    done = call_tool('tools/analysis_tools/channel_statistics.py', 'configs/selfsup/byol/byol_resnet18_digits.py',
                     '--nodata', 0, check=False)  # yapf: disable
    assert done.returncode and '--nodata is for a folder' in done.stderr

# Copyright (c) mmssl contributors. All rights reserved.
"""Images of any depth and number of channels, from files to normalised batches."""
import numpy as np
import pytest
import torch
from scipy import ndimage

from mmssl.datasets import PrefetchLoader, build_dataloader, build_dataset
from mmssl.datasets.collators import MixupCrops, collate
from mmssl.datasets.loader import leaves_stored
from mmssl.datasets.pipelines.rng import seed_batch
from mmssl.evaluation.features import extract_features
from mmssl.utils.errors import ConfigError

CHANNELS = 13
STEPS = [
    dict(type='RandomResizedCrop', size=20),
    dict(type='ColorJitter', brightness=0.2, contrast=0.2),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.),
    dict(type='RandomHorizontalFlip')
]
NORM = dict(mean=[float(300 * c + 100) for c in range(CHANNELS)], std=[100. + c for c in range(CHANNELS)], max_value=1)


@pytest.fixture(scope='module')
def tiles(tmp_path_factory):
    """12 tiles of 13 channels as .npy files of uint16, channel c around 300 c, with a missing corner of 0."""
    root, rng = tmp_path_factory.mktemp('tiles'), np.random.default_rng(0)
    for i in range(12):
        tile = ndimage.gaussian_filter(rng.random((28, 30, CHANNELS)), (1, 1, 0)) * 200 + 300 * np.arange(CHANNELS) + 1
        tile[:8, :9] = 0
        np.save(root / f'{i:02d}.npy', tile.astype(np.uint16))
    return str(root)


def config(tiles, **source):
    source = dict(type='Folder', data_prefix=tiles, extensions=['.npy'], depth='stored', **source)
    return dict(type='MultiViewDataset', data_source=source, num_views=[2], pipelines=[STEPS], prefetch=True)


def batches(dataset, workers=0, start=0, **norm):
    loader = build_dataloader(
        dataset, samples_per_gpu=5, workers_per_gpu=workers, seed=3, persistent_workers=False, collate=None)
    loader.set_epoch(2, start)
    return list(PrefetchLoader(loader, device='cpu', **(norm or NORM)))


@pytest.mark.parametrize('nodata', [None, 0])
def test_batches_are_the_same_for_any_workers_and_normalised(tiles, nodata):
    dataset = build_dataset(config(tiles, **(dict(nodata=0) if nodata == 0 else {})))
    kind = np.uint16 if nodata is None else np.float32
    stored = build_dataloader(dataset, samples_per_gpu=5, workers_per_gpu=0, seed=3)
    stored.set_epoch(2)
    alone, shared, rest = batches(dataset), batches(dataset, workers=2), batches(dataset, start=1)
    assert len(alone) == 3 and alone[0]['img'][0].shape == (5, CHANNELS, 20, 20)
    for batch, other, resumed, raw in zip(alone, shared, [None, *rest], stored):
        for k in range(2):
            assert torch.equal(batch['img'][k], other['img'][k])
            assert resumed is None or torch.equal(batch['img'][k], resumed['img'][k])
            values = raw['img'][k].numpy()
            assert values.dtype == kind
            expected = (values.astype(np.float64) - np.reshape(NORM['mean'],
                                                               (-1, 1, 1))) / np.reshape(NORM['std'], (-1, 1, 1))
            expected[np.isnan(expected)] = 0
            assert not batch['img'][k].isnan().any()
            np.testing.assert_allclose(batch['img'][k].numpy(), expected, atol=1e-5)
    if nodata == 0:  # of some missing pixel something is left
        assert any((batch['img'][0] == 0).all(1).any() for batch in alone)


def test_max_value_divides_first(tiles):
    dataset = build_dataset(config(tiles))
    scaled = dict(mean=[m / 65535 for m in NORM['mean']], std=[s / 65535 for s in NORM['std']], max_value=65535)
    for one, other in zip(batches(dataset), batches(dataset, **scaled)):
        torch.testing.assert_close(one['img'][0], other['img'][0], atol=1e-4, rtol=1e-4)
    loader = PrefetchLoader([dict(img=torch.full((1, 1, 2, 2), 51, dtype=torch.uint8))], 0.5, 0.5, 'cpu', max_value=51)
    assert (next(iter(loader))['img'] == 1).all()


def test_a_setting_that_lacks_is_told(tiles):
    dataset = build_dataset(config(tiles))
    with pytest.raises(ConfigError, match='images of uint16 do not say which value is 1: set img_norm_cfg.max_value'):
        batches(dataset, mean=0.5, std=0.5)
    with pytest.raises(ConfigError, match='divide by 255, or set max_value=1'):
        batches(dataset, mean=300., std=100.)
    with pytest.raises(ConfigError, match='max_value of img_norm_cfg must be positive'):
        batches(dataset, mean=0.5, std=0.5, max_value=0)
    floats = build_dataset(config(tiles, nodata=0))
    with pytest.raises(ConfigError, match='images of float32 do not say'):
        batches(floats, mean=0.5, std=0.5)
    with pytest.raises(ConfigError, match='float32 images need img_norm_cfg'):
        PrefetchLoader([dict(img=torch.zeros(1, 1, 2, 2))], stored=True).prepare(dict(img=torch.zeros(1, 1, 2, 2)))
    unfinished = build_dataset(dict(config(tiles), prefetch=False))
    with pytest.raises(ConfigError, match='the pipeline ends with uint16 of the shape .*: set prefetch=True'):
        unfinished[0]


def test_what_the_pipeline_normalises_stays(tiles):
    ends = [dict(type='ToTensor', max_value=1), dict(type='Normalize', mean=NORM['mean'], std=NORM['std'])]
    cfg = dict(config(tiles), prefetch=False, pipelines=[[*STEPS, *ends]])
    for one, other in zip(batches(build_dataset(cfg)), batches(build_dataset(config(tiles)))):
        torch.testing.assert_close(one['img'][1], other['img'][1], atol=1e-5, rtol=1e-5)
    parts = [build_dataset(config(tiles)), build_dataset(cfg)]
    wrapped = build_dataset(dict(type='RepeatDataset', dataset=config(tiles), times=2))
    assert [leaves_stored(d) for d in (*parts, wrapped, torch.utils.data.ConcatDataset(parts), [1])] == [
        True, False, True, False, False]  # yapf: disable


def test_images_of_one_batch_have_one_type():
    images = [dict(img=np.zeros((4, 4, 2), kind)) for kind in ('uint16', 'float32')]
    with pytest.raises(ConfigError, match='images of one batch differ in type: float32, uint16'):
        collate(images)


@pytest.mark.parametrize('kind', ['uint16', 'float32'])
def test_mixup(kind):
    images = [(np.random.default_rng(i).random((6, 5, 7)) * 9000).astype(kind) for i in range(5)]
    seed_batch(0, 0, 0)
    mixed = MixupCrops(0.4)([dict(img=img, idx=i) for i, img in enumerate(images)])['img'].numpy()
    first, second = (np.stack(images[i:4:2]).transpose(0, 3, 1, 2).astype(np.float64) for i in (0, 1))
    share = np.median((mixed[:2] - second) / (first - second))
    assert mixed.dtype == kind and 0 < share < 1
    np.testing.assert_allclose(mixed[:2], share * first + (1 - share) * second, atol=0.6, rtol=1e-3)
    np.testing.assert_array_equal(mixed[2], images[4].transpose(2, 0, 1))


def test_samples_of_sources_of_different_depth(tiles, photo_folder):
    """A photograph and a tile of 13 channels side by side, each with steps of its own."""
    deep = config(tiles)['data_source']
    dataset = build_dataset(
        dict(
            type='SampleDataset',
            data_source=dict(tile=deep, photo=dict(type='Folder', data_prefix=str(photo_folder / 'china'))),
            pipeline=[
                dict(type='RandomResizedCrop', size=16),
                dict(type='OnEntries', entries=['photo'], transforms=[dict(type='ColorJitter', hue=0.1)])
            ],
            prefetch=True))
    batch = collate([dataset[i] for i in range(3)])
    assert batch['img']['tile'].shape == (3, 13, 16, 16) and batch['img']['tile'].dtype == torch.uint16
    assert batch['img']['photo'].shape == (3, 3, 16, 16) and batch['img']['photo'].dtype == torch.uint8


def test_features(tiles):
    """Features of stored floats are those of normalised ones."""

    class Means(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, img, mode='extract'):
            return img,

    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=config(tiles, nodata=0)['data_source'],
            pipeline=[dict(type='CenterCrop', size=8)],
            prefetch=True))
    found = extract_features(Means(), dataset, layers=('pooled', ), img_norm_cfg=NORM, workers=0)['pooled']
    crops = np.stack([dataset[i]['img'] for i in range(12)]).astype(np.float64)
    expected = np.nan_to_num((crops - NORM['mean']) / NORM['std']).mean((1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_benchmark_case_of_tiles(tmp_path):
    """Rates are of this machine; what is compared, and the bytes of a view, are not."""
    from mmssl.benchmarks.data_cases import format_case, run_case
    found = run_case('tiles', None, num=2)
    assert [row['ratio'] for row in found['rows']][0] == 1 and len(found['rows']) == 5
    assert found['kilobytes_of_a_view'] == dict(mmssl=96 * 96 * 13 * 2 / 1e3, torchvision=96 * 96 * 13 * 4 / 1e3)
    assert 'tile: 120 x 120 x 13 uint16' in format_case(found)


@pytest.mark.parametrize('nodata', [None, 0])
def test_views_to_look_at(tiles, nodata):
    """Chosen channels, stretched between two percentiles of the stored tile; missing pixels are black."""
    from mmssl.evaluation.views import look_at
    dataset = build_dataset(config(tiles, **(dict(nodata=0) if nodata == 0 else {})))
    stored, rows = look_at(dataset, 3, channels=[12, 0, 5])
    tile = dataset.stored(3)[..., [12, 0, 5]].astype(np.float64)
    low, high = np.nanpercentile(tile, (2, 98), (0, 1))
    inside = (tile > low) & (tile < high)
    expected = (tile - low) / (high - low) * 255
    if nodata is None:
        np.testing.assert_allclose(stored.image[inside], expected[inside], atol=1)
    assert stored.image.shape == (28, 30, 3) and (stored.image[:8, :9] == 0).all()
    assert [view.image.shape for view in rows[0][0]] == [(20, 20, 3)] * 2
    assert look_at(dataset, 3, channels=[2])[0].image.shape == (28, 30, 1)
    with pytest.raises(ConfigError, match=r'channels \[13\] are asked for, the image has 13'):
        look_at(dataset, 3, channels=[13])

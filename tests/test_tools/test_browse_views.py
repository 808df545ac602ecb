"""The sheet shows what the loader gives, in true proportions, with the targets that belong to it."""
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import Config
from PIL import Image

from mmssl.datasets import ConcatDataset, RepeatDataset, build_dataloader, build_dataset
from mmssl.datasets.loader import KeyedDataset
from mmssl.datasets.pipelines.rng import rng
from mmssl.evaluation import plots
from mmssl.evaluation.views import lay_out, look_at
from mmssl.utils.errors import BrokenImageError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/analysis_tools/browse_views.py'
NORM = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
CROP = [dict(type='RandomResizedCrop', size=64), dict(type='RandomGrayscale', p=0.5)]
TENSOR = [dict(type='ToTensor'), dict(type='Normalize', **NORM)]


@pytest.fixture(scope='module')
def source(photo_folder):
    return dict(type='ImageNet', data_prefix=str(photo_folder), ann_file=None)


def images(block):
    return [tile.image for row in block for tile in row]


def captions(block):
    return [[tile.caption for tile in row] for row in block]


def test_views_are_those_of_training(source):
    """Of the same seed and epoch, from uint8 batches and from normalised ones; the class of an image with it."""
    small = [dict(type='RandomResizedCrop', size=24)]
    sets = [
        build_dataset(
            dict(type='MultiViewDataset', data_source=source, num_views=[2, 3], pipelines=pipelines, prefetch=prefetch))
        for pipelines, prefetch in (([CROP, small], True), ([CROP + TENSOR, small + TENSOR], False))
    ]
    loader = build_dataloader(
        sets[0], samples_per_gpu=24, workers_per_gpu=0, dist=False, shuffle=False, seed=11, drop_last=False)
    for epoch in range(2):
        loader.set_epoch(epoch)
        batch = next(iter(loader))['img']
        for dataset in sets:
            stored, (block, ) = look_at(dataset, 7, [epoch], seed=11)
            for view, image in zip(batch, images(block)):
                assert np.array_equal(view[7].permute(1, 2, 0), image)
            assert captions(block) == [['64 x 64'] * 2 + ['24 x 24'] * 3]
    assert np.array_equal(stored.image, sets[0].data_source.get_array(7)) and stored.caption == '07.jpg\nsample 7'

    single = build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=CROP + TENSOR))
    _, (first, second) = look_at(single, 20, [0, 1])
    assert captions(first) == [['label 1: flower']] and not np.array_equal(images(first), images(second))


def test_samples_of_several_images(source):
    """Each image by name has a row, patches lie in a square, and labels stand with the image that they belong to."""
    sides = dict(left=source, right=dict(source, labels=[4] * 24))
    crop = [dict(type='CenterCrop', size=40)]
    dataset = build_dataset(
        dict(type='SampleDataset', data_source=sides, pipeline=[*crop, dict(type='Copies')], prefetch=True))
    stored, (block, ) = look_at(dataset, 20)
    assert stored.image.shape == (200, 520, 3)
    assert captions(block) == [['label 1: flower\nleft 40 x 40', ''], ['label 4\nright 40 x 40', '']]
    assert all(np.array_equal(image, images(block)[0]) for image in images(block))

    dataset = build_dataset(
        dict(
            type='SampleDataset',
            data_source=source,
            labels=dict(cluster=[5] * 24, own=None),
            pipeline=[*crop, dict(type='Copies'), dict(type='RandomAngle', num_angles=8)],
            prefetch=True))
    _, (block, ) = look_at(dataset, 20)
    sample = dataset[20]
    (first, second), = captions(block)
    assert first.startswith('label cluster 5\nlabel own 1\nrot_label ') and second.startswith('rot_label ')
    number, angle = second.removeprefix('rot_label ').split(': ')
    assert angle == f'{45 * int(number)}°' and len(sample['rot_label']) == 2

    patches = np.arange(9 * 4 * 4 * 3, dtype=np.uint8).reshape(9, 4, 4, 3)
    rows = lay_out(dict(img=dict(image=patches[0], patches=patches), idx=0, order=np.arange(9)))
    assert [len(row) for row in rows] == [1, 3, 3, 3] and np.array_equal(rows[2][1].image, patches[4])
    assert rows[0][0].caption == 'order [0, 1, 2, 3, 4, 5, 6, 7, 8]\nimage 4 x 4'
    assert rows[3][0].caption == 'patches 4 x 4'
    rows = lay_out(dict(img=dict(a=[patches[0], patches[1]]), idx=0, rot_label=dict(a=[2, 3])), angles=4)
    assert captions(rows) == [['a 4 x 4\nrot_label 2: 180°', 'rot_label 3: 270°']]
    rows = lay_out(dict(img=[patches[:4], patches[:4]], idx=0, label=3))
    assert [len(row) for row in rows] == [2, 2, 2, 2] and rows[1][0].caption == 'label 3\n0 4 x 4'


def test_patches_rotations_and_clusters(source):
    """Patches lie in their places around the middle one, rotations are named by their angles."""
    dataset = build_dataset(dict(type='RelativeLocDataset', data_source=source, pipeline=CROP, format_pipeline=TENSOR))
    _, (block, ) = look_at(dataset, 3)
    label = 'patch_label {}'.format
    assert captions(block) == [[label(0), label(1), label(2)], [label(3), 'the middle',
                                                                label(4)], [label(5), label(6),
                                                                            label(7)]]
    uint8 = build_dataset(
        dict(type='RelativeLocDataset', data_source=source, pipeline=CROP, format_pipeline=[], prefetch=True))
    expected = images(look_at(uint8, 3)[1][0])
    assert all(np.array_equal(*pair) for pair in zip(images(block), expected)) and len(expected) == 9

    dataset = build_dataset(dict(type='RotationPredDataset', data_source=source, pipeline=CROP, prefetch=True))
    _, (block, ) = look_at(dataset, 3)
    assert captions(block) == [['rot_label 0: 0°', 'rot_label 1: 90°', 'rot_label 2: 180°', 'rot_label 3: 270°']]
    assert all(np.array_equal(np.rot90(images(block)[0], k), image) for k, image in enumerate(images(block)))

    dataset = build_dataset(dict(type='DeepClusterDataset', data_source=source, pipeline=CROP, prefetch=True))
    assert captions(look_at(dataset, 3)[1][0]) == [['no pseudo_label']]
    dataset.assign_labels(np.arange(24) + 500)
    assert captions(look_at(dataset, 3)[1][0]) == [['pseudo_label 503']]


class Masked:
    """A step as mask-image algorithms have it: the image, a second smaller one, and what is hidden."""
    native = True

    def __init__(self, flat):
        self.flat = flat

    def __call__(self, img):
        mask = rng().random((4, 4)) < 0.5
        return (img, mask.ravel().astype(np.float32)) if self.flat else (img, img[::2, ::2], torch.from_numpy(mask))


def test_masks_in_wrapped_data_sets(source):
    """Square or flat, in a data set of data sets, whose samples are found below the wrappers."""
    flat, square = (
        build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[*CROP, Masked(f), *TENSOR]))
        for f in (True, False))
    dataset = ConcatDataset([flat, RepeatDataset(square, 2)])
    stored, (block, ) = look_at(dataset, 5)
    (image, hidden), = block
    assert image.mask is None and hidden.mask.shape == (4, 4) and hidden.mask.dtype == bool
    assert hidden.image is image.image and hidden.caption == f'{hidden.mask.mean():.0%} hidden'
    stored, (block, ) = look_at(dataset, 24 + 24 + 2)
    (image, target, hidden), = block
    assert stored.caption == '02.jpg\nsample 50' and np.array_equal(stored.image, square.data_source.get_array(2))
    assert target.image.shape == (32, 32, 3) and np.array_equal(target.image, image.image[::2, ::2])
    assert captions(block) == [['64 x 64\nlabel 0: china', '', hidden.caption]]


@pytest.mark.parametrize('prefetch', [True, False])
def test_published_masks(source, prefetch):
    """CAE's two images and mask, as the loader gives them."""
    cfg = Config.fromfile(str(ROOT / 'configs/selfsup/_base_/datasets/imagenet_cae.py')).data.train
    steps = list(cfg.pipeline) if prefetch else [*cfg.pipeline[:-1], *TENSOR, cfg.pipeline[-1]]
    dataset = build_dataset(dict(cfg, data_source=source, pipeline=steps, prefetch=prefetch))
    loader = build_dataloader(dataset, samples_per_gpu=24, workers_per_gpu=0, dist=False, shuffle=False, seed=11)
    loader.set_epoch(1)
    batch = next(iter(loader))['img']
    _, (block, ) = look_at(dataset, 7, [1], seed=11)
    (image, second, hidden), = block
    assert captions(block) == [['224 x 224\nlabel 0: china', '', '38% hidden']]
    assert np.array_equal(hidden.mask, batch[2][7]) and hidden.mask.sum() == 75 and hidden.image is image.image
    for tile, part in zip((image, second), batch):
        part = part[7].permute(1, 2, 0).double()
        part = part if prefetch else (part * torch.tensor(NORM['std']) + torch.tensor(NORM['mean'])) * 255
        assert np.abs(tile.image - part.numpy()).max() < 0.51


def test_floats_of_steps_of_others():
    """Values within 0 to 1 are shown as they are; others are taken as normalised, by the config's figures."""
    dark = torch.full((3, 4, 4), 0.2)
    assert (lay_out(dict(img=dark, idx=0))[0][0].image == 51).all()
    tile = lay_out(
        dict(img=(dark - torch.tensor(NORM['mean']).view(3, 1, 1)) / 0.25, idx=0),
        dict(mean=NORM['mean'], std=[0.25] * 3))[0][0]
    assert (tile.image == 51).all() and tile.image.dtype == np.uint8


def test_true_proportions(tmp_path):
    """Multi-crop at its relative sizes, masks over their cells: measured in the picture."""
    red, blue = (np.full((size, size, 3), color, np.uint8) for size, color in ((224, (255, 0, 0)), (96, (0, 0, 255))))
    green = plots.Tile(np.full((224, 112, 3), (0, 255, 0), np.uint8), 'half\nhidden', np.array([[1, 0], [1, 0]]))
    rows = [plots.Tile(red), plots.Tile(blue), green]
    plots.plot_views([(plots.Tile(red), [[rows]])], tmp_path / 'a.png')
    picture = np.asarray(Image.open(tmp_path / 'a.png').convert('RGB')).astype(int)
    share = {}
    for name, color in dict(red=(255, 0, 0), blue=(0, 0, 255), green=(0, 255, 0)).items():
        share[name] = (np.abs(picture - color).sum(2) < 30).sum()
    assert share['blue'] / (share['red'] / 2) == pytest.approx((96 / 224)**2, rel=0.05)  # red: stored, and a view
    assert share['green'] / (share['red'] / 2) == pytest.approx(1 / 4, rel=0.08)  # half of a half, less the grid
    # the lines of SimMIM's 48 x 48 cells would hide what is left to be seen
    fine = plots.Tile(green.image, 'half\nhidden', np.repeat(np.repeat(green.mask, 24, 0), 24, 1))
    plots.plot_views([(plots.Tile(red), [[[fine]]])], tmp_path / 'b.png')
    picture = np.asarray(Image.open(tmp_path / 'b.png').convert('RGB')).astype(int)
    assert (np.abs(picture - (0, 255, 0)).sum(2) < 30).sum() > share['green']


def test_the_tool(run_tool, photo_folder, tmp_path):
    """A recipe on a folder of photographs by two options."""
    done = run_tool(TOOL, 'configs/selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', '--samples', 3, '--epochs',
                    3, '--out', tmp_path / 'new/a.png', '--cfg-options', 'data.train.data_source.type=Folder',
                    'data.train.data_source.ann_file=None', f'data.train.data_source.data_prefix={photo_folder}')
    assert f'3 of 24 samples of MultiViewDataset: {tmp_path}/new/a.png' in done.stdout
    width, height = Image.open(tmp_path / 'new/a.png').size
    assert width > 7 * 130 and height > 3 * 130  # seven inches wide, three rows high


@pytest.mark.parametrize('options, message', [
    (['--idx', '3', '1437'], '--idx 1437: the data has the samples 0 to 1436'),
    (['--out', 'a.gif'], '--out must end with .png, got a.gif'),
    (['--data', 'data.val'], "no 'data.val'"),
    (['--cfg-options', 'data.train.prefetch=False', 'data.train.type=RotationPredDataset'], 'data.train'),
])  # yapf: disable
def test_errors(monkeypatch, options, message):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [TOOL, 'configs/demo/simclr_digits.py', *options])
    with pytest.raises(ConfigError, match=message):
        runpy.run_path(str(ROOT / TOOL))['main']()


def test_broken_images_are_left_out(photo_folder, tmp_path, monkeypatch, warnings_of_data):
    (tmp_path / 'a.jpg').write_bytes((photo_folder / 'china/00.jpg').read_bytes())
    (tmp_path / 'b.jpg').write_bytes((photo_folder / 'china/00.jpg').read_bytes()[:300])
    odd = os.fsdecode(b'k\xe4fer\n.jpg')  # names are bytes, and stand under the pictures
    (tmp_path / odd).write_bytes((photo_folder / 'china/00.jpg').read_bytes())
    monkeypatch.chdir(ROOT)
    command = [
        TOOL, 'configs/selfsup/mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_folder.py', '--out',
        f'{tmp_path}/views.png', '--cfg-options', f'data.train.data_source.data_prefix={tmp_path}'
    ]
    main = runpy.run_path(str(ROOT / TOOL))['main']
    for option, error, message in (('--idx=1', ConfigError, '1 of 1 images cannot be read'),
                                   ('--broken=stop', BrokenImageError, f'cannot read the image {tmp_path}/b.jpg')):
        monkeypatch.setattr(sys, 'argv', [*command[:2], option, *command[2:]])
        with pytest.raises(error, match=message):
            main()
    monkeypatch.setattr(sys, 'argv', command)
    main()
    assert (tmp_path / 'views.png').exists()
    assert [f'1 of 3 images cannot be read and are left out: {tmp_path}/b.jpg' in w for w in warnings_of_data] == [True]


def test_patches_and_images_by_name(source):
    """Patches in a grid, an image beside them by its name, labels that the pipeline makes without names of classes."""
    steps = [dict(type='Resize', size=(48, 48)), dict(type='ImageToPatches', num_patches=4)]
    puzzle = [*steps, dict(type='PermutePatches', permutations=20, num_patches=4)]
    dataset = build_dataset(dict(type='SampleDataset', data_source=source, pipeline=puzzle, prefetch=True))
    stored, (block, ) = look_at(dataset, 2, [1], seed=4)
    sample = KeyedDataset(dataset, 4).__getitems__([(1, 2)])[0][0]
    assert np.array_equal(stored.image, dataset.data_source.get_array(2)) and [len(row) for row in block] == [2, 2]
    for tile, patch in zip([*block[0], *block[1]], sample['img']):
        assert np.array_equal(tile.image, patch)
    assert captions(block) == [['', ''], [f'label {sample["label"]}\n18 x 18', '']]

    steps = [dict(type='ImageAndPatches', size=32, patch_size=40), *TENSOR]
    dataset = build_dataset(dict(type='SampleDataset', data_source=source, pipeline=steps))
    _, (block, ) = look_at(dataset, 2)
    assert [len(row) for row in block] == [1, 3, 3, 3]
    assert [row[0] for row in captions(block)] == ['label 0: china\nimage 32 x 32', '', '', 'patches 10 x 10']
    assert block[0][0].image.dtype == np.uint8
    views = [dict(type='Resize', size=(16, 16)), dict(type='Copies', num=3)]
    dataset = build_dataset(dict(type='SampleDataset', data_source=source, pipeline=views, prefetch=True))
    _, (block, ) = look_at(dataset, 2)
    assert [len(row) for row in block] == [3]

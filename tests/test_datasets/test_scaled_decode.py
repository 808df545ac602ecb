"""Images that are decoded at a fraction of their size, because the pipeline looks at no more of them."""
import io

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import DATASOURCES, PIPELINES, BaseDataSource, CompactStrings, build_dataloader, build_dataset
from mmssl.datasets.data_sources import decode_image
from mmssl.datasets.images import ReducedImage
from mmssl.datasets.pipelines import Compose, RandomResizedCrop, Resize, Step, seed_view
from mmssl.datasets.pipelines.compose import least_reduction
from mmssl.datasets.pipelines.resample import resize_part
from mmssl.datasets.pipelines.rng import reseed, rng, seed_sample
from mmssl.utils.config import load_config
from mmssl.utils.errors import BrokenImageError, ConfigError

BASE = 'configs/selfsup/_base_/datasets/imagenet'
LINEAR = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]


def jpeg(img, **options):
    file = io.BytesIO()
    Image.fromarray(img).save(file, 'JPEG', **{'quality': 92, **options})
    return file.getvalue()


def decode(file, reduction, **kwargs):
    return decode_image(file, choose=lambda h, w: reduction, **kwargs)


def difference(a, b):
    return float(np.abs(np.subtract(a, b, dtype=np.float32)).mean())


@pytest.fixture(scope='module')
def folder(photographs, tmp_path_factory):
    """Two photographs of 1281 x 1921 pixels."""
    root = tmp_path_factory.mktemp('large photographs')
    for i, photo in enumerate(photographs):
        Image.fromarray(photo).resize((1921, 1281), Image.Resampling.BICUBIC).save(root / f'{i}.jpg', quality=90)
    return root


@pytest.fixture(autouse=True)
def _leave_the_sample():
    yield
    reseed()


def samples(cfg, folder, scaled_decode, epochs=2, **source):
    """Images of the data set, all views and parts of a view, and the reductions at which files were decoded."""
    source = dict(type='Folder', data_prefix=str(folder), scaled_decode=scaled_decode, **source)
    dataset = build_dataset(dict(cfg, data_source=source))
    reductions, get_reduced = [], dataset.data_source.get_reduced

    def noted(*args):
        img = get_reduced(*args)
        reductions.append(getattr(img, 'reduction', 1))
        return img

    dataset.data_source.get_reduced = noted
    images = []
    for epoch in range(epochs):
        for i in range(len(dataset)):
            seed_sample(0, epoch, i)
            pending = [dataset[i]['img']]
            while pending:
                one = pending.pop(0)
                if isinstance(one, (list, tuple)):
                    pending += one
                elif np.ndim(one) == 3:
                    images.append(one)
    return images, reductions


@pytest.mark.parametrize('name', ['mocov2', 'simclr', 'swav_mcrop-2-6', 'dino_mcrop-2-8', 'mae', 'cae', 'deepcluster'])
def test_views_are_those_of_the_full_decode(name, folder):
    cfg = load_config(f'{BASE}_{name}.py').data.train
    fast, reductions = samples(cfg, folder, None)
    full, whole = samples(cfg, folder, False)
    assert len(fast) == len(full) >= 4 and {one.shape for one in fast} == {one.shape for one in full}
    assert not whole and min(reductions) >= 1 and max(reductions) > 1
    errors = [difference(a, b) for a, b in zip(fast, full)]
    assert 0 < np.mean(errors) < 1.2 and max(errors) < 3


def test_resizing_alone_is_of_the_full_decode_unless_asked(folder):
    cfg = dict(type='SingleViewDataset', pipeline=LINEAR, prefetch=True)
    full, reductions = samples(cfg, folder, None, epochs=1)
    assert reductions == [1, 1] and all(map(np.array_equal, full, samples(cfg, folder, False, epochs=1)[0]))
    fast, reductions = samples(cfg, folder, True, epochs=1)
    assert reductions == [4, 4]
    assert max(difference(a, b) for a, b in zip(fast, full)) < 2


def test_the_reduction_is_the_largest_that_leaves_every_crop_large_enough():
    pipelines = [
        Compose([dict(type='RandomResizedCrop', size=size, scale=scale)])
        for size, scale in ((100, (0.3, 1.0)), (40, (0.05, 0.3)))
    ]
    seen = set()
    for idx in range(60):
        seed_sample(0, 0, idx)
        height, width = 500 + 20 * idx, 1100
        chosen = least_reduction(pipelines, 0, False, height, width)
        sizes = []
        for view, pipeline in enumerate(pipelines):
            seed_sample(0, 0, idx)
            seed_view(view)
            h, w = pipeline.transforms[0].draw(np.empty((height, width, 0)))[2:]
            sizes.append(min(h, w) / pipeline.transforms[0].size[0])
        assert chosen == max(r for r in (1, 2, 4, 8) if r == 1 or min(sizes) >= r)
        seen.add(chosen)
    assert seen == {2, 4, 8}
    seed_sample(0, 0, 0)
    assert least_reduction(pipelines, 0, False, 512, 512) == 1  # small ones are left as they are
    reseed()
    assert least_reduction(pipelines, 0, False, 4000, 4000) == 1  # no sample: the crop could not be drawn again


def test_a_switch_of_another_kind_is_an_error(folder):
    with pytest.raises(ConfigError, match="scaled_decode .*bool.*'never'"):
        build_dataset(
            dict(
                type='SingleViewDataset',
                data_source=dict(type='Folder', data_prefix=str(folder), scaled_decode='never'),
                pipeline=LINEAR))


def waves(height, width):
    """Waves of other lengths in each direction and channel, so that every shift and turn shows."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = [np.sin(x / 11 + 1) + np.sin(y / 17), np.sin((x + y) / 19), np.sin((x - 2 * y) / 37 + 2)]
    return np.stack([127 + 60 * p for p in planes], axis=2).astype(np.uint8)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations_and_odd_sizes_shift_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = jpeg(waves(203, 317), exif=exif, subsampling=0)
    full = decode(file, 1)
    h, w = full.shape[:2]
    assert (h, w) == ((203, 317) if orientation < 5 else (317, 203))
    for reduction in (2, 4):
        reduced = decode(file, reduction)
        assert isinstance(reduced, ReducedImage) and reduced.shape == full.shape
        assert reduced.pixels.shape[:2] == (-(-h // reduction), -(-w // reduction))
        parts = (0, 0, h, w), (3, 1, 150, 130), (h - 151, w - 133, 150, 130)
        errors, of_a_shift = ([
            difference(resize_part(img, *part, 30, 20), resize_part(full, *part, 30, 20)) for part in parts
        ] for img in (reduced, np.roll(full, 1, (0, 1))))
        assert np.all(np.array(errors) < 0.5 * np.array(of_a_shift)), (errors, of_a_shift)


@pytest.mark.parametrize('options', [dict(), dict(progressive=True), dict(subsampling=0), dict(mode='CMYK')])
@pytest.mark.parametrize('color_type', ['color', 'grayscale', 'unchanged'])
def test_kinds_of_jpeg(photographs, options, color_type):
    options = dict(options)
    photo, mode = photographs[0], options.pop('mode', 'RGB')
    file = io.BytesIO()
    Image.fromarray(photo).convert(mode).save(file, 'JPEG', quality=92, **options)
    for data in (file.getvalue(), jpeg(photo[..., 0])):
        for order in ('rgb', 'bgr'):
            kinds = dict(color_type=color_type, channel_order=order)
            full, reduced = decode(data, 1, **kinds), decode(data, 4, **kinds)
            assert reduced.shape == full.shape and reduced.reduction == 4
            whole = 0, 0, *full.shape[:2], 60, 80
            found = resize_part(reduced, *whole)
            assert found.shape == (60, 80, full.shape[2]) and difference(found, resize_part(full, *whole)) < 2


def test_other_files_are_decoded_in_full(photographs):
    for kind in ('PNG', 'WEBP', 'BMP'):
        file = io.BytesIO()
        Image.fromarray(photographs[0]).save(file, kind)
        assert isinstance(decode(file.getvalue(), 4), np.ndarray)


def test_a_truncated_file_is_broken(photographs):
    file = jpeg(photographs[0])
    for mode in ('RGB', 'CMYK'):
        whole = io.BytesIO()
        Image.fromarray(photographs[0]).convert(mode).save(whole, 'JPEG')
        file = whole.getvalue()
        for reduction in (2, 8):
            with pytest.raises(BrokenImageError, match='a.jpg'):
                decode(file[:len(file) // 2], reduction, filename='a.jpg')


@PIPELINES.register_module()
class OwnCropOfScaledTest(RandomResizedCrop):
    """A user's step that reads pixels where ours does not."""

    def apply(self, img, top, left, h, w):
        return super().apply(img[:, ::-1], top, left, h, w)


@DATASOURCES.register_module()
class OwnSourceOfScaledTest(BaseDataSource):
    """A user's source that reads images its own way."""

    def load_annotations(self):
        return CompactStrings(['0.jpg', '1.jpg']), np.array([0, 1], np.int32)

    def get_img(self, idx):
        return super().get_img(idx).convert('L').convert('RGB')


def test_steps_and_sources_of_users_get_the_whole_image(folder):
    crop = dict(type='RandomResizedCrop', size=64)
    own = dict(type='MultiViewDataset', num_views=[1], pipelines=[[dict(crop, type='OwnCropOfScaledTest')]])
    images, reductions = samples(own, folder, True, epochs=1)
    assert reductions == [1, 1]
    assert all(map(np.array_equal, images, samples(own, folder, False, epochs=1)[0]))
    source = OwnSourceOfScaledTest(str(folder))
    assert isinstance(source.get_reduced(0, lambda h, w: 8), np.ndarray)
    # steps that come first and look at all pixels
    for first in (dict(type='RandomAppliedTrans', transforms=[crop]), dict(type='RandomCrop', size=64),
                  dict(type='ColorJitter', brightness=0.4), dict(crop, interpolation='nearest')):
        assert samples(dict(type='SingleViewDataset', pipeline=[first, crop]), folder, True, epochs=1)[1] == [1, 1]


def test_flips_before_the_crop(folder):
    pipeline = [
        dict(type='RandomHorizontalFlip', p=1.0),
        dict(type='RandomVerticalFlip', p=0.5),
        dict(type='RandomResizedCrop', size=64)
    ]
    cfg = dict(type='SingleViewDataset', pipeline=pipeline)
    fast, reductions = samples(cfg, folder, None, epochs=4)
    full, _ = samples(cfg, folder, False, epochs=4)
    assert min(reductions) > 1 and max(difference(a, b) for a, b in zip(fast, full)) < 2
    for reduction in (2, 4, 8):  # odd sizes
        img = waves(203, 317)
        file = jpeg(img, subsampling=0)
        for axis in (0, 1):
            found = resize_part(decode(file, reduction).flipped(axis), 0, 0, 203, 317, 20, 32)
            assert difference(found, resize_part(np.flip(img, axis), 0, 0, 203, 317, 20, 32)) < 2.5


def test_samples_of_several_images_draw_the_same(folder):
    crop = dict(type='RandomResizedCrop', size=96)
    multi = dict(type='MultiViewDataset', num_views=[3], pipelines=[[crop]])
    copies = dict(type='SampleDataset', pipeline=[dict(type='Copies', num=3), crop])
    images, reductions = samples(copies, folder, None)
    expected, same = samples(multi, folder, None)
    assert reductions == same and max(same) > 1 and all(map(np.array_equal, images, expected))
    # two sources side by side: each image has views of its own
    source = dict(type='Folder', data_prefix=str(folder))
    views = {}
    for scaled in (None, False):
        one = dict(source, scaled_decode=scaled)
        dataset = build_dataset(dict(copies, data_source=dict(a=one, b=one)))
        seed_sample(0, 0, 1)
        views[scaled] = dataset[1]['img']
    for name in 'ab':
        errors = [difference(a, b) for a, b in zip(views[None][name], views[False][name])]
        assert 0 < np.mean(errors) < 1.5


def test_views_depend_on_no_worker(folder):
    cfg = dict(
        type='MultiViewDataset',
        data_source=dict(type='Folder', data_prefix=str(folder)),
        num_views=[2],
        pipelines=[[dict(type='RandomResizedCrop', size=64),
                    dict(type='RandomHorizontalFlip')]],
        prefetch=True)
    batches = []
    for workers in (0, 2):
        loader = build_dataloader(
            build_dataset(cfg), samples_per_gpu=1, workers_per_gpu=workers, dist=False, seed=3, shuffle=False)
        batches.append([view.numpy() for batch in loader for view in batch['img']])
    assert len(batches[0]) == 4 and all(map(np.array_equal, *batches))
    # as the data set gives them by hand
    dataset = build_dataset(cfg)
    seed_sample(3, 0, 1)
    assert all(np.array_equal(a, b[0].transpose(1, 2, 0)) for a, b in zip(dataset[1]['img'], batches[0][2:]))


def test_resize_keeps_its_exact_result_on_arrays(photographs):
    step = Resize(100)
    assert step.looks_at(photographs[0]) == (427, 640, 100, 149)
    assert np.array_equal(step(photographs[0]), resize_part(photographs[0], 0, 0, 427, 640, 100, 149))


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'lanczos'])
def test_the_finest_detail_that_a_photograph_has(photographs, interpolation):
    """Photographs pixel by pixel, at each reduction that a crop allows: no detail is missing as in enlarged ones."""
    errors = []
    for photo in photographs:
        file = jpeg(photo)
        full = decode(file, 1)
        for reduction, size in ((2, 100), (4, 50), (8, 25)):
            reduced, crop = decode(file, reduction), RandomResizedCrop(size, (0.2, 1), interpolation=interpolation)
            for idx in range(25):
                seed_sample(0, 0, idx)
                params = crop.draw(full)
                if min(params[2:]) >= reduction * size:
                    errors.append(difference(crop.apply(reduced, *params), crop.apply(full, *params)))
    assert len(errors) > 80 and np.mean(errors) < 1.6 and max(errors) < 4


def test_parts_that_begin_within_a_pixel_are_as_pillow_resizes_them(photographs):
    """The kernels that begin at whole pixels only make some pixels more than are wanted."""
    random, methods = np.random.default_rng(0), dict(bilinear=2, bicubic=3, lanczos=1)
    height, width = 4 * 427 - 3, 4 * 640 - 2
    for channels in (3, 1):
        pixels = photographs[0][..., :channels]
        img = ReducedImage(pixels, 4, height, width)
        for name, method in methods.items():
            errors = []
            for _ in range(12):
                h, w = int(random.integers(600, height)), int(random.integers(600, width))
                top, left = int(random.integers(0, height - h)), int(random.integers(0, width - w))
                found = resize_part(img, top, left, h, w, 100, 90, name)
                expected = Image.fromarray(pixels.squeeze()).resize((90, 100), method, img.box(top, left, h, w))
                expected = np.reshape(expected, found.shape)
                assert found.dtype == np.uint8 and found.flags.c_contiguous
                errors.append(difference(found, expected))
            assert np.mean(errors) < 0.4 and max(errors) < 0.9


@PIPELINES.register_module()
class LeftOrRightHalfOfScaledTest(Step):
    """The step that docs/en/pipelines.md shows."""

    def draw(self, img):
        return int(rng().random() * 2) * (img.shape[1] // 2),

    def apply(self, img, left):
        return resize_part(img, 0, left, img.shape[0], img.shape[1] // 2, 224, 112)

    def looks_at(self, img, left):
        return img.shape[0], img.shape[1] // 2, 224, 112


def test_a_step_of_users_may_tell_what_it_looks_at(folder):
    cfg = dict(type='SingleViewDataset', pipeline=[dict(type='LeftOrRightHalfOfScaledTest')])
    fast, reductions = samples(cfg, folder, None)
    full, _ = samples(cfg, folder, False)
    assert reductions == [4] * 4 and max(difference(a, b) for a, b in zip(fast, full)) < 2


@DATASOURCES.register_module()
class OwnBytesOfScaledTest(OwnSourceOfScaledTest):
    """A source that keeps files elsewhere, as shards do: it overrides get_bytes alone."""
    get_img = BaseDataSource.get_img

    def get_bytes(self, idx):
        return super().get_bytes(1 - idx)


def test_sources_that_keep_files_elsewhere_are_reduced_too(folder):
    source = OwnBytesOfScaledTest(str(folder))
    own, other = source.get_reduced(0, lambda h, w: 4), decode((folder / '1.jpg').read_bytes(), 4)
    assert own.reduction == 4 and np.array_equal(own.pixels, other.pixels)

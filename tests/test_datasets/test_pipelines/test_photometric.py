"""Grey levels against Pillow and torchvision pixel by pixel, Lab against its definition, rotations without borders."""
import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image, ImageEnhance, ImageOps

from mmssl.datasets import PrefetchLoader, SampleDataset
from mmssl.datasets.pipelines import (Compose, RandomAdjustSharpness, RandomAutocontrast, RandomPhotometric,
                                      RandomPosterize, RandomSolarize, ToLab, seed_sample)
from mmssl.datasets.pipelines.geometry import turn
from mmssl.datasets.pipelines.photometric import adjust_sharpness, autocontrast, posterize, solarize
from mmssl.datasets.pipelines.rng import reseed
from mmssl.utils.errors import ConfigError

LAB_MEAN, LAB_STD = [0.5, 128 / 255, 128 / 255], [0.01, 1 / 255, 1 / 255]


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


@pytest.fixture(params=[1, 3])
def images(request, photographs):
    """A photograph, noise, a dull image, one of one colour, and one that is smaller than a filter."""
    rng = np.random.default_rng(0)
    found = [
        photographs[0],
        rng.integers(0, 256, (37, 50, 3)),
        rng.integers(90, 120, (20, 31, 3)),
        np.full((9, 9, 3), 77),
        rng.integers(0, 256, (2, 5, 3))
    ]
    return [np.ascontiguousarray(img[..., :request.param].astype(np.uint8)) for img in found]


def pillow(img):
    return Image.fromarray(img[..., 0] if img.shape[2] == 1 else img)


def same(img, reference):
    reference = np.asarray(reference)
    np.testing.assert_array_equal(img, reference if reference.ndim == 3 else reference[..., None])


def test_equal_pillow(images):
    for img in images:
        before = img.copy()
        for bits in range(1, 9):
            same(posterize(img, bits), ImageOps.posterize(pillow(img), bits))
        for threshold in (0, 1, 77, 128, 255, 256):
            same(solarize(img, threshold), ImageOps.solarize(pillow(img), threshold))
        for factor in (0, 0.1, 0.37, 0.5, 0.9, 1, 1.3, 1.9, 4):
            same(adjust_sharpness(img, factor), ImageEnhance.Sharpness(pillow(img)).enhance(factor))
        same(autocontrast(img), ImageOps.autocontrast(pillow(img)))
        np.testing.assert_array_equal(img, before)


@pytest.mark.parametrize('name, args', [('RandomPosterize', dict(bits=3)), ('RandomSolarize', dict(threshold=99)),
                                        ('RandomAdjustSharpness', dict(sharpness_factor=1.7)),
                                        ('RandomAutocontrast', {})])
def test_names_and_arguments_are_those_of_torchvision(photographs, name, args):
    step, = Compose([dict(type=name, p=1.0, **args)]).transforms
    assert type(step).__module__.startswith('mmssl.')
    same(step(photographs[1]), getattr(T, name)(p=1.0, **args)(pillow(photographs[1])))
    assert isinstance(step(pillow(photographs[1])), Image.Image)
    same(Compose([dict(type=name, p=0.0, **args)])(photographs[1]), photographs[1])
    alpha = np.dstack([photographs[1], photographs[0][..., :1]])
    np.testing.assert_array_equal(step(alpha), np.dstack([step(photographs[1]), alpha[..., 3]]))


@pytest.mark.parametrize('step, values', [(RandomPosterize([4, 8], 1), range(4, 9)),
                                          (RandomSolarize((0, 256), 1), range(257))])
def test_both_ends_of_a_range_are_drawn(step, values):
    drawn = [step.draw(None)[0] for _ in range(60 * len(values))]
    counts = np.bincount(drawn, minlength=values[-1] + 1)[list(values)]
    assert counts.sum() == len(drawn) and counts.min() > 60 - 6 * 8 and counts.max() < 60 + 6 * 8


def test_sharpness_is_drawn_evenly():
    drawn = np.array([RandomAdjustSharpness([0.1, 1.9], 1).draw(None)[0] for _ in range(4000)])
    assert 0.1 <= drawn.min() < 0.12 and 1.88 < drawn.max() <= 1.9 and abs(drawn.mean() - 1) < 0.04
    assert abs(np.mean([RandomAutocontrast(0.3).draw(None) is not None for _ in range(4000)]) - 0.3) < 0.03


def test_photometric_is_the_four_steps_in_order(photographs):
    img, step = photographs[0], RandomPhotometric()
    assert step.p == 0.66
    seed_sample(1, 2, 3)
    done = [step.draw(img) is not None for _ in range(3000)]
    assert abs(np.mean(done) - 0.66) < 0.035
    given = RandomPhotometric(1.0, bits=5, sharpness_factor=1.6, threshold=150)
    reference = ImageOps.posterize(pillow(img), 5)
    reference = ImageOps.solarize(ImageEnhance.Sharpness(reference).enhance(1.6), 150)
    same(given(img), ImageOps.autocontrast(reference))
    seed_sample(1, 2, 4)
    views = {step(img).tobytes() for _ in range(12)}
    assert img.tobytes() in views and len(views) > 5


@pytest.mark.parametrize('step, message', [
    (dict(type='RandomPosterize', bits=9), 'bits must be a whole number within 0..8'),
    (dict(type='RandomPosterize', bits=[4, 2]), r'or a range \(from, to\) of such, got \[4, 2\]'),
    (dict(type='RandomSolarize', threshold=[0, 300]), 'within 0..256'),
    (dict(type='RandomAdjustSharpness', sharpness_factor=-1), 'sharpness_factor must be a number within 0..inf'),
    (dict(type='RandomPhotometric', p=1.2), 'probability p must be within 0..1, got 1.2'),
    (dict(type='ToLab', channels='Lx'), "letters of 'Lab', got 'Lx'"),
])
def test_faults_are_told(step, message):
    with pytest.raises(ConfigError, match=message):
        Compose([step])


# ---- Lab


def lab(rgb):
    """CIE Lab of sRGB by its definition, in float64: D65, 2 degrees."""
    v = rgb / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055)**2.4)
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])
    t = linear @ matrix.T / matrix.sum(1)
    f = np.where(t > (6 / 29)**3, np.cbrt(t), t / (3 * (6 / 29)**2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_lab_against_its_definition(photographs):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    for img in (photographs[0], noise):
        got = ToLab()(img)
        # what VISSL does
        np.testing.assert_array_equal(got, cv2.cvtColor(img[..., ::-1], cv2.COLOR_BGR2LAB))
        values = (got / 255. - LAB_MEAN) / LAB_STD + [50, 0, 0]
        error = np.abs(values - lab(img.astype(float)))
        assert error.max() < 3 and error.mean() < 0.4  # of 8 bits: L has steps of 0.39, a and b of 1


def test_lab_on_its_way_to_the_trunk(photographs):
    """The two ways of normalisation give the same: L -50..50, a and b in their own units."""
    img = np.ascontiguousarray(photographs[0][:32, :40])
    uint8 = Compose([dict(type='ToLab')])(img)
    loader = PrefetchLoader((), LAB_MEAN, LAB_STD, device='cpu')
    device = loader.prepare(dict(img=torch.from_numpy(uint8).permute(2, 0, 1)[None]))['img'][0]
    steps = [dict(type='ToLab'), dict(type='ToTensor'), dict(type='Normalize', mean=LAB_MEAN, std=LAB_STD)]
    torch.testing.assert_close(Compose(steps)(img), device, atol=1e-4, rtol=0)
    bgr = cv2.cvtColor(np.ascontiguousarray(img[..., ::-1]), cv2.COLOR_BGR2LAB).astype(np.float64)
    reference = np.stack([bgr[..., 0] * (100 / 255) - 50, bgr[..., 1] - 128, bgr[..., 2] - 128])
    np.testing.assert_allclose(device.numpy(), reference, atol=1e-4)
    for channels in ('L', 'ab'):
        places = ['Lab'.index(c) for c in channels]
        np.testing.assert_array_equal(ToLab(channels)(img), uint8[..., places])
    with pytest.raises(ValueError, match='ToLab takes images of'):
        ToLab()(img[..., :1])


def test_lab_from_the_source_to_colorizations_trunk(photo_folder):
    """From files over the loader and the device to AlexNet, which sees L within -50..50 and nothing else."""
    from mmssl.datasets import SingleViewDataset, build_dataloader
    from mmssl.models import AlexNet
    data = SingleViewDataset(
        dict(type='ImageNet', data_prefix=str(photo_folder)),
        [dict(type='Resize', size=(64, 64)), dict(type='ToLab')],
        prefetch=True)
    loader = build_dataloader(data, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=0, shuffle=False)
    img = next(iter(PrefetchLoader(loader, LAB_MEAN, LAB_STD, device='cpu')))['img']
    reference = np.stack([lab(Compose([dict(type='Resize', size=(64, 64))])(data.stored(i)) / 1.) for i in range(4)])
    assert np.abs(img.numpy().transpose(0, 2, 3, 1) + [50, 0, 0] - reference).mean() < 0.4
    net = AlexNet('colorization', out_indices=(1, )).eval()
    alone = img * torch.tensor([1., 0, 0]).view(3, 1, 1)
    torch.testing.assert_close(net(img)[0], net(alone)[0])
    assert net(img)[0].abs().sum() > 0 and -50 <= img[:, 0].min() < 0 < img[:, 0].max() <= 50


# ---- rotations


@pytest.mark.parametrize('num_angles', [3, 5, 8])
def test_no_border_tells_the_angle(num_angles):
    """VISSL turned before it cropped, and black bars told the angle; here nothing from outside comes in."""
    white = np.full((60, 60, 3), 255, np.uint8)
    for number in range(num_angles):
        assert (turn(white, number, num_angles) == 255).all()
    # the cut is the same for all angles: a disc in the middle keeps its size
    y, x = np.mgrid[:121, :121] - 60
    disc = np.where(x**2 + y**2 < 30**2, 255, 0).astype(np.uint8)[..., None]
    sizes = [turn(disc, number, num_angles).mean() for number in range(num_angles)]
    assert max(sizes) - min(sizes) < 0.01 * min(sizes) and sizes[0] > disc.mean()


def test_turns_are_counter_clockwise(photographs):
    img = np.ascontiguousarray(photographs[0][:101, :101])
    for number in range(4):
        np.testing.assert_array_equal(turn(img, number), np.rot90(img, number))
        np.testing.assert_array_equal(turn(img, number % 2, 2), np.rot90(img, 2 * (number % 2)))
        # an eighth of a turn twice: the same part of the image, a quarter of a turn further
        difference = turn(img, 2 * number, 8).astype(int) - np.rot90(turn(img, 0, 8), number)
        assert np.abs(difference).mean() < 0.2
    pixel = np.zeros((101, 101, 1), np.uint8)
    pixel[48:53, 68:73] = 255  # to the right of the middle, so an eighth of a turn takes it to the upper right
    rows, columns = np.nonzero(turn(pixel, 1, 8)[..., 0])
    np.testing.assert_allclose([rows.mean() - 50, columns.mean() - 50], [-20, 20], atol=0.5)


def test_one_random_rotation_an_image(photo_folder):
    data = SampleDataset(
        dict(type='ImageNet', data_prefix=str(photo_folder)),
        [dict(type='CenterCrop', size=40), dict(type='RandomAngle')],
        prefetch=True)
    plain, labels = Compose([dict(type='CenterCrop', size=40)]), []
    for epoch in range(20):
        for idx in range(24):
            seed_sample(0, epoch, idx)
            sample = data[idx]
            labels.append(sample['rot_label'])
            if epoch == 0:
                np.testing.assert_array_equal(sample['img'], np.rot90(plain(data.stored(idx)), sample['rot_label']))
    counts = np.bincount(labels)
    assert len(counts) == 4 and np.abs(counts - 120).max() < 4 * np.sqrt(480 * 3 / 16)
    oblong = SampleDataset(dict(type='ImageNet', data_prefix=str(photo_folder)), [dict(type='RandomAngle')])
    with pytest.raises(ConfigError, match='RandomAngle: only square images .* got 200 x 260 .* behind a crop'):
        oblong[0]

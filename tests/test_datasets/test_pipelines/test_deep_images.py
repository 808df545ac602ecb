# Copyright (c) mmssl contributors. All rights reserved.
"""Steps on images of any depth and number of channels, against references in float64."""
import colorsys
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmssl.datasets import PIPELINES
from mmssl.datasets.pipelines import Compose, color, photometric, seed_sample
from mmssl.datasets.pipelines.base import RandomStep, Step
from mmssl.datasets.pipelines.blur import GaussianBlur, blur_kernel
from mmssl.datasets.pipelines.geometry import RandomErasing, RandomRotation, turn
from mmssl.datasets.pipelines.resample import resize
from mmssl.datasets.pipelines.rng import reseed
from mmssl.utils.errors import ConfigError

KINDS = ('uint8', 'uint16', 'float32')


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


def image(kind, channels=13, height=37, width=45, seed=0):
    """Smooth noise; that of float32 has values below 0, and channels are of different ranges."""
    noise = np.random.default_rng(seed).random((height, width, channels))
    noise = ndimage.gaussian_filter(noise, (1, 1, 0))
    noise = (noise - noise.min()) / np.ptp(noise)
    if kind == 'uint8':
        return (noise * 255).astype(np.uint8)
    scale = np.linspace(0.2, 1, channels)
    return (noise * 10000 * scale).astype(np.uint16) if kind == 'uint16' else ((noise - 0.3) * 100 * scale).astype('f4')


def rounding(kind):
    """What a value of the type may be off a reference in float64, of which the cast to uint16 is a half."""
    return dict(uint8=1.01, uint16=0.51, float32=2e-4)[kind]


def weights(size_in, size_out, method):
    """size_out x size_in weights of an anti-aliased filter, in the definition that Pillow and torch share."""
    scale = max(size_in / size_out, 1)
    support = scale * dict(bilinear=1, bicubic=2, lanczos=3, box=0.5)[method]
    rows = np.zeros((size_out, size_in))
    for i in range(size_out):
        center = (i + 0.5) * size_in / size_out
        x = np.abs((np.arange(size_in) + 0.5 - center) / scale)
        first, last = max(0, int(center - support + 0.5)), min(size_in, int(center + support + 0.5))
        values = dict(
            bilinear=np.clip(1 - x, 0, None),
            bicubic=np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2,
                                                                          0)),
            lanczos=np.where(x < 3,
                             np.sinc(x) * np.sinc(x / 3), 0),
            box=(x <= 0.5).astype(float))[method]
        rows[i, first:last] = values[first:last]
    return rows / rows.sum(1, keepdims=True)


def reference_resize(img, height, width, method):
    rows, columns = weights(img.shape[0], height, method), weights(img.shape[1], width, method)
    return np.einsum('yh,xw,hwc->yxc', rows, columns, img.astype(np.float64))


@pytest.mark.parametrize('kind', KINDS[1:])
@pytest.mark.parametrize('channels', [1, 3, 13])
@pytest.mark.parametrize('method, size', [('bilinear', (20, 31)), ('bilinear', (60, 71)), ('bicubic', (20, 71)),
                                          ('lanczos', (20, 31))])
def test_resize(kind, channels, method, size):
    img = image(kind, channels)
    out = resize(img, *size, method)
    expected = reference_resize(img, *size, method)
    if kind == 'uint16':
        expected = expected.clip(0, 65535)
    assert out.dtype == img.dtype and out.shape == (*size, channels)
    np.testing.assert_allclose(out, expected, atol=rounding(kind))


@pytest.mark.parametrize('kind', KINDS[1:])
def test_resize_by_the_methods_of_pillow(kind):
    img = image(kind, 6, 36, 44)
    np.testing.assert_allclose(
        resize(img, 18, 11, 'box'), img.reshape(18, 2, 11, 4, 6).mean((1, 3)), atol=rounding(kind))
    np.testing.assert_array_equal(resize(img, 72, 88, 'nearest'), img.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize('method, size', [('bilinear', (20, 31)), ('bilinear', (60, 71)), ('bicubic', (20, 31))])
def test_missing_pixels_have_no_weight(method, size):
    img = image('float32', 3)
    img[:12, :20, 0] = np.nan
    img[5, 30] = np.nan
    valid = ~np.isnan(img)
    total = reference_resize(valid, *size, method)
    expected = reference_resize(np.where(valid, img, 0), *size, method) / np.where(total > 1e-9, total, 1)
    out = resize(img, *size, method)
    sure = total > 0.3
    np.testing.assert_allclose(out[sure], expected[sure], rtol=1e-4, atol=1e-3)
    assert np.isnan(out[total < 1e-9]).all() and np.isnan(out[:3, :3, 0]).all() and not np.isnan(out[-5:]).any()
    np.testing.assert_array_equal(resize(np.full((8, 8, 2), np.nan, 'f4'), 4, 4), np.full((4, 4, 2), np.nan, 'f4'))


@pytest.mark.parametrize('kind', KINDS[1:])
def test_blur(kind):
    img, kernel = image(kind), blur_kernel(1.5)
    expected = img.astype(np.float64)
    for axis in (0, 1):
        expected = ndimage.convolve1d(expected, kernel, axis=axis, mode='nearest')
    np.testing.assert_allclose(GaussianBlur(0, 2).apply(img, 1.5), expected, atol=rounding(kind))


def test_blur_and_sharpness_pass_missing_pixels_over():
    img = image('float32', 5)
    img[10:20, 10:20, 2] = np.nan
    valid = ~np.isnan(img)
    kernel = blur_kernel(1.5)
    total, expected = valid.astype(np.float64), np.where(valid, img, 0).astype(np.float64)
    for axis in (0, 1):
        total, expected = (ndimage.convolve1d(a, kernel, axis=axis, mode='nearest') for a in (total, expected))
    out = GaussianBlur(0, 2).apply(img, 1.5)
    np.testing.assert_array_equal(np.isnan(out), ~valid)
    np.testing.assert_allclose(out[valid], (expected / np.maximum(total, 1e-9))[valid], atol=1e-4)
    sharp = photometric.adjust_sharpness(img, 1.7)
    np.testing.assert_array_equal(np.isnan(sharp), ~valid)
    np.testing.assert_allclose(sharp[..., 0], photometric.adjust_sharpness(img[..., :1], 1.7)[..., 0], rtol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('channels', [3, 13])
def test_rotation(kind, channels):
    img, fill = image(kind, channels), list(range(channels))
    out = RandomRotation(45, 'bilinear', fill=fill).apply(img, 30)
    h, w, _ = img.shape
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    matrix = np.array([[cos, sin], [-sin, cos]])  # rows and columns of the result to those of the image
    middle = (np.array([h, w]) - 1) / 2
    inner = np.s_[6:-6, 12:-12]  # at the border scipy has other rules
    for c in range(channels):
        expected = ndimage.affine_transform(
            img[..., c].astype(np.float64), matrix, middle - matrix @ middle, order=1, cval=fill[c])
        # OpenCV counts 32nds of a pixel
        np.testing.assert_allclose(out[inner][..., c], expected[inner], atol=np.ptp(img[..., c].astype(float)) / 16)
        assert out[0, 0, c] == fill[c]


def test_rotation_passes_missing_pixels_over():
    img = np.full((21, 21, 5), 7, np.float32)
    img[8:12, 8:12] = np.nan
    out = RandomRotation(45, 'bilinear', fill=7).apply(img, 30)
    assert 8 <= np.isnan(out[..., 0]).sum() <= 20 and np.allclose(out[~np.isnan(out)], 7)
    assert np.nanmax(np.abs(turn(img, 1, 8) - 7)) < 1e-5
    with pytest.raises(ConfigError, match='fill has 3 values, the image 5 channels'):
        RandomRotation(45, fill=[1, 2, 3]).apply(img, 30)


@pytest.mark.parametrize('kind', KINDS[1:])
def test_brightness_and_contrast(kind):
    img = image(kind)
    top = (0, 65535) if kind == 'uint16' else (-np.inf, np.inf)
    real, mean = img.astype(np.float64), img.mean((0, 1), np.float64)
    for factor in (0, 0.6, 1.4, 20):
        np.testing.assert_allclose(
            color.adjust_brightness(img, factor), (real * factor).clip(*top), atol=rounding(kind), rtol=1e-6)
        np.testing.assert_allclose(
            color.adjust_contrast(img, factor), ((real - mean) * factor + mean).clip(*top),
            atol=rounding(kind), rtol=1e-5)  # yapf: disable


def test_contrast_with_missing_pixels():
    img = image('float32', 4)
    img[:9, :, 1], img[..., 2] = np.nan, np.nan
    out = color.adjust_contrast(img, 0)
    np.testing.assert_allclose(out[20, 20, [0, 1, 3]], np.nanmean(img[..., [0, 1, 3]], (0, 1), np.float64), rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(img))


@pytest.mark.parametrize('kind, most', [('uint16', 65535), ('float32', 1)])
def test_colours_of_rgb_images_of_any_depth(photographs, kind, most):
    img = photographs[1][100:110, 200:212]
    img = img.astype(np.uint16) * 257 if kind == 'uint16' else img / np.float32(255)
    real = img.astype(np.float64) / most
    luma = (real @ [0.299, 0.587, 0.114])[..., None]
    close = dict(atol=1e-4, rtol=0)
    np.testing.assert_allclose(color.grey(img) / most, luma.repeat(3, 2), **close)
    np.testing.assert_allclose(color.adjust_saturation(img, 0.4).astype(float) / most, 0.4 * real + 0.6 * luma, **close)
    turned = [[colorsys.hsv_to_rgb((h + 0.2) % 1, s, v) for h, s, v in (colorsys.rgb_to_hsv(*p) for p in row)]
              for row in real.tolist()]  # yapf: disable
    np.testing.assert_allclose(color.adjust_hue(img, 0.2) / most, turned, atol=1e-3)


def test_depth_does_not_matter_to_what_is_drawn():
    """The same crop, flip and factors of 8 bits, and of the same values in 16 bits and floats."""
    small = image('uint8', 5)
    pipeline = Compose([
        dict(type='RandomResizedCrop', size=24),
        dict(type='ColorJitter', brightness=0.4),
        dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2., p=1.),
        dict(type='RandomHorizontalFlip')
    ])
    views = []
    for img in (small, small.astype(np.uint16) * 100, small.astype(np.float32) * 100):
        seed_sample(3, 1, 4)
        views.append(pipeline(img).astype(np.float64))
    assert np.abs(views[1] - views[2]).max() < 3
    kept = views[0] < 255
    assert np.abs(views[0] * 100 - views[2])[kept].max() < 300


def test_erasing():
    for kind in KINDS[1:]:
        img = image(kind, 6)
        noise = RandomErasing(1., value='random').apply(img, 3, 4, 20, 20)
        low, high = img.min((0, 1)), img.max((0, 1))
        part = noise[3:23, 4:24]
        assert (part >= low).all() and (part <= high).all() and noise.dtype == img.dtype
        assert (part.max((0, 1)) - part.min((0, 1)) > 0.8 * (high - low)).all()
        assert (RandomErasing(1., value=list(range(6))).apply(img, 3, 4, 20, 20)[4, 5] == np.arange(6)).all()


def test_to_tensor_and_normalize():
    img = image('uint16', 5)
    with pytest.raises(ConfigError, match='an image of uint16 does not say which value is 1: set max_value'):
        Compose([dict(type='ToTensor')])(img)
    mean, std = [1000.] * 5, [300.] * 5
    out = Compose([dict(type='ToTensor', max_value=1), dict(type='Normalize', mean=mean, std=std)])(img)
    np.testing.assert_allclose(out.numpy(), (img.transpose(2, 0, 1) - 1000.) / 300, rtol=1e-5, atol=1e-6)
    holes = image('float32', 5)
    holes[:4, :, 2] = np.nan
    out = Compose([dict(type='ToTensor', max_value=1), dict(type='Normalize', mean=mean, std=std)])(holes)
    assert (out[2, :4] == 0).all() and not out.isnan().any()
    out = Compose([dict(type='ToTensor', max_value=51)])(image('uint8', 2))
    assert torch.equal(out, torch.from_numpy(image('uint8', 2)).permute(2, 0, 1) / 51)


# ---- which step takes what: the table of the page on pipelines is what the steps do

ARGUMENTS = dict(
    CenterCrop=dict(size=8),
    ColorJitter=dict(saturation=0.4, hue=0.1),
    GaussianBlur=dict(sigma_min=1., sigma_max=2., p=1.),
    Grayscale={},
    Normalize=dict(mean=[0.], std=[1.]),
    Pad=dict(padding=2),
    RandomAdjustSharpness=dict(sharpness_factor=2, p=1.),
    RandomAppliedTrans=dict(transforms=[], p=1.),
    RandomCrop=dict(size=8),
    RandomPosterize=dict(bits=4, p=1.),
    RandomResizedCrop=dict(size=8),
    RandomResizedCropAndInterpolationWithTwoPic=dict(size=8, second_size=4),
    RandomRotation=dict(degrees=30),
    RandomSolarize=dict(threshold=128, p=1.),
    Resize=dict(size=8),
    ResizeLongerSide=dict(size=8),
    ToTensor=dict(max_value=1))


def steps_on_images():
    names = [
        name for name, step in PIPELINES.module_dict.items()
        if step.__module__.startswith('mmssl.') and isinstance(step, type) and issubclass(step, Step)
    ]
    return sorted(name for name in names if 'Mask' not in name and name != 'Normalize')


def taken(name, options):
    """(type, channels) that a step takes, with all of its parts."""
    found = set()
    for dtype in KINDS:
        for channels in (1, 3, 4, 13):
            try:
                out = PIPELINES.get(name)(**options)(image(dtype, channels))
            except ConfigError as error:
                assert 'takes images of' in str(error), error
                continue
            first = out[0] if isinstance(out, tuple) else out
            assert name == 'ToTensor' or first.dtype == dtype
            found.add((dtype, channels))
    return found


def documented():
    """Names of steps, and what is said of them behind the name, to the (type, channels) that the page gives them."""
    page = (Path(__file__).parents[3] / 'docs/en/pipelines.md').read_text(encoding='utf-8')
    table = page.split('## Images of more depth and channels')[1].split('\n## ')[0]
    rows = {}
    for names, *cells in re.findall(r'^\| (`.*) \| (.*) \| (.*) \| (.*) \| .*\|$', table, re.MULTILINE):
        found = {(kind, c) for kind, cell in zip(KINDS, cells) for c in channels_of(cell)}
        rows.update(dict.fromkeys(re.findall(r'`(\w+)(?:\([^`]*)?`((?: with [a-z ]+)?)', names), found))
    return rows


def channels_of(cell):
    if cell in ('any', '-'):
        return (1, 3, 4, 13) if cell == 'any' else ()
    return tuple(map(int, re.findall(r'\d+', cell)))


def test_the_page_on_pipelines_says_which_step_takes_what():
    rows = documented()
    assert {name for name, _ in rows} == set(steps_on_images())
    for name, more in rows:
        kind = PIPELINES.get(name)
        certain = dict(p=1.) if issubclass(kind, RandomStep) or name == 'RandomErasing' else {}
        options = dict(brightness=0.4, contrast=0.4) if 'brightness' in more else ARGUMENTS.get(name, certain)
        assert taken(name, options) == rows[name, more], name + more


def test_steps_of_others(photographs):
    deep = image('uint16', 3)
    with pytest.raises(
            ConfigError, match='RandomInvert takes Pillow images, which have 8 bits; got uint16 of the shape'):
        Compose([dict(type='RandomInvert', p=1.)])(deep)
    seen = []
    Compose([lambda img: seen.append(img) or img])(deep)
    np.testing.assert_array_equal(seen[0], deep)  # a user's own step gets the array

    class Brighter(Step):

        def apply(self, img):
            return np.minimum(img, 250) + np.uint8(5)

    with pytest.raises(ConfigError, match=r'Brighter takes images of uint8, got uint16 of the shape \(37, 45, 3\)'):
        Compose([Brighter()])(deep)

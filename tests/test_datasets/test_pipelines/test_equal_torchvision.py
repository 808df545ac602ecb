"""Each native step against torchvision's on Pillow images, with the same parameters, on two photographs."""
import numpy as np
import pytest
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode

import mmssl.datasets.pipelines as P
from mmssl.datasets.pipelines.color import (_turn_in_rgb, adjust_brightness, adjust_contrast, adjust_hue,
                                            adjust_saturation)
from mmssl.datasets.pipelines.resample import resize

CROPS = [(10, 20, 350, 450), (100, 200, 224, 300), (50, 60, 180, 400), (200, 300, 90, 110), (0, 0, 427, 640)]


def pillow(img):
    return Image.fromarray(img[..., 0] if img.shape[2] == 1 else img)


def difference(ours, theirs):
    """Mean and largest difference in grey levels."""
    theirs = np.asarray(theirs)
    theirs = theirs[..., None] if theirs.ndim == 2 else theirs
    assert ours.dtype == np.uint8 and ours.shape == theirs.shape
    distance = np.abs(ours.astype(int) - theirs.astype(int))
    return distance.mean(), distance.max()


@pytest.fixture(params=['china', 'flower', 'grey', 'alpha'])
def photo(request, photographs):
    """RGB, RGB, one channel, four channels."""
    china, flower = photographs
    grey = np.array(Image.fromarray(flower).convert('L'))[..., None]
    return dict(china=china, flower=flower, grey=grey, alpha=np.dstack([china, grey]))[request.param]


@pytest.mark.parametrize('crop', CROPS)
@pytest.mark.parametrize('interpolation, limit', [(2, 0.05), (3, 0.1), ('lanczos', 0.1), ('nearest', 0), ('box', 0.01)])
def test_resized_crop(photo, crop, interpolation, limit):
    step = P.RandomResizedCrop(224, interpolation=interpolation)
    mode = step.interpolation
    theirs = pillow(photo).crop((crop[1], crop[0], crop[1] + crop[3], crop[0] + crop[2]))
    # Pillow resizes RGBA with colours weighted by alpha; our fourth channel is a channel like the others
    if photo.shape[2] == 4 and mode != 'nearest':
        bands = [b.resize((224, 224), Image.Resampling[mode.upper()]) for b in theirs.split()]
        theirs = np.dstack([np.asarray(b) for b in bands])
    else:
        theirs = TF.resize(theirs, [224, 224], InterpolationMode(mode))
    # both axes enlarged: OpenCV's weights have fewer bits
    limit = 0.25 if interpolation == 2 and max(crop[2:]) < 224 else limit
    assert difference(step.apply(photo, *crop), theirs)[0] <= limit


@pytest.mark.parametrize('size', [(28, 28), (20, 40), (40, 20), (9, 9)])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('channels', [1, 3])
def test_resize_tiny(size, interpolation, channels):
    img = np.random.default_rng(0).integers(0, 256, (28, 24, channels), np.uint8)
    theirs = pillow(img).resize(size[::-1], Image.Resampling[interpolation.upper()])
    assert difference(resize(img, *size, interpolation), theirs)[0] < 0.4


def test_resize_many_channels(photographs):
    img = np.dstack(photographs)
    ours = resize(img, 100, 130, 'bicubic')
    assert np.array_equal(ours, np.dstack([resize(p, 100, 130, 'bicubic') for p in photographs]))


@pytest.mark.parametrize('kwargs', [
    dict(size=100),
    dict(size=[300]),
    dict(size=(120, 50)),
    dict(size=700, interpolation=InterpolationMode.BICUBIC),
    dict(size=250, max_size=300),
])
def test_resize(photo, kwargs):
    if photo.shape[2] == 4:
        pytest.skip('Pillow weights colours with alpha')
    ours, theirs = P.Resize(**kwargs)(photo), T.Resize(**kwargs)(pillow(photo))
    assert difference(ours, theirs)[0] < 0.2
    turned = np.ascontiguousarray(photo.transpose(1, 0, 2))
    assert difference(P.Resize(**kwargs)(turned), T.Resize(**kwargs)(pillow(turned)))[0] < 0.2


@pytest.mark.parametrize('size', [224, (100, 301), (500, 300), 701])
def test_center_crop(photo, size):
    assert difference(P.CenterCrop(size)(photo), T.CenterCrop(size)(pillow(photo)))[1] == 0


@pytest.mark.parametrize('padding', [3, (2, 5), (1, 2, 3, 4)])
@pytest.mark.parametrize('mode', ['constant', 'edge', 'reflect', 'symmetric'])
def test_pad(photo, padding, mode):
    ours = P.Pad(padding, fill=7, padding_mode=mode)(photo)
    fill = (7, ) * photo.shape[2] if photo.shape[2] > 1 else 7
    assert difference(ours, T.Pad(padding, fill=fill, padding_mode=mode)(pillow(photo)))[1] == 0


def test_random_crop(photo):
    assert difference(P.RandomCrop(100).apply(photo, 20, 30), TF.crop(pillow(photo), 20, 30, 100, 100))[1] == 0
    # the size that is left is the size that torchvision's padding leaves
    same = P.RandomCrop((427 + 8, 640 + 4), padding=(2, 4))(photo)
    assert np.array_equal(same, P.Pad((2, 4))(photo))
    needed = P.RandomCrop(700, pad_if_needed=True)(photo)
    assert needed.shape == (700, 700, photo.shape[2])
    with pytest.raises(ValueError, match='700 x 700.*427 x 640'):
        P.RandomCrop(700)(photo)


def test_flips(photo):
    assert np.array_equal(P.RandomHorizontalFlip(1)(photo), photo[:, ::-1])
    assert np.array_equal(P.RandomVerticalFlip(1)(photo), photo[::-1])


@pytest.mark.parametrize('angle', [-170, -30.5, 0, 12, 45, 90, 180])
@pytest.mark.parametrize('kwargs', [
    dict(interpolation='nearest'),
    dict(interpolation='bilinear'),
    dict(interpolation='bilinear', expand=True),
    dict(interpolation='bicubic', center=(100, 50)),
])
def test_rotation(photo, angle, kwargs):
    ours = P.RandomRotation(180, fill=9, **kwargs).apply(photo, angle)
    options = {**kwargs, 'interpolation': InterpolationMode(kwargs['interpolation'])}
    if angle == 90 and not kwargs.get('expand'):
        pytest.skip('the middles of pixels come to lie on edges of pixels, and either neighbour is right')
    bands = [TF.rotate(Image.fromarray(photo[..., i]), angle, fill=9, **options) for i in range(photo.shape[2])]
    assert difference(ours, np.dstack([np.asarray(b) for b in bands]))[0] < 1.5


@pytest.mark.parametrize('ours, theirs, factors, limit', [
    (adjust_brightness, TF.adjust_brightness, (0, 0.6, 1, 1.3, 1.8), 0.05),
    (adjust_contrast, TF.adjust_contrast, (0, 0.6, 1, 1.3, 1.8), 0.2),
    (adjust_saturation, TF.adjust_saturation, (0, 0.6, 1, 1.3, 1.8), 0.6),
    (adjust_hue, TF.adjust_hue, (-0.5, -0.1, -0.02, 0, 0.02, 0.05, 0.1, 0.4), 0.5),
])
def test_colour_adjustments(photo, ours, theirs, factors, limit):
    for factor in factors:
        if photo.shape[2] == 4:  # the fourth channel stays as it is
            result = np.dstack([np.asarray(theirs(pillow(photo[..., :3]), factor)), photo[..., 3]])
        else:
            result = theirs(pillow(photo), factor)
        before = photo.copy()
        assert difference(ours(photo, factor), result)[0] <= limit, factor
        assert np.array_equal(photo, before)


def test_color_jitter_order_and_sum(photographs):
    """All four adjustments, in each of torchvision's orders."""
    import itertools
    step = P.ColorJitter(0.4, 0.4, 0.4, 0.1)
    adjust = TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue
    # factors up to 1 are folded into one pass with what comes behind them
    for factors, limit in (((1.3, 0.7, 1.35, 0.08), 1.5), ((0.8, 0.7, 0.6, 0.08), 0.7), ((0.7, 1.3, 0.9, -0.05), 0.9)):
        for photo in photographs:
            photo = photo[:224, :224]
            for order in itertools.permutations(range(4)):
                theirs = pillow(photo)
                for i in order:
                    theirs = adjust[i](theirs, factors[i])
                assert difference(step.apply(photo, order, *factors), theirs)[0] < limit


def test_grey_keeps_channels_and_rgb_order(photo):
    """Pitfall "BGR for RGB": red, green and blue weigh what they weigh in Pillow."""
    colours = photo[..., :3] if photo.shape[2] == 4 else photo
    theirs = T.Grayscale(photo.shape[2] if photo.shape[2] == 1 else 3)(pillow(colours))
    ours = P.RandomGrayscale(p=1)(photo)
    assert difference(np.ascontiguousarray(ours[..., :colours.shape[2]]), theirs)[1] <= 1
    if photo.shape[2] == 4:
        assert np.array_equal(ours[..., 3], photo[..., 3])
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert P.RandomGrayscale(p=1)(red)[0, 0].tolist() == [60, 60, 60]
    assert P.Grayscale(1)(red).shape == (8, 8, 1) and P.Grayscale(3)(red).shape == (8, 8, 3)


@pytest.mark.parametrize('sigma', [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1, 1.3, 1.6, 1.8, 2, 3, 5])
def test_blur(photo, sigma):
    """Pitfall "blur sigma units": sigma is what Pillow calls the radius of its GaussianBlur, in pixels."""
    ours = P.GaussianBlur(0.1, 2.0, p=1).apply(photo, sigma)
    theirs = np.asarray(pillow(photo).filter(ImageFilter.GaussianBlur(sigma))).reshape(photo.shape)
    assert difference(ours, theirs)[0] < 0.5
    # Pillow continues the border anew in each of three passes
    inside = slice(16, -16), slice(16, -16)
    assert difference(ours[inside], theirs[inside])[1] <= 6
    assert abs(ours.mean() - photo.mean()) < 0.3


@pytest.mark.parametrize('threshold', [0, 1, 128, 255, 256])
def test_solarization(photo, threshold):
    ours = P.Solarization(threshold, p=1)(photo)
    assert np.array_equal(ours, np.where(photo < threshold, photo, 255 - photo))
    if photo.shape[2] == 3:
        assert np.array_equal(ours, np.asarray(TF.solarize(pillow(photo), threshold)))


def test_lighting_equals_its_formula(photographs):
    step = P.Lighting(0.1)
    colour = np.array([0.05, -0.02, 0.01])
    ours = step.apply(photographs[0], colour)
    exact = np.clip(photographs[0] + 255 * colour, 0, 255)
    assert np.abs(ours - exact).max() < 0.51
    tensor = P.ToTensor()(photographs[0])
    assert torch.allclose(step.apply(tensor, colour), tensor + torch.tensor(colour).float().view(3, 1, 1))


def test_to_tensor_and_normalize_are_exact(photo):
    ours, theirs = P.ToTensor()(photo), T.ToTensor()(pillow(photo))
    assert ours.dtype == torch.float32 and ours.is_contiguous() and torch.equal(ours, theirs)
    mean, std = [0.4] * photo.shape[2], [0.2] * photo.shape[2]
    assert torch.equal(P.Normalize(mean, std)(ours), T.Normalize(mean, std)(theirs))
    pair = P.Normalize(mean, std)(P.ToTensor()((photo, photo[:10])))
    assert torch.equal(pair[1], P.Normalize(mean, std)(ours)[:, :10])


def test_erasing(photographs):
    img = photographs[0]
    ours = P.RandomErasing(1, value=(1, 2, 3)).apply(img, 5, 6, 20, 30)
    theirs = TF.erase(
        torch.from_numpy(img.copy()).permute(2, 0, 1), 5, 6, 20, 30,
        torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1))
    assert np.array_equal(ours, theirs.permute(1, 2, 0).numpy())
    tensor = P.ToTensor()(img)
    ours = P.RandomErasing(1, value=0.5).apply(tensor, 5, 6, 20, 30)
    assert torch.equal(ours, TF.erase(tensor, 5, 6, 20, 30, torch.tensor(0.5)))
    noise = P.RandomErasing(1, value='random').apply(tensor, 0, 0, 200, 200)[:, :200, :200]
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_two_sizes_of_one_crop(photographs):
    step = P.RandomResizedCropAndInterpolationWithTwoPic(224, 112, interpolation='bicubic')
    first, second = step.apply(photographs[0], *CROPS[0])
    part = pillow(photographs[0]).crop((20, 10, 470, 360))
    assert difference(first, part.resize((224, 224), Image.Resampling.BICUBIC))[0] < 0.1
    assert difference(second, part.resize((112, 112), Image.Resampling.LANCZOS))[0] < 0.1
    assert P.RandomResizedCropAndInterpolationWithTwoPic(96)(photographs[0]).shape == (96, 96, 3)
    choices = {
        P.RandomResizedCropAndInterpolationWithTwoPic(96, interpolation='random').draw(photographs[0])[-1]
        for _ in range(30)
    }
    assert choices == {'bilinear', 'bicubic'}


@pytest.mark.parametrize('turns', np.linspace(-0.5, 0.5, 31))
def test_hue_is_turned_exactly(turns):
    """On random colours, against the textbook's HSV in floats."""
    import colorsys
    img = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    exact = np.empty(img.shape)
    for place in np.ndindex(img.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*img[place] / 255)
        exact[place] = colorsys.hsv_to_rgb((h + turns) % 1, s, v)
    assert np.abs(_turn_in_rgb(img, turns) - 255 * exact).max() < 0.51


def test_hue_of_small_and_large_images_agrees(photographs):
    for photo in photographs:
        small, large = adjust_hue(photo[:90, :90], 0.1), adjust_hue(photo[:300, :300], 0.1)[:90, :90]
        assert difference(np.ascontiguousarray(large), small)[0] < 1

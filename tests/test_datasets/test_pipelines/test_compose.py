"""Native and foreign steps in one pipeline."""
import numpy as np
import pytest
import torch
import torchvision.transforms as T
from mmcv.utils import build_from_cfg
from PIL import Image

from mmssl.datasets.builder import PIPELINES
from mmssl.datasets.pipelines import Compose, Step, seed_sample, seed_view
from mmssl.datasets.pipelines.rng import reseed
from mmssl.utils.errors import ConfigError

MOCOV2 = [
    dict(type='RandomResizedCrop', size=64, scale=(0.2, 1.)),
    dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=0.5),
    dict(type='RandomHorizontalFlip'),
]
ALL_STEPS = MOCOV2 + [
    dict(type='Solarization', p=0.5),
    dict(type='RandomRotation', degrees=20),
    dict(type='RandomVerticalFlip'),
    dict(type='Pad', padding=2),
    dict(type='RandomCrop', size=60, padding=3),
    dict(type='Resize', size=50),
    dict(type='CenterCrop', size=44),
    dict(type='RandomErasing', p=0.5),
]


@pytest.fixture(autouse=True)
def _leave_no_key():
    yield
    reseed()


def run(pipeline, img, *key, view=0):
    seed_sample(*key)
    seed_view(view)
    return pipeline(img)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_all_native_steps_keep_the_form(photographs, channels):
    img = np.ascontiguousarray(np.dstack(photographs)[..., :channels])
    before = img.copy()
    pipeline = Compose(ALL_STEPS)
    for i in range(20):
        view = run(pipeline, img, 0, 0, i)
        assert view.dtype == np.uint8 and view.shape == (44, 44, channels) and view.flags.c_contiguous
    assert np.array_equal(img, before)  # further views are made of the same image


@pytest.mark.parametrize('channels', [2, 6])
def test_other_numbers_of_channels(photographs, channels):
    img = np.ascontiguousarray(np.dstack(photographs)[..., :channels])
    geometry = [s for s in ALL_STEPS if s['type'] not in ('RandomAppliedTrans', 'RandomGrayscale')]
    pipeline = Compose([dict(type='ColorJitter', brightness=0.4, contrast=0.4), *geometry])
    assert run(pipeline, img, 0, 0, 0).shape == (44, 44, channels)
    with pytest.raises(ValueError, match=f'1, 3 or 4 channels, got {channels}'):
        Compose([dict(type='RandomGrayscale', p=1.)])(img)


def test_views_are_keyed(photographs):
    """The same key makes the same view; another seed, epoch, sample or view another one."""
    pipeline = Compose(MOCOV2)
    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    views = [run(pipeline, photographs[0], *k[:3], view=k[3]).tobytes() for k in keys]
    assert len(set(views)) == len(keys)
    again = [run(Compose(MOCOV2), photographs[0], *k[:3], view=k[3]).tobytes() for k in reversed(keys)]
    assert again[::-1] == views


@PIPELINES.register_module(force=True)
class PillowStep:
    """As users write them."""

    def __call__(self, img):
        assert isinstance(img, Image.Image)
        self.mode = img.mode
        return img.transpose(Image.Transpose.ROTATE_90)


@pytest.mark.parametrize('channels, mode', [(1, 'L'), (3, 'RGB'), (4, 'RGBA')])
def test_conversion_is_inserted_in_both_directions(photographs, channels, mode):
    img = np.ascontiguousarray(np.dstack(photographs)[..., :channels])
    pipeline = Compose(
        [dict(type='RandomHorizontalFlip', p=1.),
         dict(type='PillowStep'),
         dict(type='RandomVerticalFlip', p=1.)])
    out = pipeline(img)
    assert pipeline.transforms[1].mode == mode
    assert np.array_equal(out, np.rot90(img[:, ::-1])[::-1]) and out.flags.c_contiguous
    assert np.array_equal(Compose([dict(type='PillowStep')])(img), np.rot90(img))
    with pytest.raises(ValueError, match='1, 3 or 4 channels, the image has 2'):
        Compose([dict(type='PillowStep')])(img[..., [0, 0]])


def test_pillow_image_comes_in(photographs):
    """RGB stays RGB (pitfall "BGR for RGB")."""
    out = Compose([dict(type='CenterCrop', size=100)])(Image.fromarray(photographs[0]))
    assert np.array_equal(out, np.asarray(T.CenterCrop(100)(Image.fromarray(photographs[0]))))
    nothing = Compose([])(Image.fromarray(photographs[0]))
    assert np.array_equal(nothing, photographs[0])


def test_torchvision_steps_by_name(photographs):
    """Names that only torchvision has are found; those that both have are native."""
    pipeline = Compose([dict(type='RandomInvert', p=1.), dict(type='RandomPosterize', bits=2, p=1.)])
    out = pipeline(photographs[0])
    assert np.array_equal(out, (255 - photographs[0]) & 0b11000000)
    assert isinstance(Compose([dict(type='Resize', size=8)]).transforms[0], Step)
    with pytest.raises(ConfigError, match="did you mean 'RandomGrayscale'"):
        Compose([dict(type='RandomGreyscale')])
    with pytest.raises(ConfigError, match=r"did you mean 'size'.*\(at 1 in the config\)"):
        Compose([dict(type='RandomInvert'), dict(type='CenterCrop', sise=3)])
    with pytest.raises(ConfigError, match='no "type"'):
        Compose([dict(size=3)])
    with pytest.raises(ConfigError, match='list of steps'):
        Compose(dict(type='Resize', size=3))


def test_tensor_steps(photographs):
    """A tensor of torchvision's ToTensor goes on to native steps on tensors, and ours to torchvision's."""
    norm = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    ours = Compose([dict(type='ToTensor'), dict(type='Normalize', **norm)])(photographs[0])
    theirs = T.Compose([T.ToTensor(), T.Normalize(**norm)])(Image.fromarray(photographs[0]))
    assert torch.equal(ours, theirs)
    assert torch.equal(Compose([T.ToTensor(), dict(type='Normalize', **norm)])(photographs[0]), theirs)
    assert torch.equal(Compose([dict(type='ToTensor'), T.Normalize(**norm)])(photographs[0]), theirs)
    lit = Compose([dict(type='ToTensor'), dict(type='Lighting'), dict(type='RandomErasing', p=1.)])(photographs[0])
    assert lit.shape == (3, 427, 640)
    with pytest.raises(TypeError, match='ToTensor'):
        Compose([dict(type='Normalize', **norm)])(photographs[0])


def test_tuples_pass(photographs):
    """A step may return several images, or an image and a mask."""

    def add_mask(img):
        assert isinstance(img, (Image.Image, torch.Tensor))
        return img, np.ones((4, 4))

    img, mask = Compose([dict(type='CenterCrop', size=64), add_mask])(photographs[0])
    assert img.shape == (64, 64, 3) and mask.shape == (4, 4)
    two = dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=32, second_size=16)
    first, second = Compose([two])(photographs[0])
    assert first.shape == (32, 32, 3) and second.shape == (16, 16, 3) and second.flags.c_contiguous
    first, second = Compose([two, dict(type='ToTensor')])(photographs[0])
    assert first.shape == (3, 32, 32) and second.shape == (3, 16, 16)


def test_nested_steps(photographs):
    inner = dict(type='RandomAppliedTrans', transforms=[dict(type='PillowStep')], p=1.)
    assert np.array_equal(Compose([inner])(photographs[0]), np.rot90(photographs[0]))
    with pytest.raises(ConfigError, match=r'at 0.transforms.0 in the config'):
        Compose([dict(type='RandomAppliedTrans', transforms=[dict(type='Nothing')])])


def test_repr_names_steps_and_arguments():
    text = repr(Compose(MOCOV2))
    assert 'GaussianBlur' in text and 'sigma_max=2.0' in text and 'scale=(0.2, 1.0)' in text


OTHER_STEPS = [
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    dict(type='Grayscale', num_output_channels=3),
    dict(type='Lighting'),
    dict(type='RandomResizedCropAndInterpolationWithTwoPic', size=32, second_size=16),
    dict(type='ResizeLongerSide', size=40),
    dict(type='ToTensor'),
    dict(type='SimMIMMaskGenerator'),
    dict(type='BEiTMaskGenerator', input_size=14, num_masking_patches=75),
    dict(type='MaskFeatMaskGenerator'),
    dict(type='RandomPosterize', bits=[1, 4]),
    dict(type='RandomSolarize', threshold=[50, 200]),
    dict(type='RandomAdjustSharpness', sharpness_factor=[0.1, 1.9]),
    dict(type='RandomAutocontrast'),
    dict(type='RandomPhotometric'),
    dict(type='ToLab'),
]


def test_every_step_takes_a_pillow_image_and_gives_one_back(photographs):
    """A step called by itself, or from another Compose, does to a Pillow image what it does to an array."""
    names = {step['type'] for step in ALL_STEPS + OTHER_STEPS}
    ours = {n for n, s in PIPELINES.module_dict.items() if issubclass(s, Step) and s.__module__.startswith('mmssl')}
    assert names == ours - {'Normalize'}  # it takes tensors
    for mode, channels in (('RGB', 3), ('L', 1), ('RGBA', 4)):
        img = np.ascontiguousarray(np.dstack(photographs)[..., :channels])
        pillow = Image.fromarray(img[..., 0] if mode == 'L' else img)
        assert pillow.mode == mode
        for cfg in ALL_STEPS + OTHER_STEPS:
            if mode != 'RGB' and cfg['type'] in ('Lighting', 'ToLab') or mode == 'RGBA' and cfg['type'] == 'Grayscale':
                continue  # of colours only, and three channels come out
            step = build_from_cfg(cfg, PIPELINES)
            for draw in range(3):
                expected = run(step, img, 0, 0, draw)
                got = run(T.Compose([step]), pillow, 0, 0, draw)
                parts = (expected, got) if isinstance(expected, tuple) else ([expected], [got])
                for a, b in zip(*parts, strict=True):
                    kind = Image.Image if isinstance(a, np.ndarray) and a.dtype == np.uint8 else type(a)
                    assert isinstance(b, kind), cfg
                    np.testing.assert_array_equal(np.asarray(a).squeeze(), np.asarray(b).squeeze(), err_msg=str(cfg))


@pytest.mark.parametrize('mode', ['1', 'P', 'LA', 'CMYK', 'I;16', 'F'])
def test_pillow_images_of_other_modes(photographs, mode):
    """What Pillow itself makes of them is the reference; grey values of more bits are scaled, not cut off."""
    photo = Image.fromarray(photographs[0])
    if mode in ('I;16', 'F'):
        grey = np.asarray(photo.convert('L'))
        img = Image.fromarray(grey.astype(np.uint16) * 257 if mode == 'I;16' else grey / np.float32(255))
        reference = grey
    else:
        img = photo.convert(mode)
        reference = np.asarray(img.convert({'1': 'L', 'LA': 'RGBA'}.get(mode, 'RGB')))
    out = PIPELINES.build(dict(type='RandomHorizontalFlip', p=1.))(img)
    np.testing.assert_array_equal(np.asarray(out), reference[:, ::-1])

"""Parameters are drawn as torchvision draws them, and probabilities hold."""
import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image
from scipy.stats import chisquare, ks_2samp, kstest

import mmssl.datasets.pipelines as P

SAMPLES = 3000
SMALL = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def _keyed():
    P.seed_sample(0, 0, 0)
    yield
    from mmssl.datasets.pipelines.rng import reseed
    reseed()


def same_distribution(ours, theirs):
    assert ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize('shape', [(375, 500), (500, 120), (100, 600)])
@pytest.mark.parametrize('scale', [(0.08, 1.), (0.2, 1.)])
def test_resized_crop(shape, scale):
    """Pitfall: MoCo v2's scale is (0.2, 1), and it is the one that is used."""
    img = np.zeros((*shape, 3), np.uint8)
    theirs_step = T.RandomResizedCrop(224, scale)
    ours = np.array([P.RandomResizedCrop(224, scale).draw(img) for _ in range(SAMPLES)])
    theirs = np.array([theirs_step.get_params(Image.fromarray(img), scale, (3 / 4, 4 / 3)) for _ in range(SAMPLES)])
    for a, b in zip(ours.T, theirs.T):  # top, left, height, width
        same_distribution(a, b)
    same_distribution(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    same_distribution(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2])
    if shape == (375, 500):
        area = ours[:, 2] * ours[:, 3] / (375 * 500)
        assert scale[0] - 0.01 < area.min() < scale[0] + 0.02


def test_color_jitter():
    ranges = dict(brightness=0.4, contrast=(0.5, 0.8), saturation=1.5, hue=0.1)
    theirs_step = T.ColorJitter(**ranges)
    ours = [P.ColorJitter(**ranges).draw(SMALL) for _ in range(SAMPLES)]
    theirs = [
        T.ColorJitter.get_params(theirs_step.brightness, theirs_step.contrast, theirs_step.saturation, theirs_step.hue)
        for _ in range(SAMPLES)
    ]
    for i in range(1, 5):
        same_distribution([p[i] for p in ours], [p[i] for p in theirs])
    orders = np.unique([p[0] for p in ours], axis=0, return_counts=True)[1]
    assert len(orders) == 24 and chisquare(orders).pvalue > 1e-3
    assert P.ColorJitter(0.4).draw(SMALL)[2:] == (None, None, None)


def test_random_crop_and_rotation_are_uniform():
    img = np.zeros((50, 70, 3), np.uint8)
    places = np.array([P.RandomCrop(32).draw(img) for _ in range(SAMPLES)])
    for axis, places_there in enumerate((19, 39)):
        counts = np.bincount(places[:, axis], minlength=places_there)
        assert len(counts) == places_there and chisquare(counts).pvalue > 1e-3
    angles = [P.RandomRotation((-20, 50)).draw(img)[0] for _ in range(SAMPLES)]
    assert kstest(angles, 'uniform', args=(-20, 70)).pvalue > 1e-3


def test_blur_sigma_and_lighting():
    drawn = [P.GaussianBlur(0.1, 2.0, p=0.5).draw(SMALL) for _ in range(SAMPLES)]
    sigmas = [d[0] for d in drawn if d]
    assert abs(len(sigmas) / SAMPLES - 0.5) < 0.04
    assert kstest(sigmas, 'uniform', args=(0.1, 1.9)).pvalue > 1e-3
    colours = np.array([P.Lighting(0.1).draw(SMALL)[0] for _ in range(SAMPLES)])
    vectors = P.Lighting.EIGENVECTORS
    cov = vectors @ np.diag((0.1 * P.Lighting.EIGENVALUES)**2) @ vectors.T
    assert np.allclose(np.cov(colours.T), cov, atol=0.1 * cov.max())


def test_erasing():
    img = torch.zeros(3, 60, 80)
    ours = [P.RandomErasing(0.4).draw(img) for _ in range(SAMPLES)]
    rate = sum(p is not None for p in ours) / SAMPLES
    assert abs(rate - 0.4) < 0.04
    theirs = [T.RandomErasing.get_params(img, (0.02, 0.33), (0.3, 3.3), [0]) for _ in range(SAMPLES)]
    ours = np.array([p for p in ours if p])
    for i, a in enumerate(ours.T):
        same_distribution(a, [p[i] for p in theirs])
    assert P.RandomErasing(1).draw(np.zeros((60, 80, 3), np.uint8)) is not None


STEPS = dict(
    RandomHorizontalFlip=dict(),
    RandomVerticalFlip=dict(),
    RandomGrayscale=dict(),
    GaussianBlur=dict(sigma_min=1, sigma_max=2),
    Solarization=dict(threshold=128),
    RandomAppliedTrans=dict(transforms=[dict(type='Solarization', p=1.)]),
    RandomErasing=dict(value=300 % 256),
)


@pytest.mark.parametrize('name', STEPS)
@pytest.mark.parametrize('p', [0., 0.1, 0.8, 1.])
def test_probability_holds(name, p):
    """Pitfall "a transform's probability silently dropped"."""
    step = P.Compose([dict(type=name, p=p, **STEPS[name])])
    changed = np.mean([not np.array_equal(step(SMALL), SMALL) for _ in range(1000)])
    assert changed == p if p in (0, 1) else abs(changed - p) < 0.05
    with pytest.raises(ValueError, match='within 0..1'):
        P.Compose([dict(type=name, p=1.5, **STEPS[name])])


def test_wrong_arguments():
    for cls, kwargs in [(P.ColorJitter, dict(brightness=-1)), (P.ColorJitter, dict(hue=0.6)),
                        (P.RandomResizedCrop, dict(size=0)), (P.RandomResizedCrop, dict(size=(1, 2, 3))),
                        (P.RandomResizedCrop, dict(size=8, scale=(1, 0.2))),
                        (P.Resize, dict(size=8, interpolation='bilinaer')), (P.Resize, dict(size=(8, 9), max_size=10)),
                        (P.GaussianBlur, dict(sigma_min=2, sigma_max=1)), (P.Solarization, dict(threshold=300)),
                        (P.Pad, dict(padding=(1, 2, 3))), (P.Normalize, dict(mean=[0.5], std=[0])),
                        (P.Grayscale, dict(num_output_channels=2)), (P.RandomErasing, dict(value='noise')),
                        (P.RandomRotation, dict(degrees=-3))]:
        with pytest.raises(ValueError):
            cls(**kwargs)

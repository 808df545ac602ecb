"""HOG against a loop over pixels and against scikit-image."""
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmssl.models import HOGLayerC, hog_of_patches
from mmssl.models.utils.hog_layer import orientation_histograms
from mmssl.utils.errors import ConfigError


def naive_hog(img, nbins, pool, window):
    """Pixel by pixel: Sobel gradients, the angle modulo half a turn, a Gaussian weight, one histogram a cell."""
    channels, height, width = img.shape
    padded = np.pad(img, ((0, 0), (1, 1), (1, 1)), mode='reflect')
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    hist = np.zeros((channels, nbins, height // pool, width // pool))
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                around = padded[c, y:y + 3, x:x + 3]
                gx, gy = (around * sobel).sum(), (around * sobel.T).sum()
                angle = math.degrees(math.atan2(gx, gy)) % 180
                weight = 1
                if window:
                    dy, dx = y % window - (window - 1) / 2, x % window - (window - 1) / 2
                    weight = math.exp(-(dy**2 + dx**2) / 2 / (window // 2)**2)
                hist[c, int(angle // (180 / nbins)) % nbins, y // pool, x // pool] += weight * math.hypot(gx, gy)
    return hist / np.maximum(np.linalg.norm(hist, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize('nbins, pool, window', [(9, 8, 16), (9, 8, 0), (6, 4, 8), (12, 8, 16)])
def test_hog(nbins, pool, window):
    """Of images of any number of channels that are no squares; of integers, whose gradients have no rounding."""
    img = torch.randint(-40, 40, (2, 2, 16, 32)).double()
    img[1, 1, :8] = 3  # a flat cell stays 0
    hog = HOGLayerC(nbins, pool, window)(img)
    for b in range(2):
        torch.testing.assert_close(hog[b], torch.from_numpy(naive_hog(img[b].numpy(), nbins, pool, window)))


def test_known_gradients():
    """A step to the right or left is the middle bin, which has 90 degrees; one up or down is the first."""
    step = (torch.arange(16.) >= 8).float()
    for img, which in ((step, 4), (-step, 4), (step[:, None], 0), (-step[:, None], 0)):
        hog = HOGLayerC(gaussian_window=0)(img.expand(1, 1, 16, 16))
        assert hog.sum((0, 1, 3, 4)).nonzero().tolist() == [[which]]


@pytest.mark.parametrize('nbins', range(1, 40))
def test_opposite_directions_are_one(nbins):
    """Also on the edge of a bin, where edges along the pixels are: rounding takes them to no other."""
    zeros, ones = torch.tensor([[[[0., 0., -0., -0.] * 4]]]), torch.tensor([[[[1., -1.] * 8]]])
    for gx, gy, which in ((zeros, ones, 0), (ones, zeros, nbins // 2)):
        assert orientation_histograms(gx, gy, nbins, 1)[0, 0, which].tolist() == [[1] * 16]
    angles = (torch.arange(nbins).double() + 0.5) / nbins * math.pi
    for sign in (1, -1):
        hist = orientation_histograms(sign * angles.sin().view(1, 1, 1, -1),
                                      sign * angles.cos().view(1, 1, 1, -1), nbins, 1)
        torch.testing.assert_close(hist[0, 0, :, 0], torch.eye(nbins).double())


def test_equals_scikit_image(photographs):
    """On photographs, with its gradients in place of Sobel's; it takes atan2(gy, gx), so that images are transposed.

    Of the edges of nine bins only 0 is an angle between integers, and that one is exact: all cells agree.
    """
    from skimage.feature import hog as skimage_hog
    for photo in photographs:
        img = torch.from_numpy(photo[:424].copy()).permute(2, 0, 1)[None].float()
        padded = F.pad(img, (1, 1, 1, 1), mode='reflect')
        gx = padded[..., 1:-1, :-2] - padded[..., 1:-1, 2:]
        gy = padded[..., :-2, 1:-1] - padded[..., 2:, 1:-1]
        own = F.normalize(orientation_histograms(gx, gy, 9, 8), dim=2)[0]  # C x 9 x 53 x 80
        theirs = np.stack([
            skimage_hog(channel.T.astype(np.float64), 9, (8, 8), (1, 1), block_norm='L2',
                        feature_vector=False)[:, :, 0, 0].T for channel in img[0].numpy()
        ])
        assert own.shape == theirs.shape == (3, 9, 53, 80)
        np.testing.assert_allclose(own.numpy(), theirs, atol=2e-6)


def test_window():
    gkern = HOGLayerC().gkern
    assert HOGLayerC.get_gkern(16, 8).equal(gkern) and gkern.sum().item() == pytest.approx(1)
    expected = math.exp(-((0 - 7.5)**2 + (5 - 7.5)**2) / 2 / 8**2) / math.exp(-(0.5**2 + 0.5**2) / 2 / 8**2)
    assert (gkern[0, 5] / gkern[7, 8]).item() == pytest.approx(expected)
    assert not HOGLayerC().state_dict()


def test_features_of_a_patch():
    """By channel, bin, row and column of cells: 108 numbers for 16 x 16 pixels of three channels."""
    hog = torch.randn(2, 3, 9, 4, 6)
    tokens = hog_of_patches(hog, (2, 3))
    assert tokens.shape == (2, 6, 108)
    for b in range(2):
        for i in range(6):
            top, left = i // 3 * 2, i % 3 * 2
            expected = [
                hog[b, c, k, top + y, left + x] for c in range(3) for k in range(9) for y in range(2) for x in range(2)
            ]
            assert tokens[b, i].equal(torch.stack(expected))
    for grid in ((4, 3), (2, 2), (3, 3), (8, 12)):
        with pytest.raises(ConfigError, match=f'4 x 6 cells .*, which {grid[0]} x {grid[1]} patches cannot share'):
            hog_of_patches(hog, grid)
    assert hog_of_patches(HOGLayerC()(torch.randn(1, 3, 224, 224)), (14, 14)).shape == (1, 196, 108)


def test_images_without_whole_cells_are_named():
    with pytest.raises(ConfigError, match='16 x 24 pixels: .* pool, 8, and gaussian_window, 16'):
        HOGLayerC()(torch.zeros(1, 3, 16, 24))
    assert HOGLayerC(gaussian_window=0)(torch.zeros(1, 3, 16, 24)).equal(torch.zeros(1, 3, 9, 2, 3))


def test_precision_and_compilation():
    """float32 under autocast and of half-precision images; one graph without a look at values on the host."""
    layer, img = HOGLayerC(), torch.rand(2, 3, 32, 32, requires_grad=True)
    plain = layer(img)
    assert not plain.requires_grad
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert layer(img).equal(plain)
    assert layer(img.bfloat16()).equal(layer(img.bfloat16().float()))
    assert torch.compile(layer, backend='eager', fullgraph=True)(img).equal(plain)

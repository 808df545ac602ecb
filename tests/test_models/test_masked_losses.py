"""Losses of masked image modelling against loops over patches and pixels; two processes against one."""
import pytest
import torch
from torch import nn

from mmssl.models import (MAEPretrainHead, MaskFeatPretrainHead, MoCoV3Head, SimMIMHead, masked_l1, masked_mse,
                          patch_statistics, patchify, unpatchify)
from mmssl.utils.errors import ConfigError

PREDICTOR = dict(type='NonLinearNeck', in_channels=6, hid_channels=8, out_channels=6, with_avg_pool=False)
B = 4


def naive_patches(img, size):
    """In each patch pixel by pixel, in each pixel channel by channel."""
    batch, channels, height, width = img.shape
    return torch.stack([
        torch.stack([
            torch.stack(
                [img[b, c, top + y, left + x] for y in range(size) for x in range(size) for c in range(channels)])
            for top in range(0, height, size) for left in range(0, width, size)
        ]) for b in range(batch)
    ])


@pytest.mark.parametrize('shape, size', [((2, 3, 8, 8), 4), ((1, 1, 4, 12), 2), ((2, 5, 9, 3), 3), ((1, 2, 4, 4), 4)])
def test_patchify(shape, size):
    img = torch.randn(shape)
    patches = patchify(img, size)
    assert patches.equal(naive_patches(img, size))
    grid = (shape[2] // size, shape[3] // size)
    assert unpatchify(patches, size, grid).equal(img)
    if grid[0] == grid[1]:
        assert unpatchify(patches, size).equal(img)


def test_what_has_no_whole_number_of_patches_is_named():
    with pytest.raises(ConfigError, match='8 x 10 pixels .* patches of 4 x 4'):
        patchify(torch.zeros(1, 3, 8, 10), 4)
    with pytest.raises(ConfigError, match='6 patches are no grid of 2 x 2'):
        unpatchify(torch.zeros(1, 6, 48), 4)
    with pytest.raises(ConfigError, match='40 values'):
        unpatchify(torch.zeros(1, 4, 40), 4)


def naive_masked_mse(pred, target, mask):
    errors = [((pred[b, i] - target[b, i])**2).sum() / pred.shape[2] for b in range(len(pred))
              for i in range(pred.shape[1]) if mask[b, i]]
    return sum(errors) / len(errors)


def naive_masked_l1(pred, target, mask, size):
    """As SimMIM published it: a mask of pixels, over which the differences are summed."""
    total, masked = 0, 0
    for b in range(len(pred)):
        for y in range(pred.shape[2]):
            for x in range(pred.shape[3]):
                if mask[b, y // size, x // size]:
                    total = total + (pred[b, :, y, x] - target[b, :, y, x]).abs().sum()
                    masked += 1
    return total / (masked + 1e-5) / pred.shape[1]


def uneven_mask(*shape):
    """1 for about a third, another number in each image."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.35


def check_gradient(got, want, *tensors):
    torch.testing.assert_close(got, want)
    for a, b in zip(torch.autograd.grad(got, tensors), torch.autograd.grad(want, tensors)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind', [bool, int, float])
def test_masked_mse(kind):
    pred, target = torch.randn(3, 7, 5).double().requires_grad_(), torch.randn(3, 7, 5).double()
    mask = uneven_mask(3, 7)
    check_gradient(masked_mse(pred, target, mask.to(kind)), naive_masked_mse(pred, target, mask), pred)
    check_gradient(masked_mse(pred, target), nn.functional.mse_loss(pred, target), pred)
    assert masked_mse(pred, target, torch.zeros(3, 7)) == 0


@pytest.mark.parametrize('kind', [bool, int, float])
def test_masked_l1(kind):
    pred, target = torch.randn(2, 3, 8, 12).double().requires_grad_(), torch.randn(2, 3, 8, 12).double()
    mask = uneven_mask(2, 2, 3)
    expected = naive_masked_l1(pred, target, mask, 4)
    loss = masked_l1(pred, target, mask.to(kind))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)  # the published 1e-5 next to some hundred pixels
    torch.testing.assert_close(torch.autograd.grad(loss, pred), torch.autograd.grad(expected, pred), rtol=1e-6, atol=0)
    assert masked_l1(pred, target, torch.zeros(2, 2, 3)) == 0


def test_patch_statistics():
    """Unbiased variance; a flat patch is divided by 1e-3."""
    patches = torch.randn(2, 3, 12).double()
    patches[0, 1] = 4
    mean, std = patch_statistics(patches)
    for b in range(2):
        for i in range(3):
            row = patches[b, i].tolist()
            m = sum(row) / 12
            assert mean[b, i].item() == pytest.approx(m)
            assert std[b, i].item() == pytest.approx((sum((v - m)**2 for v in row) / 11 + 1e-6)**0.5)
    assert std[0, 1].item() == pytest.approx(1e-3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """The losses are those of the values in float32, whatever the networks and autocast compute in."""
    pred, target, mask = torch.randn(2, 4, 48).to(dtype), 300 * torch.randn(2, 4, 48).to(dtype), uneven_mask(2, 4)
    images, other, grid = torch.randn(2, 3, 8, 8).to(dtype), torch.randn(2, 3, 8, 8).to(dtype), uneven_mask(2, 2, 2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mse, l1 = masked_mse(pred, target, mask), masked_l1(images, other, grid)
        mean, std = patch_statistics(target)
    assert mse.dtype == l1.dtype == mean.dtype == std.dtype == torch.float32
    assert mse > 65504  # more than float16 holds
    torch.testing.assert_close(mse, masked_mse(pred.float(), target.float(), mask), rtol=0, atol=0)
    torch.testing.assert_close(l1, masked_l1(images.float(), other.float(), grid), rtol=0, atol=0)
    torch.testing.assert_close(mean, target.float().mean(2, keepdim=True), rtol=1e-6, atol=1e-4)


def cases(rows):
    """Each loss on these images of a batch, with the tensors that gradients are taken of."""
    generator = torch.Generator().manual_seed(1)
    random = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    images, pred, latent, hog, recon = (random(B, 3, 8, 8), random(B, 4, 48), random(B, 5,
                                                                                     6), random(B, 4,
                                                                                                12), random(B, 3, 8, 8))
    base, momentum = random(B, 6), random(B, 6)
    mask = uneven_mask(B, 2, 2)
    assert mask[:2].sum() != mask[2:].sum()
    torch.manual_seed(0)
    maskfeat, moco = MaskFeatPretrainHead(6, 12).double(), MoCoV3Head(PREDICTOR, 0.3).double()
    images, pred, latent, hog, recon, base, momentum, mask = (
        t[rows] for t in (images, pred, latent, hog, recon, base, momentum, mask))
    return {
        'MAE': (MAEPretrainHead(norm_pix=True, patch_size=4), (images, pred, mask.flatten(1)), 1),
        'SimMIM': (SimMIMHead(4, 3), (images, recon, mask), 1),
        'MaskFeat': (maskfeat, (latent, hog, mask), 0),
        'MoCoV3': (moco, (base, momentum), 0),
    }


def run(rows):
    results = {}
    for name, (head, inputs, which) in cases(rows).items():
        inputs[which].requires_grad_()
        loss = head(*inputs)['loss']
        loss.backward()
        results[name] = dict(loss=loss.detach(), grad=inputs[which].grad, weights=[p.grad for p in head.parameters()])
    return results


def one_rank(rank, world_size):
    return run(slice(rank * B // world_size, (rank + 1) * B // world_size))


@pytest.fixture(scope='module')
def ranks(run_distributed):
    return run_distributed(one_rank)


@pytest.mark.parametrize('name', ['MAE', 'SimMIM', 'MaskFeat', 'MoCoV3'])
def test_two_processes_equal_one(ranks, name):
    """Also where the processes mask unlike numbers of patches; MoCo v3 finds the keys of the other process."""
    whole, parts = run(slice(None))[name], [rank[name] for rank in ranks]
    torch.testing.assert_close(sum(part['loss'] for part in parts) / 2, whole['loss'])
    torch.testing.assert_close(torch.cat([part['grad'] for part in parts]) / 2, whole['grad'])
    for i, grad in enumerate(whole['weights']):
        torch.testing.assert_close(sum(part['weights'][i] for part in parts) / 2, grad)

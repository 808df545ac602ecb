"""Batches on the GPU: copied ahead on a stream of their own, normalised and augmented there."""
import numpy as np
import pytest
import torch
from test_device_steps import VIEW, images_of

from mmssl.datasets import MultiViewDataset, PrefetchLoader, build_dataloader
from mmssl.datasets.collators import collate_images
from mmssl.datasets.pipelines import Compose
from mmssl.datasets.pipelines.record import deferring
from mmssl.datasets.pipelines.rng import reseed, seed_sample

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def busy(device):
    """Let the GPU work for some milliseconds, so that the host gets ahead of it."""
    if device.type == 'cuda':
        torch.cuda._sleep(20_000_000)


@pytest.mark.rehearsed
@pytest.mark.parametrize('pinned', [True, False])
@pytest.mark.parametrize('channels_last', [True, False])
def test_batches_are_whole_when_they_are_used(device, pinned, channels_last):
    """The host is ahead: a batch is read when the next ones are copied already, whose memory must be another."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randint(256, (16, 3, 64, 64), dtype=torch.uint8, generator=generator) for _ in range(12)]
    if pinned and device.type == 'cuda':
        batches = [batch.pin_memory() for batch in batches]
    data = [dict(img=[batch, batch.flip(0)], idx=torch.arange(16)) for batch in batches]
    loader = PrefetchLoader(data, MEAN, STD, device=device, channels_last=channels_last)
    sums = []
    for batch in loader:
        busy(device)
        assert all(img.device == device for img in batch['img'])
        sums.append(torch.stack([img.double().sum((1, 2, 3)) for img in batch['img']]))
        del batch  # before the GPU has come to the sum
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    for batch, found in zip(batches, sums, strict=True):
        whole = (batch.double() / 255 - mean) / std
        expected = torch.stack([img.sum((1, 2, 3)) for img in (whole, whole.flip(0))])
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-2)


@pytest.mark.rehearsed
def test_colour_steps_are_those_of_the_worker(device, photographs):
    """Kernels on the batch, on the device, against OpenCV on one image."""
    images = images_of(photographs, 104)
    pipeline, found = Compose(VIEW), []
    for one in (pipeline, deferring(pipeline)):
        found.append([])
        for number, img in enumerate(images):
            seed_sample(0, 0, number)
            found[-1].append(one(img))
    reseed()
    moved = collate_images(found[1]).to(device).done()
    assert moved.device == device
    difference = abs(np.stack(found[0]).astype(int) - moved.cpu().movedim(1, -1).numpy())
    assert difference.mean((1, 2, 3)).max() < 0.3 and difference.max() <= 12


@pytest.mark.parametrize('workers', [pytest.param(0, marks=pytest.mark.rehearsed), 2])
def test_loaders_with_and_without_steps_on_the_device(device, workers, photo_folder):
    """What the trainings see: pinned memory, workers, colour steps here or there."""
    source = dict(type='Folder', data_prefix=str(photo_folder))
    dataset = MultiViewDataset(source, [2], [VIEW], prefetch=True)
    batches = []
    for steps in (False, True):
        loader = build_dataloader(
            dataset, samples_per_gpu=8, workers_per_gpu=workers, dist=False, seed=5, device_steps=steps)
        batches.append(list(PrefetchLoader(loader, MEAN, STD)))
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one['idx'], other['idx'])
        for a, b in zip(one['img'], other['img'], strict=True):
            assert a.device == b.device == device and a.shape == b.shape
            assert (a - b).abs().flatten(1).mean(1).max() < 0.03  # two grey levels

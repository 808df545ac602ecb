"""Data sets that make their labels themselves: clusters, places of patches, rotations."""
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF

from mmssl.apis import train_model
from mmssl.datasets import (DeepClusterDataset, PrefetchLoader, RelativeLocDataset, RotationPredDataset,
                            build_dataloader, build_dataset)
from mmssl.datasets.pipelines.rng import rng, seed_sample
from mmssl.datasets.relative_loc import image_to_patches
from mmssl.datasets.rotation_pred import rotate
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

FORMAT = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.1])]


def digits(num_images=40, **kwargs):
    return dict(type='Digits', num_images=num_images, **kwargs)


# ---- clusters


@pytest.mark.long
@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_persistent_workers_see_new_labels(method):
    """PITFALLS: DeepCluster labels rebound in the main process while persistent workers keep the old ones."""
    data = DeepClusterDataset(digits(), [], prefetch=True)
    loader = build_dataloader(
        data, samples_per_gpu=8, workers_per_gpu=2, dist=False, seed=1, multiprocessing_context=method)
    assert loader.loader.persistent_workers
    workers = []
    for epoch in range(3):
        labels = np.full(40, -1) if epoch == 0 else np.random.default_rng(epoch).integers(0, 1000, 40)
        if epoch:
            data.assign_labels(labels)
        batches = list(loader)
        idx = torch.cat([batch['idx'] for batch in batches])
        got = torch.cat([batch['pseudo_label'] for batch in batches])
        assert sorted(idx.tolist()) == list(range(40)) and got.dtype == torch.int64
        assert got.tolist() == labels[idx].tolist()
        workers.append([worker.pid for worker in loader.loader._iterator._workers])
    assert len(workers[0]) == 2 and workers[0] == workers[1] == workers[2]


def test_assigned_labels():
    data = build_dataset(dict(type='DeepClusterDataset', data_source=digits(5), pipeline=[]))
    assert data[3]['pseudo_label'] == -1 and sorted(data[3]) == ['idx', 'img', 'pseudo_label']
    for labels in ([4, 0, 2, -1, 2**40], np.arange(5, dtype=np.int32), torch.tensor([9, 8, 7, 6, 5])):
        data.assign_labels(labels)
        assert [data[i]['pseudo_label'] for i in range(5)] == [int(label) for label in labels]


@pytest.mark.parametrize('labels, error, message', [
    ([0, 1, 2, 3], ValueError, r'each of the 5 samples, got the shape \(4,\)'),
    (np.zeros((5, 1), int), ValueError, r'got the shape \(5, 1\)'),
    ([0, 1, -3, 0, 0], ValueError, 'got -3 for sample 2'),
    ([0., 1., 2., 3., np.nan], TypeError, 'integers, got float64'),
])
def test_wrong_labels(labels, error, message):
    data = DeepClusterDataset(digits(5), [])
    data.assign_labels([5, 4, 3, 2, 1])
    with pytest.raises(error, match=message):
        data.assign_labels(labels)
    assert data.pseudo_labels.tolist() == [5, 4, 3, 2, 1]
    with pytest.raises(NotImplementedError, match='SingleViewDataset'):
        data.evaluate({})


# ---- patches


def coordinates(height, width):
    """An image whose pixels hold their own place."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, y // 256 * 16 + x // 256], 2).astype(np.uint8)


@pytest.mark.parametrize('height, width, cell, patch', [
    (255, 255, (85, 85), (64, 64)),
    (192, 256, (64, 85), (48, 64)),
    (9, 11, (3, 3), (2, 2)),
    (24, 24, (8, 8), (6, 6)),
])
def test_patches_are_slices_anywhere_in_their_cells(height, width, cell, patch):
    """255 pixels make cells of 85 and patches of 64 (OpenSelfSup); other sizes keep the proportion."""
    img, seen = coordinates(height, width), set()
    for sample in range(150):
        seed_sample(0, 0, sample)
        patches = image_to_patches(img)
        assert len(patches) == 9
        for place, p in enumerate(patches):
            assert p.shape == (*patch, 3) and p.flags['C_CONTIGUOUS']
            y, x = (int(n) for n in p[0, 0, :2])  # sides up to 256 only
            np.testing.assert_array_equal(p, img[y:y + patch[0], x:x + patch[1]])
            dy, dx = y - place // 3 * cell[0], x - place % 3 * cell[1]
            assert 0 <= dy <= cell[0] - patch[0] and 0 <= dx <= cell[1] - patch[1]
            seen.update([(place, 'y', dy), (place, 'x', dx)])
    # each shift of each patch comes up: 150 draws miss one of 22 with a probability of 0.001
    possible = 9 * (cell[0] - patch[0] + cell[1] - patch[1] + 2)
    assert len(seen) >= possible - 3


def test_patches_are_those_of_the_drawn_numbers():
    img = coordinates(90, 120)
    seed_sample(3, 1, 4)
    shifts = rng().integers(0, [7, 10], (9, 2), endpoint=True)
    seed_sample(3, 1, 4)
    for place, (p, (dy, dx)) in enumerate(zip(image_to_patches(img), shifts)):
        top, left = place // 3 * 30 + dy, place % 3 * 40 + dx
        np.testing.assert_array_equal(p, img[top:top + 23, left:left + 30])


def test_relative_loc_dataset(photo_folder):
    source = dict(type='Folder', data_prefix=str(photo_folder))
    pipeline = [dict(type='Resize', size=120), dict(type='RandomCrop', size=105), dict(type='RandomGrayscale', p=0.66)]
    data = build_dataset(
        dict(type='RelativeLocDataset', data_source=source, pipeline=pipeline, format_pipeline=[], prefetch=True))
    seed_sample(0, 2, 7)
    sample = data[7]
    assert sorted(sample) == ['idx', 'img', 'patch_label'] and sample['idx'] == 7
    assert sample['patch_label'].tolist() == list(range(8)) and sample['patch_label'].dtype == np.int64
    assert [p.shape for p in sample['img']] == [(26, 26, 3)] * 9
    seed_sample(0, 2, 7)
    expected = image_to_patches(data.pipeline(data.data_source.get_array(7)))
    np.testing.assert_array_equal(sample['img'], expected)
    # as a float tensor, each patch by itself
    floats = RelativeLocDataset(source, pipeline, FORMAT)
    seed_sample(0, 2, 7)
    for p, patch in zip(floats[7]['img'], expected):
        mean, std = (torch.tensor(FORMAT[1][key])[:, None, None] for key in ('mean', 'std'))
        torch.testing.assert_close(p, (TF.to_tensor(patch) - mean) / std)
    # batches: one tensor a patch, normalised on the device
    norm = {key: FORMAT[1][key] for key in ('mean', 'std')}
    loaders = [
        build_dataloader(d, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=2, prefetch=fast, img_norm_cfg=norm)
        for d, fast in ((data, True), (floats, False))
    ]
    fast, slow = (next(iter(loader)) for loader in loaders)
    assert isinstance(loaders[0], PrefetchLoader) and fast['patch_label'].shape == (4, 8)
    torch.testing.assert_close(fast['img'], slow['img'])
    assert [tuple(v.shape) for v in fast['img']] == [(4, 3, 26, 26)] * 9


def test_patches_of_a_pillow_image(photographs):
    from PIL import Image
    seed_sample(0, 0, 0)
    expected = image_to_patches(photographs[0])
    seed_sample(0, 0, 0)
    np.testing.assert_array_equal(image_to_patches(Image.fromarray(photographs[0])), expected)


def test_unfit_images():
    with pytest.raises(ConfigError, match='8 x 8 pixels is too small .* 9 x 9'):
        RelativeLocDataset(digits(), [], [])[0]
    with pytest.raises(ConfigError, match='got Tensor: steps that make tensors belong in format_pipeline'):
        RelativeLocDataset(digits(), FORMAT, [])[0]
    with pytest.raises(ConfigError, match='leave ToTensor and Normalize out'):
        RelativeLocDataset(digits(), [dict(type='Resize', size=12)], FORMAT, prefetch=True)[0]
    with pytest.raises(ConfigError, match='square .* got 24 x 32 pixels'):
        RotationPredDataset(digits(), [dict(type='Resize', size=(24, 32))])[0]
    # images of different sizes in a batch
    data = RelativeLocDataset(digits(), [], [], prefetch=True)
    data.data_source.get_img = lambda idx: np.zeros((12 + 8 * (idx % 2), 12, 3), np.uint8)
    with pytest.raises(ConfigError, match='differ in shape'):
        next(iter(build_dataloader(data, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=1)))


# ---- rotations


def test_rotations_are_those_of_torchvision(photographs):
    """Counter-clockwise, labels in the order of RotNet and MMSelfSup: 0, 90, 180, 270 degrees."""
    img = photographs[0][:90, :90]
    tensor = torch.from_numpy(img.copy()).permute(2, 0, 1)
    for view, same, angle in zip(rotate(img), rotate(tensor), (0, 90, 180, 270), strict=True):
        assert view.flags['C_CONTIGUOUS'] and same.is_contiguous()
        expected = TF.rotate(tensor, angle)
        assert same.equal(expected)
        np.testing.assert_array_equal(view, expected.permute(1, 2, 0))
    flips = [
        tensor,
        tensor.transpose(1, 2).flip(1),
        tensor.flip(1, 2),
        tensor.flip(1).transpose(1, 2),
    ]
    assert all(a.equal(b) for a, b in zip(rotate(tensor), flips, strict=True))


@pytest.mark.parametrize('prefetch', [True, False])
def test_rotation_pred_dataset(photo_folder, prefetch):
    pipeline = [dict(type='RandomResizedCrop', size=32), *([] if prefetch else FORMAT)]
    data = RotationPredDataset(dict(type='Folder', data_prefix=str(photo_folder)), pipeline, prefetch)
    seed_sample(0, 2, 7)
    sample = data[7]
    assert sorted(sample) == ['idx', 'img', 'rot_label'] and sample['rot_label'].tolist() == [0, 1, 2, 3]
    seed_sample(0, 2, 7)
    view = data.pipeline(data.data_source.get_array(7))
    for got, expected in zip(sample['img'], rotate(view), strict=True):
        np.testing.assert_array_equal(got, expected)
    batch = next(iter(build_dataloader(data, samples_per_gpu=4, workers_per_gpu=0, dist=False, seed=1)))
    assert [tuple(v.shape) for v in batch['img']] == [(4, 3, 32, 32)] * 4 and batch['rot_label'].shape == (4, 4)


# ---- evaluation


@pytest.mark.parametrize('cls, classes', [(RelativeLocDataset, 8), (RotationPredDataset, 4)])
def test_evaluate(cls, classes):
    data = cls(digits(), [], **(dict(format_pipeline=[]) if classes == 8 else {}))
    scores = np.random.default_rng(0).normal(size=(40, classes, classes))
    hits = [max(range(classes), key=lambda c: scores[i, k, c]) == k for i in range(40) for k in range(classes)]
    for kind in (np.asarray, torch.from_numpy):
        got = data.evaluate(dict(head0=kind(scores)), logger='silent')
        assert got == dict(head0_top1=pytest.approx(100 * np.mean(hits)))
    with pytest.raises(ValueError, match=rf'head0: scores of the shape \(39, {classes}, {classes}\) instead of \(40, '):
        data.evaluate(dict(head0=scores[1:]))


BACKBONE = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))


@pytest.mark.parametrize('model, data', [
    (dict(
        type='RelativeLoc',
        backbone=BACKBONE,
        neck=dict(type='RelativeLocNeck', in_channels=32, out_channels=8),
        head=dict(type='ClsHead', in_channels=8, num_classes=8)),
     dict(type='RelativeLocDataset', pipeline=[dict(type='Resize', size=24)], format_pipeline=[], prefetch=True)),
    (dict(
        type='RotationPred',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=4)),
     dict(type='RotationPredDataset', pipeline=[dict(type='Resize', size=16)], prefetch=True)),
])
def test_evaluation_while_training(model, data, tmp_path):
    """data.val with `evaluation` gives the accuracy of all views, that of a loop over the samples."""
    from mmcv import Config
    data = dict(data, data_source=digits(50))
    cfg = Config(
        dict(
            model=model,
            data=dict(samples_per_gpu=16, workers_per_gpu=0, train=data, val=data),
            img_norm_cfg=dict(mean=[0.3] * 3, std=[0.3] * 3),
            optimizer=dict(type='SGD', lr=0.01),
            optimizer_config=dict(),
            lr_config=dict(policy='fixed'),
            runner=dict(type='EpochBasedRunner', max_epochs=1),
            evaluation=dict(interval=1, save_best='auto'),
            log_config=dict(interval=1, hooks=[]),
            seed=3,
            work_dir=str(tmp_path)))
    model = build_algorithm(cfg.model)
    runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    got = runner.meta['hook_msgs']['best_score']
    assert list(tmp_path.glob('best_head0_top1_epoch_1.pth'))

    val, model = build_dataset(cfg.data.val), model.eval()
    right = []
    for idx in range(50):
        seed_sample(3, 0, idx)
        views = [((torch.from_numpy(v).permute(2, 0, 1)[None].float() / 255) - 0.3) / 0.3 for v in val[idx]['img']]
        with torch.no_grad():
            scores = model(views, mode='test')['head0']
        right += (scores[0].argmax(1) == torch.arange(scores.shape[1])).tolist()
    assert got == pytest.approx(100 * np.mean(right), abs=100 / len(right) + 1e-6)
    assert len(right) == 50 * val.num_classes

"""Collators: mixup of crops, labels as vectors."""
import numpy as np
import pytest
import torch

from mmssl.datasets import (DistributedSampler, MixupCrops, MultiHotLabels, MultiViewDataset, PrefetchLoader,
                            SampleDataset, SingleViewDataset, build_collator, build_dataloader, build_dataset)
from mmssl.datasets.collators import collate, multi_hot
from mmssl.utils.errors import ConfigError

DIGITS = dict(type='Digits', num_images=22)


def crops():
    return MultiViewDataset(
        DIGITS, [2, 1], [[dict(type='RandomResizedCrop', size=8)], [dict(type='RandomResizedCrop', size=4)]],
        prefetch=True)


def loader_of(data, collator, size=6, workers=0, **kwargs):
    return build_dataloader(
        data, samples_per_gpu=size, workers_per_gpu=workers, dist=False, seed=5, collate=collator, **kwargs)


def share_of(mixed, pairs):
    """The share of the first images of pairs, by least squares over all their pixels."""
    first, second = (torch.cat([view[i::2].double().flatten() for view in pairs]) for i in range(2))
    mixed = torch.cat([view.double().flatten() for view in mixed])
    change = first - second
    return float((change * (mixed - second)).sum() / change.square().sum())


def test_crops_are_mixed_in_pairs_with_one_share():
    """VISSL's rule: images 2k and 2k + 1, crop by crop; index of the first (its collator lost indices)."""
    plain, mixed = list(loader_of(crops(), None)), list(loader_of(crops(), dict(type='MixupCrops')))
    shares = []
    for one, two in zip(plain, mixed, strict=True):
        pairs = len(one['idx']) // 2
        assert two['idx'].tolist() == one['idx'][::2].tolist()
        shares.append(share_of(two['img'], one['img']))
        for whole, half in zip(one['img'], two['img'], strict=True):
            assert half.dtype == torch.uint8 and len(half) == pairs
            first, second = whole[::2].double(), whole[1::2].double()
            reference = shares[-1] * first + (1 - shares[-1]) * second
            assert (half.double() - reference).abs().max() <= 0.53  # rounded, and the share is an estimate
    assert len(set(shares)) == 4 and all(-0.01 < share < 1.01 for share in shares)


def test_neither_workers_nor_interruption_change_a_share():

    def batches(workers=0, start=0, seed=5):
        loader = loader_of(crops(), dict(type='MixupCrops'), workers=workers)
        loader.set_epoch(2, start)
        return [[*batch['idx'].tolist(), *(view.sum().item() for view in batch['img'])] for batch in loader]

    alone = batches()
    assert batches(2) == alone and batches(start=2) == alone[2:]
    torch.manual_seed(9)
    np.random.seed(9)
    assert batches() == alone


def test_processes_share_the_share():
    """In each iteration all processes draw the same, and pairs are those of one process with the whole batch."""
    data = crops()

    def batches(size, rank=0, world_size=1):
        sampler = DistributedSampler(data, world_size, rank, True, False, 5, size)
        loader = loader_of(data, dict(type='MixupCrops'), size, sampler=sampler)
        return [dict(zip(batch['idx'].tolist(), batch['img'][0].tolist())) for batch in loader]

    alone, halves = batches(8), [batches(4, rank, 2) for rank in range(2)]
    for whole, first, second in list(zip(alone, *halves, strict=True))[:-1]:  # the last is padded
        assert {**first, **second} == whole


def test_shares_are_of_a_beta_distribution():
    from mmssl.datasets.pipelines.rng import reseed, seed_batch
    collator = MixupCrops(0.2)
    pair = [dict(img=np.full((1, 1, 3), 255, np.uint8), idx=0), dict(img=np.zeros((1, 1, 3), np.uint8), idx=1)]
    shares = []
    for number in range(2000):
        seed_batch(0, 0, number)
        shares.append(collator(pair)['img'][0, 0, 0, 0].item() / 255)
    reseed()
    assert abs(np.mean(shares) - 0.5) < 0.04 and abs(np.var(shares) - 1 / (4 * 1.4)) < 0.01  # 1 / (4 (2 alpha + 1))


def test_floats_odd_batches_names_and_labels():
    samples = [
        dict(img=dict(a=torch.full((1, 2, 2), float(i)), b=torch.full((1, 3, 3), 10. * i)), label=i, idx=i)
        for i in range(5)
    ]
    batch = MixupCrops()(samples)
    share = 1 - batch['img']['a'][0, 0, 0, 0]
    for name, scale in (('a', 1), ('b', 10)):
        reference = torch.stack([1 - share, 3 - share, torch.tensor(4.)]) * scale
        torch.testing.assert_close(batch['img'][name][:, 0, 0, 0], reference)
    assert batch['label'].tolist() == batch['idx'].tolist() == [0, 2, 4]
    assert [float(s['img']['a'][0, 0, 0]) for s in samples] == [0, 1, 2, 3, 4]  # the samples stay
    assert MixupCrops()(samples[:1])['idx'].tolist() == [0]
    with pytest.raises(ConfigError, match='MixupCrops mixes images; the data gives torch.int64'):
        MixupCrops()([dict(img=(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), int)))] * 2)
    with pytest.raises(ConfigError, match='alpha must be above 0 and finite, got 0'):
        build_collator(dict(type='MixupCrops', alpha=0))


def test_mixup_goes_with_prefetch():
    loader = PrefetchLoader(loader_of(crops(), dict(type='MixupCrops')), [0.5], [0.2])
    plain = list(loader_of(crops(), dict(type='MixupCrops')))
    for one, two in zip(loader, plain, strict=True):
        torch.testing.assert_close(one['img'][1], (two['img'][1] / 255 - 0.5) / 0.2, atol=1e-5, rtol=0)


def test_mixup_is_for_training_alone():
    from mmcv import Config

    from mmssl.core.training import build_loader
    data = SingleViewDataset(DIGITS, [], prefetch=True)
    cfg = Config(
        dict(
            data=dict(samples_per_gpu=6, workers_per_gpu=0, collate=dict(type='MixupCrops')),
            img_norm_cfg=dict(mean=[0.5], std=[0.2]),
            seed=0))
    assert [len(batch['idx']) for batch in build_loader(data, cfg)] == [3, 3, 3, 2]
    assert [len(batch['idx']) for batch in build_loader(data, cfg, testing=True)] == [6, 6, 6, 4]
    cfg.data.collate = dict(type='MultiHotLabels', num_classes=10)
    assert next(iter(build_loader(data, cfg, testing=True)))['label'].shape == (6, 10)


def test_what_learns_labels_gets_no_mixed_images():
    from mmssl.core.training import _check_mixing
    from mmssl.models import NPID, Classification, RotationPred
    loaders = [loader_of(crops(), dict(type='MixupCrops'))]
    _check_mixing(NPID.__new__(NPID), loaders)
    for model in (Classification, RotationPred):
        with pytest.raises(ConfigError, match=f'MixupCrops mixes images without their labels, and {model.__name__}'):
            _check_mixing(model.__new__(model), loaders)
        _check_mixing(model.__new__(model), [loader_of(crops(), None)])


@pytest.mark.parametrize('label, target', [
    (2, [0, 0, 1, 0, 0]),
    (-1, [-1] * 5),
    ([0, 3], [1, 0, 0, 1, 0]),
    ([], [0] * 5),
    (([1, 3], [4]), [-1, 1, -1, 1, 0]),
    (([], [0, 2]), [0, -1, 0, -1, -1]),
    (np.array([1, 0, -1, 1, 0]), [1, 0, -1, 1, 0]),
])
def test_labels_as_vectors(label, target):
    assert multi_hot(label, 5).tolist() == target and multi_hot(label, 5).dtype == np.int8
    image = np.zeros((2, 2, 3), np.uint8)
    batch = MultiHotLabels(5)([dict(img=image, label=label, idx=0), dict(img=image, label=1, idx=1)])
    assert batch['label'].tolist() == [target, [0, 1, 0, 0, 0]] and batch['img'].shape == (2, 3, 2, 2)


@pytest.mark.parametrize('label, message', [(5, r'label 5 is not within the 5 classes \(0 to 4\)'),
                                            ([0, -2], 'label -2 is not'), (([1], [1, 2]), 'class 1 is said to be')])
def test_impossible_labels(label, message):
    with pytest.raises(ConfigError, match=message):
        multi_hot(label, 5)


# ---- labels of a file


def source(path, **kwargs):
    return dict(type='SingleViewDataset', data_source=dict(DIGITS, labels=str(path), **kwargs), pipeline=[])


@pytest.mark.parametrize('mmap', [False, True])
@pytest.mark.parametrize('dtype', ['int64', 'uint8', 'int32'])
def test_labels_of_a_file(tmp_path, mmap, dtype):
    labels = (np.arange(22) * 7 % 30).astype(dtype)
    np.save(tmp_path / 'labels.npy', labels)
    data = build_dataset(source(tmp_path / 'labels.npy', mmap_labels=mmap))
    assert data.gt_labels.tolist() == [data[i]['label'] for i in range(22)] == labels.tolist()
    assert data.CLASSES is None and isinstance(data.gt_labels, np.memmap) == mmap
    batch = next(iter(loader_of(data, None, 22, workers=1)))
    assert batch['label'].tolist() == labels[batch['idx']].tolist() and batch['label'].dtype == torch.int64
    named = build_dataset(source(tmp_path / 'labels.npy', classes=[f'cluster {i}' for i in range(30)]))
    assert named.CLASSES[29] == 'cluster 29' and len(named) == 22


def test_labels_for_every_source(photo_folder, tmp_path):
    np.save(tmp_path / 'labels.npy', np.arange(24) % 5 - 1)
    names = sorted(str(path.relative_to(photo_folder)) for path in photo_folder.glob('*/*'))
    (tmp_path / 'list.txt').write_text(''.join(f'{name} 0\n' for name in names))
    common = dict(data_prefix=str(photo_folder), labels=str(tmp_path / 'labels.npy'))
    for cfg in (dict(type='Folder'), dict(type='ImageNet'), dict(type='ImageNet21k'),
                dict(type='ImageList', ann_file=str(tmp_path / 'list.txt'))):
        data = build_dataset(dict(type='SingleViewDataset', data_source=dict(cfg, **common), pipeline=[]))
        assert data.gt_labels.tolist() == (np.arange(24) % 5 - 1).tolist(), cfg
        assert data.data_source.get_filename(0).endswith('china/00.jpg')


def test_no_source_is_without_labels_of_a_file():
    from mmssl.datasets import DATASOURCES
    from mmssl.utils.registry import accepted_arguments
    ours = [cls for cls in DATASOURCES.module_dict.values() if cls.__module__.startswith('mmssl.')]
    assert len(ours) > 15
    for cls in ours:
        assert {'labels', 'mmap_labels'} <= set(accepted_arguments(cls)[0]), cls.__name__


@pytest.mark.parametrize('labels, message', [
    (np.arange(21), r'each of the 22 samples, got the shape \(21,\)'),
    (np.arange(22.), 'must be integers, got float64: labels.astype'),
    (np.r_[np.arange(21), -2], 'a label is 0 to 2147483647, or -1 .* got -2 for sample 21'),
    (np.r_[2**31, np.arange(21)], 'got 2147483648 for sample 0'),
    (np.full((22, 3), 2), '1, 0 or -1 where there is a column for each class; got 2 for sample 0'),
    (np.zeros((22, 3, 1), int), r'got the shape \(22, 3, 1\)'),
])
def test_wrong_labels(tmp_path, labels, message):
    np.save(tmp_path / 'labels.npy', labels)
    with pytest.raises(ConfigError, match=message):
        build_dataset(source(tmp_path / 'labels.npy'))


def test_wrong_files_of_labels(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file: .*none.npy'):
        build_dataset(source(tmp_path / 'none.npy'))
    (tmp_path / 'text.npy').write_text('0 1 2')
    with pytest.raises(ConfigError, match='is no .npy file of numbers'):
        build_dataset(source(tmp_path / 'text.npy'))
    with pytest.raises(ConfigError, match='mmap_labels=True is for labels in a .npy file'):
        build_dataset(dict(type='SingleViewDataset', data_source=dict(DIGITS, mmap_labels=True), pipeline=[]))


def test_several_labels_an_image(tmp_path):
    targets = np.random.default_rng(0).integers(-1, 2, (22, 4))
    np.save(tmp_path / 'labels.npy', targets)
    data = build_dataset(source(tmp_path / 'labels.npy'))
    assert data.num_classes == 4 and data[3]['label'].dtype == np.int8
    assert collate([data[i] for i in range(22)])['label'].tolist() == targets.tolist()
    with pytest.raises(
            ConfigError, match=r'Digits\(multi_label=True\) has several labels an image, and one is needed here'):
        data.gt_labels
    tasks = SampleDataset(DIGITS, [], labels=dict(attributes=str(tmp_path / 'labels.npy'), digit=None))
    assert tasks[5]['label']['attributes'].tolist() == targets[5].tolist()


def test_voc_targets_are_labels_where_asked(tmp_path):
    from mmssl.datasets import VOC
    (tmp_path / 'ImageSets/Main').mkdir(parents=True)
    (tmp_path / 'JPEGImages').mkdir()
    for name in VOC.CLASSES:
        (tmp_path / f'ImageSets/Main/{name}_train.txt').write_text(f'1 {1 if name == "cat" else -1}\n2 0\n')
    from PIL import Image
    for name in '12':
        Image.new('RGB', (8, 8)).save(tmp_path / f'JPEGImages/{name}.jpg')
    cfg = dict(type='VOC', data_prefix=str(tmp_path), split='train')
    cat = VOC.CLASSES.index('cat')
    data = SingleViewDataset(dict(cfg, multi_label=True), [])
    assert data[0]['label'].tolist() == [int(i == cat) for i in range(20)] and data[1]['label'].tolist() == [-1] * 20
    assert data.num_classes == 20 and SingleViewDataset(cfg, [])[0]['label'] == -1

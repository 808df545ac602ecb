import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from mmssl.datasets import (DATASETS, ConcatDataset, Digits, MultiViewDataset, RepeatDataset, SingleViewDataset,
                            build_dataset)
from mmssl.datasets.pipelines import seed_sample
from mmssl.utils.errors import ConfigError

CROP = [dict(type='RandomResizedCrop', size=24), dict(type='RandomHorizontalFlip')]
RESIZE = [dict(type='Resize', size=(24, 32))]


def test_single_view(photo_folder):
    source = dict(type='ImageNet', data_prefix=str(photo_folder))
    data = build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=RESIZE, prefetch=True))
    assert len(data) == 24 and data.CLASSES == ('china', 'flower')
    sample = data[13]
    assert sorted(sample) == ['idx', 'img', 'label'] and (sample['idx'], sample['label']) == (13, 1)
    assert type(sample['idx']) is int is type(sample['label'])
    assert sample['img'].shape == (24, 32, 3) and sample['img'].dtype == np.uint8


def test_unlabelled_samples_have_the_label_minus_one(photo_folder):
    data = SingleViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), RESIZE)
    assert data[0]['label'] == -1
    with pytest.raises(ValueError, match='no sample has a label'):
        data.evaluate(dict(head0=np.zeros((24, 2))))


def test_evaluate(tmp_path):
    """Top-k accuracy against a loop; unlabelled samples are left out."""
    (tmp_path / 'list.txt').write_text('\n'.join(f'{i}.jpg {i * 7 % 10 - 1}' for i in range(50)))
    data = SingleViewDataset(dict(type='ImageList', data_prefix='', ann_file=str(tmp_path / 'list.txt')), RESIZE)
    scores = np.random.default_rng(0).normal(size=(50, 9))
    labels = data.data_source.get_gt_labels()
    got = data.evaluate(dict(head4=scores), logger='silent', topk=(1, 3, 20))
    for k in (1, 3, 20):
        hits = [
            label in sorted(range(9), key=lambda c: -row[c])[:k] for row, label in zip(scores, labels) if label >= 0
        ]
        assert len(hits) == 45 and got[f'head4_top{k}'] == pytest.approx(100 * np.mean(hits))
    with pytest.raises(ValueError, match='head0: 49 results for 50 samples'):
        data.evaluate(dict(head0=scores[1:]))


@pytest.mark.parametrize('num_views, count', [([2], 2), ([1, 1], 2), ([2, 6], 8)])
def test_multi_view(photo_folder, num_views, count, monkeypatch):
    pipelines = [CROP, [dict(type='RandomResizedCrop', size=16)]][:len(num_views)]
    data = MultiViewDataset(dict(type='Folder', data_prefix=str(photo_folder)), num_views, pipelines, prefetch=True)
    reads = []
    get_img = data.data_source.get_img
    monkeypatch.setattr(data.data_source, 'get_img', lambda idx: reads.append(idx) or get_img(idx))
    seed_sample(0, 0, 5)
    sample = data[5]
    assert reads == [5] and sample['idx'] == 5 and len(sample['img']) == count
    sizes = [24] * num_views[0] + [16] * sum(num_views[1:])
    assert [v.shape for v in sample['img']] == [(s, s, 3) for s in sizes]
    assert len({v.tobytes() for v in sample['img']}) == count
    # views are numbered over all pipelines: view 1 is the same, whatever comes before it
    alone = MultiViewDataset(data.data_source, [1, 1], [[], data.pipelines[-1].transforms])
    seed_sample(0, 0, 5)
    one = sum(num_views) - 1 if len(num_views) == 1 else 1
    if sizes[one] == sizes[-1]:
        np.testing.assert_array_equal(alone[5]['img'][1], sample['img'][1])


@pytest.mark.parametrize('num_views, pipelines', [
    (2, [RESIZE]),
    ([2], RESIZE),
    ([2, 2], [RESIZE]),
    ([0], [RESIZE]),
    ([2.], [RESIZE]),
    ([], []),
])
def test_wrong_views(num_views, pipelines):
    with pytest.raises(ConfigError, match='num_views'):
        MultiViewDataset(dict(type='Digits'), num_views, pipelines)


def test_prefetch_and_pipeline_must_fit():
    pipeline = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.2] * 3)]
    assert SingleViewDataset(dict(type='Digits'), pipeline)[0]['img'].shape == (3, 8, 8)
    with pytest.raises(ConfigError, match='leave ToTensor and Normalize out'):
        SingleViewDataset(dict(type='Digits'), pipeline, prefetch=True)[0]


@pytest.mark.parametrize('color_type, channels', [('grayscale', 1), ('color', 3)])
def test_other_channels(color_type, channels):
    source = dict(type='Digits', color_type=color_type)
    pipeline = [dict(type='RandomResizedCrop', size=16), dict(type='RandomHorizontalFlip')]
    img = SingleViewDataset(source, pipeline, prefetch=True)[3]['img']
    assert img.shape == (16, 16, channels)


def test_concat():
    cfg = dict(type='SingleViewDataset', data_source=dict(type='Digits', split='test'), pipeline=[])
    train = dict(cfg, data_source=dict(type='Digits', split='train'))
    data = build_dataset([train, cfg])
    assert isinstance(data, ConcatDataset) and len(data) == 1797 and data.CLASSES == Digits.CLASSES
    labels = np.concatenate([Digits(split=split).labels for split in ('train', 'test')])
    for idx in (0, 1436, 1437, 1796):
        assert (data[idx]['idx'], data[idx]['label']) == (idx, labels[idx])
    assert not hasattr(data, 'flag')
    for number, part in enumerate(data.datasets):
        part.flag = np.full(len(part), number)
    assert np.bincount(ConcatDataset(data.datasets).flag).tolist() == [1437, 360]
    with pytest.raises(ConfigError, match='at least one'):
        build_dataset([])


def test_repeat():
    part = dict(type='SingleViewDataset', data_source=dict(type='Digits', split='test'), pipeline=[])
    data = build_dataset(dict(type='RepeatDataset', dataset=part, times=3))
    assert isinstance(data, RepeatDataset) and len(data) == 1080
    assert data[725]['idx'] == 5 and data[725]['label'] == data[5]['label']
    data.dataset.flag = np.arange(360)
    np.testing.assert_array_equal(RepeatDataset(data.dataset, 2).flag, [*range(360), *range(360)])
    with pytest.raises(ConfigError, match='times'):
        RepeatDataset(data.dataset, 0)


@pytest.mark.parametrize('cfg, place', [
    (dict(type='RepeatDataset', times=2, dataset=dict(type='SingleViewDatset', pipeline=[])), 'dataset'),
    (dict(type='SingleViewDataset', pipeline=[], data_source=dict(type='Digit')), 'data_source'),
    (dict(type='SingleViewDataset', pipeline=[], data_source=dict(type='Digits', splt='test')), 'data_source'),
])
def test_errors_name_the_place(cfg, place):
    with pytest.raises(ConfigError, match=f'did you mean .*at {place} in the config'):
        build_dataset(cfg)


def test_dataset_of_a_user(photo_folder):
    """MMSelfSup's tutorial: any registered Dataset works."""

    @DATASETS.register_module(force=True)
    class Mine(Dataset):

        def __len__(self):
            return 5

        def __getitem__(self, idx):
            return dict(img=torch.full((3, 4, 4), float(idx)))

    assert build_dataset(dict(type='Mine'))[2]['img'].mean() == 2

import numpy as np
import pytest
import torch
from mmcv.utils import build_from_cfg
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import Compose as TorchvisionCompose

from mmssl.datasets import (DATASETS, DATASOURCES, PIPELINES, BaseDataset, BaseDataSource, ConcatDataset, Digits,
                            MultiViewDataset, RepeatDataset, SingleViewDataset, build_dataloader, build_dataset,
                            build_datasource)
from mmssl.datasets.pipelines import seed_sample
from mmssl.datasets.utils import to_numpy
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
    (tmp_path / '0.jpg').touch()
    data = SingleViewDataset(
        dict(type='ImageList', data_prefix=str(tmp_path), ann_file=str(tmp_path / 'list.txt')), RESIZE)
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


def test_views_with_a_label(photo_folder):
    source = dict(type='ImageNet', data_prefix=str(photo_folder))
    data = MultiViewDataset(source, [2], [CROP], prefetch=True, with_label=True)
    assert [data[idx]['label'] for idx in (11, 12)] == [0, 1] and len(data[0]['img']) == 2
    assert sorted(MultiViewDataset(source, [2], [CROP], prefetch=True)[0]) == ['idx', 'img']


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


def test_package_of_a_user_of_mmselfsup(photo_folder):
    """Source, transform and data set after MMSelfSup 0.x's tutorials: Pillow images and torchvision's Compose."""

    @DATASOURCES.register_module(force=True)
    class MySource(BaseDataSource):

        def load_annotations(self):
            return [
                dict(img_prefix=self.data_prefix, img_info=dict(filename=f'china/{i:02d}.jpg'), idx=i) for i in range(6)
            ]

    @DATASOURCES.register_module(force=True)
    class TurnedSource(MySource):

        def get_img(self, idx):
            return super().get_img(idx).transpose(Image.Transpose.ROTATE_180)

    @PIPELINES.register_module(force=True)
    class MyTransform:

        def __call__(self, img):
            return img.point(lambda value: value // 64 * 64)

    @DATASETS.register_module(force=True)
    class MyDataset(BaseDataset):

        def __init__(self, data_source, num_views, pipelines, prefetch=False):
            self.data_source = build_datasource(data_source)
            self.trans = []
            for count, pipe in zip(num_views, pipelines):
                self.trans += [TorchvisionCompose([build_from_cfg(p, PIPELINES) for p in pipe])] * count
            self.prefetch = prefetch

        def __getitem__(self, idx):
            img = self.data_source.get_img(idx)
            views = [trans(img) for trans in self.trans]
            if self.prefetch:
                views = [torch.from_numpy(to_numpy(img)) for img in views]
            return dict(img=views, idx=idx)

        def evaluate(self, results, logger=None):
            return NotImplemented

    steps = [
        dict(type='RandomInvert', p=1.),  # torchvision's
        dict(type='Resize', size=24),
        dict(type='MyTransform'),
        dict(type='RandomHorizontalFlip', p=1.),
        dict(type='CenterCrop', size=24)
    ]
    formats = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5] * 3, std=[0.2] * 3)]
    for source in ('MySource', 'TurnedSource'):
        cfg = dict(num_views=[2], data_source=dict(type=source, data_prefix=str(photo_folder)))
        for prefetch, pipeline in ((True, steps), (False, steps + formats)):
            theirs = build_dataset(dict(cfg, type='MyDataset', pipelines=[pipeline], prefetch=prefetch))
            ours = build_dataset(dict(cfg, type='MultiViewDataset', pipelines=[pipeline], prefetch=prefetch))
            batches = [
                next(iter(build_dataloader(data, samples_per_gpu=6, workers_per_gpu=0, seed=0, dist=False)))['img']
                for data in (theirs, ours)
            ]
            assert len(theirs) == 6 and batches[0][0].dtype == (torch.uint8 if prefetch else torch.float32)
            for a, b in zip(*batches, strict=True):
                assert a.shape == (6, 3, 24, 24) and torch.equal(a, b)
    # our own pipeline, called as MMSelfSup's, gives a Pillow image as well
    view = SingleViewDataset(theirs.data_source, steps)
    assert isinstance(view.pipeline(view.data_source.get_img(0)), Image.Image)
    assert view.finish(view.pipeline(view.data_source.get_img(0))).shape == (24, 24, 3)


def test_dataset_of_a_user(photo_folder):
    """MMSelfSup's tutorial: any registered Dataset works."""

    @DATASETS.register_module(force=True)
    class Mine(Dataset):

        def __len__(self):
            return 5

        def __getitem__(self, idx):
            return dict(img=torch.full((3, 4, 4), float(idx)))

    assert build_dataset(dict(type='Mine'))[2]['img'].mean() == 2

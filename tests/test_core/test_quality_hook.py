"""The label-free hook: training does not notice it, and the best checkpoint is that of the best figure."""
import logging

import pytest
import torch

from mmssl.core.hooks import RepresentationQualityHook
from mmssl.core.runner import EpochBasedRunner
from mmssl.datasets import build_dataset
from mmssl.datasets.loader import EpochLoader, PrefetchLoader
from mmssl.evaluation import extract_features, quality
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

NORM = dict(mean=[0.3], std=[0.35])
SOURCE = dict(type='Digits', color_type='grayscale', num_images=120)
MODEL = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead', temperature=0.2))
PLAIN = dict(type='SingleViewDataset', data_source=SOURCE, pipeline=[], prefetch=True)
VIEWS = dict(
    type='MultiViewDataset',
    data_source=SOURCE,
    num_views=[2],
    pipelines=[[dict(type='RandomResizedCrop', size=8, scale=(0.5, 1.))]],
    prefetch=True)


def train(work_dir, hook=None, epochs=4, resume=None):
    torch.manual_seed(5)
    model = build_algorithm(MODEL)
    model.init_weights()
    loader = PrefetchLoader(EpochLoader(build_dataset(VIEWS), range(120), 40, drop_last=True, seed=1), **NORM)
    runner = EpochBasedRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), 0.05),
        work_dir=str(work_dir),
        logger=logging.getLogger('test_quality_hook'),
        meta={},
        max_epochs=epochs)
    runner.register_optimizer_hook(dict())
    runner.register_checkpoint_hook(dict(interval=1))
    if hook:
        runner.register_hook(hook)
    if resume:
        runner.resume(resume)
    runner.run([loader], [('train', 1)])
    return model, runner


def hook(**options):
    return RepresentationQualityHook(PLAIN, img_norm_cfg=NORM, **options)


@pytest.mark.parametrize('figure', ['rankme', 'alpha_req'])
def test_best_checkpoint(tmp_path, figure):
    plain, _ = train(tmp_path / 'plain')
    model, runner = train(tmp_path / 'hook', hook(save_best=figure))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    scores = []
    for epoch in range(1, 5):
        model.load_state_dict(torch.load(tmp_path / f'hook/epoch_{epoch}.pth', weights_only=True)['state_dict'])
        found = quality.run(extract_features(model, build_dataset(PLAIN), img_norm_cfg=NORM)['pooled'])[figure]
        scores.append(-abs(found - 1) if figure == 'alpha_req' else found)
    best = 1 + scores.index(max(scores))
    assert [p.name for p in (tmp_path / 'hook').glob('best_*')] == [f'best_{figure}_epoch_{best}.pth']
    assert runner.meta['hook_msgs'][f'best_{figure}'] == pytest.approx(max(scores), rel=1e-6)


def test_resumed_training_knows_the_best(tmp_path):
    _, whole = train(tmp_path / 'whole', hook(save_best='rankme'))
    train(tmp_path / 'cut', hook(save_best='rankme'), epochs=2)
    _, resumed = train(tmp_path / 'cut', hook(save_best='rankme'), resume=str(tmp_path / 'cut/epoch_2.pth'))
    assert resumed.meta['hook_msgs']['best_rankme'] == whole.meta['hook_msgs']['best_rankme']
    names = [sorted(p.name for p in (tmp_path / folder).glob('best_*')) for folder in ('whole', 'cut')]
    assert names[0] == names[1] and len(names[0]) == 1


def test_bad_input():
    with pytest.raises(ConfigError, match="save_best must be one of .*got 'rank'"):
        hook(save_best='rank')
    with pytest.raises(ConfigError, match='at least 1, got 0'):
        hook(interval=0)

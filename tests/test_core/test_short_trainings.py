"""DenseCL and Barlow Twins on real images for a few epochs: what they log, and that it moves the way it should; and two
data sets at once.
"""
import math

import pytest
import test_resume_algorithms as algorithms
from mmcv import Config
from mmcv.runner.hooks import Hook

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm

BATCH, DIM = 40, 16  # 10 iterations an epoch
CROP = [dict(type='RandomResizedCrop', size=16, scale=(0.4, 1.)), dict(type='RandomHorizontalFlip')]
BACKBONE = dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN'))


class Watch(Hook):
    """Notes what each iteration logs."""

    def __init__(self):
        self.logged = []

    def after_train_iter(self, runner):
        self.logged.append({name: value.item() for name, value in runner.outputs['log_vars'].items()})


def train(folder, model, epochs, **rest):
    """What each iteration of a training on the digits logs, one list a name."""
    cfg = Config(
        dict(
            model=dict(model, backbone=BACKBONE),
            data=dict(
                samples_per_gpu=BATCH,
                workers_per_gpu=0,
                drop_last=True,
                train=dict(
                    type='MultiViewDataset',
                    data_source=dict(type='Digits', num_images=400),
                    num_views=[2],
                    pipelines=[CROP],
                    prefetch=True)),
            img_norm_cfg=dict(mean=[0.3], std=[0.3]),
            optimizer_config=dict(),
            runner=dict(type='EpochBasedRunner', max_epochs=epochs),
            log_config=dict(interval=5, hooks=[]),
            custom_hooks=[*rest.pop('custom_hooks', []), dict(type=Watch)],
            seed=1,
            work_dir=str(folder),
            **rest))
    set_random_seed(1)
    model = build_algorithm(cfg.model)
    model.init_weights()
    runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    logged = next(hook for hook in runner.hooks if isinstance(hook, Watch)).logged
    return {name: [values[name] for values in logged] for name in logged[0]}


def mean(values):
    return sum(values) / len(values)


@pytest.mark.long
def test_densecl(tmp_path):
    """No dense loss in the first 15 iterations; then both terms fall below that of a guess among 101 keys."""
    logged = train(
        tmp_path,
        dict(
            type='DenseCL',
            neck=dict(type='DenseCLNeck', in_channels=32, hid_channels=32, out_channels=DIM),
            head=dict(type='ContrastiveHead', temperature=0.2),
            queue_len=100,
            feat_dim=DIM,
            momentum=0.95),
        epochs=8,
        optimizer=dict(type='SGD', lr=0.03, momentum=0.9),
        custom_hooks=[dict(type='DenseCLHook', start_iters=15)])
    assert logged['loss_dense'][:15] == [0.] * 15 and min(logged['loss_dense'][15:]) > 0
    assert logged['loss'] == pytest.approx([sum(pair) for pair in zip(logged['loss_single'], logged['loss_dense'])])
    for name in ('loss_single', 'loss_dense'):  # each has half of the weight
        assert mean(logged[name][-10:]) < 0.92 * math.log(101) / 2, (name, logged[name])


@pytest.mark.long
def test_barlow_twins(tmp_path):
    """Views become equal: invariance falls from less than 64, the number of dimensions."""
    neck = dict(
        type='NonLinearNeck',
        in_channels=32,
        hid_channels=64,
        out_channels=64,
        num_layers=3,
        with_last_bn=False,
        norm_cfg=dict(type='BN'))
    logged = train(
        tmp_path,
        dict(type='BarlowTwins', neck=neck, head=dict(type='LatentCrossCorrelationHead', in_channels=64, lambd=0.02)),
        epochs=6,
        optimizer=dict(type='SGD', lr=0.001, momentum=0.9))
    assert 32 < logged['invariance'][0] < 64
    assert mean(logged['invariance'][-10:]) < 16 and mean(logged['loss'][-10:]) < 0.5 * mean(logged['loss'][:10])
    assert logged['loss'] == pytest.approx([sum(pair) for pair in zip(logged['invariance'], logged['redundancy'])])


@pytest.mark.parametrize('name', ['NPIDWithNCE', 'SimCLR'])
def test_two_data_sets_at_once(name, tmp_path):
    """A fault of VISSL (its issue 471): neither two data sets nor the short last batch of an epoch break anything.

    Each of 100 + 45 images has an entry of its own in the memory, in batches of 40, 40, 40 and 25.
    """
    cfg = algorithms.config(name, tmp_path)
    parts = [dict(type='Digits', num_images=100), dict(type='Digits', num_images=45, test_mode=True)]
    cfg.data.train = [dict(cfg.data.train, data_source=source) for source in parts]
    cfg.data.drop_last, cfg.runner.max_epochs = False, 2
    set_random_seed(1)
    model, dataset = build_algorithm(cfg.model), build_dataset(cfg.data.train)
    model.fit_to_data(samples=145)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    runner = train_model(model, dataset, cfg, meta={})
    assert runner.iter == 8
    if name == 'NPIDWithNCE':
        bank = model.memory_bank.feature_bank
        assert len(bank) == 145 and (bank != before['memory_bank.feature_bank']).any(1).all()

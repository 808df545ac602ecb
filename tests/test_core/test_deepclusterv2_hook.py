"""The hook of DeepCluster v2: the first features, when is clustered, and what does not fit."""
import json

import pytest
import torch
from mmcv import Config
from mmcv.runner.hooks import Hook
from torch.nn import functional as F

from mmssl.apis import set_random_seed, train_model
from mmssl.core.distributed import DistributedDataParallel
from mmssl.core.hooks import DeepClusterV2Hook
from mmssl.datasets import build_dataloader, build_dataset
from mmssl.datasets.loader import PrefetchLoader
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

DIM = 8
CROP = [dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.)), dict(type='RandomHorizontalFlip')]
NORM = dict(mean=[0.3], std=[0.3])
MODEL = dict(
    type='DeepClusterV2',
    backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN')),
    neck=dict(type='SwAVNeck', hid_channels=16, out_channels=DIM, norm_cfg=dict(type='BN')),
    head=dict(type='DeepClusterV2Head'),
    memory_bank=dict(type='CropMemory', num_clusters=[6, 5]))
DATA = dict(
    type='MultiViewDataset',
    data_source=dict(type='Digits', num_images=90),
    num_views=[2],
    pipelines=[CROP],
    prefetch=True)


class Watch(Hook):
    """Notes the memory before each epoch, behind the clustering, and after it."""

    def __init__(self):
        self.seen = []

    def note(self, runner):
        model = runner.model
        statistics = torch.cat([v for name, v in model.state_dict().items() if name.endswith('running_mean')])
        self.seen.append((model.memory_bank.feature_bank.clone(), model.memory_bank.label_bank.clone(), statistics))

    before_train_epoch = after_train_epoch = note


def config(folder, epochs=2, model=MODEL, data=DATA, **hook):
    return Config(
        dict(
            model=model,
            data=dict(samples_per_gpu=20, workers_per_gpu=0, drop_last=True, train=data),
            img_norm_cfg=NORM,
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9),
            optimizer_config={},
            lr_config=dict(policy='fixed'),
            runner=dict(type='EpochBasedRunner', max_epochs=epochs),
            log_config=dict(interval=5, hooks=[]),
            custom_hooks=[dict(type='DeepClusterV2Hook', **hook),
                          dict(type=Watch, priority='VERY_LOW')],
            seed=1,
            work_dir=str(folder)))


def train(cfg):
    set_random_seed(1)
    model = build_algorithm(cfg.model)
    model.init_weights()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    watch = next(hook for hook in runner.hooks if isinstance(hook, Watch))
    return start, runner, watch.seen


def test_first_features(tmp_path):
    """Each sample has its row, those too that drop_last leaves out, by the network as it begins, in evaluation mode."""
    cfg = config(tmp_path, epochs=1)
    start, _, seen = train(cfg)
    model = build_algorithm(cfg.model)
    model.fit_to_data(samples=90)
    model.load_state_dict({k: v for k, v in start.items() if 'memory' not in k}, strict=False)
    model.eval()
    # the first view of the first epoch of each sample, by a loader of their own and in another batch size
    loader = PrefetchLoader(
        build_dataloader(build_dataset(DATA), samples_per_gpu=7, workers_per_gpu=0, dist=False, shuffle=False, seed=1),
        **NORM)
    loader.set_epoch(0)
    with torch.no_grad():
        for batch in loader:
            z = torch.stack([
                F.normalize(model.neck.projection_neck(model.backbone(view)[-1].mean((2, 3))), dim=1)
                for view in batch['img']
            ], 1)
            torch.testing.assert_close(seen[0][0][batch['idx']], z, atol=1e-5, rtol=1e-4)
    # pitfall: a pass in training mode moves the statistics of batch norms, and so it depends on the batches
    assert not seen[0][2].any() and seen[1][2].any()


def test_when_it_clusters(tmp_path):
    """Before epochs 0 and 2, the memory being what the epoch before has made of it, but for what drop_last left out."""
    cfg = config(tmp_path, epochs=4, interval=2)
    cfg.log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook')])
    _, runner, seen = train(cfg)
    labels = [entry[1] for entry in seen]  # before and after each epoch
    assert (labels[0] >= 0).all() and [len(row.unique()) for row in labels[0]] == [6, 5]
    for same in (1, 2, 3):
        assert torch.equal(labels[same], labels[0])
    assert not torch.equal(labels[4], labels[0]) and torch.equal(labels[7], labels[4])
    changed = [(after[0] != before[0]).any(2).any(1).sum() for before, after in zip(seen[::2], seen[1::2])]
    assert changed == [80] * 4
    assert torch.equal(seen[2][0], seen[1][0])
    hook = next(h for h in runner.hooks if isinstance(h, DeepClusterV2Hook))
    assert hook.state_dict() == dict(epoch=2)
    # the log tells of each clustering once, with the first losses behind it
    log, = tmp_path.glob('*.log.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    told = {(row['epoch'], row['iter']): row for row in rows if 'clusters_empty' in row}
    assert list(told) == [(1, 2), (3, 2)]
    assert 'clusters_nmi' not in told[1, 2] and 0 < told[3, 2]['clusters_nmi'] < 1


@pytest.mark.parametrize('changes, message', [
    (dict(runner=dict(type='IterBasedRunner', max_iters=3)), 'IterBasedRunner has none: use EpochBasedRunner'),
    (dict(custom_hooks=[dict(type='DeepClusterV2Hook', interval=0)]), 'interval is a positive number of epochs, got 0'),
    (dict(
        model=dict(
            type='BarlowTwins',
            backbone=MODEL['backbone'],
            neck=dict(type='MoCoV2Neck', hid_channels=16, out_channels=DIM),
            head=dict(type='LatentCrossCorrelationHead', in_channels=DIM))), 'the model is a BarlowTwins'),
])
def test_what_does_not_fit(tmp_path, changes, message):
    cfg = config(tmp_path)
    for key, value in changes.items():
        cfg.pop(key)
        cfg[key] = value
    with pytest.raises(ConfigError, match=message):
        train(cfg)


class Break(torch.nn.Module):
    """A neck that fails on the second process."""

    out_channels = DIM

    def forward(self, x):
        if torch.distributed.get_rank() == 1:
            raise ValueError('no features here')
        return [x[0][-1].mean((2, 3)).repeat(1, DIM)[:, :DIM]]


def _train_in_processes(rank, world_size, folder):
    """State after a short training of each process, and the message where the network of one fails at the start."""
    cfg = config(folder)
    cfg.data.samples_per_gpu = 10
    set_random_seed(1 + rank)
    model = build_algorithm(dict(cfg.model, backbone=dict(MODEL['backbone'], norm_cfg=dict(type='SyncBN'))))
    model.init_weights()
    cfg.custom_hooks = cfg.custom_hooks[:1]
    runner = train_model(model, build_dataset(cfg.data.train), cfg, distributed=True, meta={})
    assert isinstance(runner.model, DistributedDataParallel)
    state = {name: value.clone() for name, value in model.memory_bank.state_dict().items()}
    model.memory_bank.feature_bank.zero_()
    model.neck = Break()
    try:
        next(h for h in runner.hooks if isinstance(h, DeepClusterV2Hook)).before_run(runner)
    except (ConfigError, ValueError) as error:
        return state, str(error)


def test_two_processes(run_distributed, tmp_path):
    """Memory and clusters are the same on both to the bit, and one that fails does not leave the other waiting."""
    (first, told), (second, own) = run_distributed(_train_in_processes, str(tmp_path))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert first['label_bank'].min() >= 0 and first['feature_bank'].norm(dim=2).sub(1).abs().max() < 1e-5
    assert told == 'process 1: ValueError: no features here' and own == 'no features here'

"""The queue of SwAV in real trainings: its start, its settings, resuming, prototypes that stay."""
import copy
import math

import pytest
import torch
from mmcv import Config
from mmcv.runner.hooks import Hook
from torch.nn import functional as F

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import read_checkpoint
from mmssl.utils.errors import ConfigError

SAMPLES, BATCH, DIM = 120, 20, 16  # 6 iterations an epoch
CROPS = [[dict(type='RandomResizedCrop', size=size, scale=scale),
          dict(type='RandomHorizontalFlip')] for size, scale in ((16, (0.4, 1.)), (8, (0.15, 0.4)))]
CONFIG = dict(
    model=dict(
        type='SwAV',
        backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN')),
        neck=dict(type='SwAVNeck', in_channels=32, hid_channels=32, out_channels=DIM, norm_cfg=dict(type='BN')),
        head=dict(type='SwAVHead', feat_dim=DIM, num_crops=[2, 2], num_prototypes=20)),
    data=dict(
        samples_per_gpu=BATCH,
        workers_per_gpu=0,
        drop_last=True,
        train=dict(
            type='MultiViewDataset',
            data_source=dict(type='Digits', num_images=SAMPLES),
            num_views=[2, 2],
            pipelines=CROPS,
            prefetch=True)),
    img_norm_cfg=dict(mean=[0.3], std=[0.3]),
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    optimizer_config=dict(),
    runner=dict(type='EpochBasedRunner', max_epochs=3),
    log_config=dict(interval=5, hooks=[]),
    seed=1)
HOOK = dict(
    type='SwAVHook', priority='VERY_HIGH', batch_size=BATCH, feat_dim=DIM, epoch_queue_starts=1, queue_length=70)


class Watch(Hook):
    """Notes what an iteration left behind."""

    def __init__(self):
        self.length, self.filled, self.losses, self.prototypes = [], [], [], []

    def after_train_iter(self, runner):
        head = runner.model.head
        self.length.append(0 if head.queue is None else head.queue.shape[1])
        self.filled.append(head.filled)
        self.losses.append(runner.outputs['loss'].item())
        self.prototypes.append(head.prototypes.weight.detach().clone())


def train(folder, hook=HOOK, **changes):
    """A training; what was seen in each iteration, and the runner."""
    cfg = Config(copy.deepcopy(CONFIG))
    cfg.custom_hooks = [*([hook] if hook else []), dict(type=Watch)]
    cfg.work_dir = str(folder)
    cfg.merge_from_dict(copy.deepcopy(changes))
    set_random_seed(1 if 'resume_from' not in changes else 2)
    model = build_algorithm(cfg.model)
    model.init_weights()
    runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    return next(h for h in runner.hooks if isinstance(h, Watch)), runner


def test_queue_begins_with_its_epoch_and_fills_up(tmp_path):
    """70 features become 60, a multiple of the batch of 20. Before it is full nothing is changed by it."""
    watch, runner = train(tmp_path)
    plain, _ = train(tmp_path, hook=None)
    assert watch.length == [0] * 6 + [60] * 12
    assert watch.filled == [0] * 6 + [20, 40] + [60] * 10
    assert plain.length == [0] * 18
    # iterations 7 to 9 fill it, the tenth is the first to use it
    assert [a == b for a, b in zip(watch.losses, plain.losses)] == [True] * 9 + [False] * 9
    queue = runner.model.head.queue
    assert queue.shape == (2, 60, DIM)
    torch.testing.assert_close(queue.norm(dim=2), torch.ones(2, 60))


def test_each_figure_stands_once(tmp_path):
    """Without batch_size, feat_dim, num_crops and in_channels the training is the same, bit for bit."""
    short = copy.deepcopy(CONFIG['model'])
    del short['neck']['in_channels'], short['head']['feat_dim'], short['head']['num_crops']
    hook = dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=0, queue_length=70)
    frozen = dict(frozen_layers_cfg=dict(prototypes='1 epoch'))
    long, _ = train(
        tmp_path,
        dict(HOOK, epoch_queue_starts=0),
        optimizer_config=dict(frozen_layers_cfg=dict(prototypes=6)),
        runner=dict(max_epochs=2))
    cfg = dict(short, _delete_=True)
    watch, _ = train(tmp_path, hook, model=cfg, optimizer_config=frozen, runner=dict(max_epochs=2))
    assert watch.losses == long.losses and watch.length == long.length == [60] * 12


def test_epochs_of_an_iteration_based_training(tmp_path):
    watch, _ = train(tmp_path, runner=dict(_delete_=True, type='IterBasedRunner', max_iters=9))
    assert watch.length == [0] * 6 + [60] * 3


@pytest.mark.long
@pytest.mark.parametrize('runner', [dict(), dict(_delete_=True, type='IterBasedRunner', max_iters=12)])
def test_resume_before_while_and_after_filling(tmp_path, runner):
    """Pitfall: SwAV's queue in side files: resumed trainings went on with other codes."""
    save = dict(runner=runner or CONFIG['runner'], checkpoint_config=dict(interval=1, by_epoch=False))
    whole, expected = train(tmp_path / 'whole', **save)
    for at in (5, 6, 8, 10):
        found, resumed = train(tmp_path / 'resumed', **save, resume_from=str(tmp_path / f'whole/iter_{at}.pth'))
        for name in ('losses', 'filled', 'length'):
            assert getattr(found, name) == getattr(whole, name)[at:], (name, at)
        for a, b in zip(resumed.model.state_dict().values(), expected.model.state_dict().values(), strict=True):
            assert a.equal(b)


def test_loaded_queue_of_other_settings_is_dropped(tmp_path, caplog):
    train(tmp_path, checkpoint_config=dict(interval=1), runner=dict(max_epochs=2))
    assert read_checkpoint(tmp_path / 'epoch_2.pth')['state_dict']['head.queue'].shape == (2, 60, DIM)
    load = dict(load_from=str(tmp_path / 'epoch_2.pth'), runner=dict(max_epochs=1))
    for changes, length in ((dict(epoch_queue_starts=0), 60), (dict(epoch_queue_starts=0, queue_length=40), 40),
                            (dict(queue_length=140), 0), (dict(queue_length=0), 0)):
        assert 'queue_length' not in caplog.text
        watch, _ = train(tmp_path / 'b', dict(HOOK, **changes), **load)
        assert watch.length == [length] * 6
        assert watch.filled[0] == (60 if length == 60 else min(length, 20))
        if changes.get('queue_length') == 140:
            assert 'SwAVHook.queue_length is 140, the training data has 120 images' in caplog.text
            caplog.clear()


@pytest.mark.parametrize('frozen', [7, 0])
def test_prototypes_stay_as_long_as_the_recipe_says(tmp_path, frozen):
    """Pitfall: prototypes frozen for the first iterations, and of unit length in each."""
    watch, runner = train(
        tmp_path, optimizer_config=dict(frozen_layers_cfg=dict(prototypes=frozen)), runner=dict(max_epochs=2))
    set_random_seed(1)
    model = build_algorithm(CONFIG['model'])
    model.init_weights()
    start = F.normalize(model.head.prototypes.weight.detach(), dim=1)
    torch.testing.assert_close(watch.prototypes[0], start) if frozen else None
    for prototypes in watch.prototypes[:frozen]:
        torch.testing.assert_close(prototypes, start, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(20))
    moves = [(a - b).norm().item() for a, b in zip(watch.prototypes, watch.prototypes[1:])]
    assert max(moves[:max(frozen - 1, 0)], default=0) < 1e-5 and min(moves[frozen:]) > 1e-4


@pytest.mark.long
@pytest.mark.parametrize('lars', [False, True])
def test_learns(tmp_path, lars):
    """On real images the loss falls, and under that of codes and predictions which are both uniform, ln 20."""
    lars = dict(_delete_=True, type='LARS', lr=0.6, weight_decay=1e-6, momentum=0.9) if lars else {}
    watch, _ = train(
        tmp_path,
        optimizer=lars,
        data=dict(train=dict(data_source=dict(num_images=400))),
        runner=dict(max_epochs=2 if lars else 4))
    first, last = (sum(losses) / 10 for losses in (watch.losses[:10], watch.losses[-10:]))
    assert last < first - 0.5
    assert lars or last < math.log(20) - 0.05


@pytest.mark.parametrize('hook, words', [
    (dict(batch_size=32), 'batch_size is 32, data.samples_per_gpu is 20'),
    (dict(feat_dim=128), 'feat_dim is 128, model.head.feat_dim is 16'),
    (dict(crops_for_assign=[0]), r'crops_for_assign is \[0\], model.head.crops_for_assign is \[0, 1\]'),
    (dict(queue_length=19), 'queue_length is 19, less than a batch of all processes, 20 x 1'),
])
def test_settings_that_contradict_each_other(tmp_path, hook, words):
    with pytest.raises(ConfigError, match=words):
        train(tmp_path, dict(HOOK, **hook))


@pytest.mark.parametrize('until', ['1 epochen', 'one epoch', -1, 2.5, True])
def test_time_that_is_none(tmp_path, until):
    with pytest.raises(ConfigError, match=f"'prototypes' stays for a number of iterations or '1 epoch', got {until!r}"):
        train(tmp_path, optimizer_config=dict(frozen_layers_cfg=dict(prototypes=until)))


def test_other_algorithms_are_refused(tmp_path):
    neck = dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=DIM)
    model = dict(
        _delete_=True,
        type='SimCLR',
        backbone=CONFIG['model']['backbone'],
        neck=neck,
        head=dict(type='ContrastiveHead'))
    with pytest.raises(ConfigError, match='needs a head with a queue, a SwAVHead; this one is a ContrastiveHead'):
        train(tmp_path, model=model)

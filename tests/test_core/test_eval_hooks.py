"""Hooks that look at features while training: what they log, and that training does not notice them."""
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv import Config
from torch import nn

from mmssl.core import collect_outputs
from mmssl.core.builder import HOOKS
from mmssl.core.hooks import CollapseMonitorHook, KNNEvalHook
from mmssl.core.runner import EpochBasedRunner, IterBasedRunner
from mmssl.core.training import build_loader
from mmssl.datasets import build_dataloader, build_dataset
from mmssl.datasets.loader import EpochLoader, PrefetchLoader
from mmssl.evaluation import extract_features, knn, quality, representation
from mmssl.models import ALGORITHMS, build_algorithm, build_backbone
from mmssl.utils.errors import BrokenImageError, ConfigError
from mmssl.utils.training_log import TrainingLog

NORM = dict(mean=[0.3], std=[0.35])
SOURCE = dict(type='Digits', color_type='grayscale', num_images=60)
VIEW = [dict(type='RandomResizedCrop', size=8, scale=(0.5, 1.))]
MODEL = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead', temperature=0.2))
BYOL = dict(
    MODEL,
    type='BYOL',
    head=dict(
        type='LatentPredictHead',
        predictor=dict(
            type='NonLinearNeck',
            in_channels=8,
            hid_channels=8,
            out_channels=8,
            norm_cfg=dict(type='BN'),
            with_avg_pool=False)))


def single(**source):
    return dict(type='SingleViewDataset', data_source=dict(SOURCE, **source), pipeline=[], prefetch=True)


class Watch:
    """Stands for all loggers: takes what is there to be logged after each iteration and epoch."""

    def __init__(self):
        self.lines = []

    def hook(self):
        from mmcv.runner import Hook
        watch = self

        class Take(Hook):

            def after_train_iter(self, runner):
                self.take(runner)

            def after_train_epoch(self, runner):
                self.take(runner)

            def take(self, runner):
                if runner.log_buffer.output:
                    watch.lines.append((runner.iter, dict(runner.log_buffer.output)))
                runner.log_buffer.clear_output()

        return Take()


def train(hooks=(), epochs=2, model=MODEL, watch=None, meta=None, work_dir=None, kind='Epoch'):
    torch.manual_seed(5)
    model = build_algorithm(model)
    model.init_weights()
    dataset = build_dataset(
        dict(type='MultiViewDataset', data_source=SOURCE, num_views=[2], pipelines=[VIEW], prefetch=True))
    loader = PrefetchLoader(EpochLoader(dataset, range(60), 20, drop_last=True, seed=1), **NORM)
    logger = logging.getLogger('test_eval_hooks')
    length = dict(max_epochs=epochs) if kind == 'Epoch' else dict(max_iters=3 * epochs)
    runner = dict(
        Epoch=EpochBasedRunner, Iter=IterBasedRunner)[kind](
            model,
            work_dir=work_dir and str(work_dir),
            optimizer=torch.optim.SGD(model.parameters(), 0.05),
            logger=logger,
            meta=meta,
            **length)
    runner.register_optimizer_hook(dict())
    for hook in hooks:
        runner.register_hook(HOOKS.build(hook) if isinstance(hook, dict) else hook)
    if watch:
        runner.register_hook(watch.hook(), 'VERY_LOW')
    if work_dir:
        runner.register_training_hooks(None, None, None, dict(interval=1, hooks=[dict(type='TextLoggerHook')]))
    runner.run([loader], [('train', 1)])
    return runner


def knn_hook(**arguments):
    return dict(
        type='KNNEvalHook',
        train_dataset=single(),
        val_dataset=single(test_mode=True),
        k=5,
        img_norm_cfg=NORM,
        **arguments)


def test_training_does_not_notice_the_hooks():
    """Bit for bit the same weights and statistics, the same state of the generators."""
    plain = train().model.state_dict()
    state = torch.get_rng_state()
    watched = train([
        knn_hook(at_start=True),
        knn_hook(by_epoch=False, interval=2),
        dict(type='CollapseMonitorHook', interval=1),
        dict(type='RepresentationQualityHook', dataset=single(), img_norm_cfg=NORM, at_start=True)
    ])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, plain[name]) for name, value in watched.model.state_dict().items())
    assert all(module.training for module in watched.model.modules())


def test_knn_hook_logs_what_evaluation_afterwards_gives():
    watch, meta = Watch(), {}
    runner = train([knn_hook(interval=2)], epochs=4, watch=watch, meta=meta)
    lines = [(i, line) for i, line in watch.lines if 'knn_top1' in line]
    assert [i for i, _ in lines] == [6, 12]  # after the epochs 2 and 4 of 3 iterations
    bank, queries = (
        extract_features(runner.model, build_dataset(d), img_norm_cfg=NORM) for d in (single(), single(test_mode=True)))
    expected = knn.run(bank['pooled'], bank.labels, queries['pooled'], queries.labels, k=5)
    last = lines[-1][1]
    assert (last['knn_top1'], last['knn_top5']) == (expected['k5_T0.07_top1'], expected['k5_T0.07_top5'])
    assert last['knn_best'] == max(line['knn_top1'] for _, line in lines) == meta['hook_msgs']['knn_best']


def test_figures_of_random_weights_are_logged_as_those_of_epoch_0(tmp_path):
    """Those of the model as it is before the first iteration; the log reads them as the begin of the curve."""
    torch.manual_seed(5)
    model = build_algorithm(MODEL)
    model.init_weights()
    before, images = [extract_features(model, build_dataset(single(**test)), img_norm_cfg=NORM)
                      for test in (dict(), dict(test_mode=True))]  # yapf: disable
    expected = knn.run(before['pooled'], before.labels, images['pooled'], images.labels, k=5)['k5_T0.07_top1']
    for kind in ('Epoch', 'Iter'):
        how = dict(at_start=True, by_epoch=kind == 'Epoch')
        seen = dict(type='RepresentationQualityHook', dataset=single(), img_norm_cfg=NORM, **how)
        train([knn_hook(**how), seen], work_dir=tmp_path / kind, kind=kind)
        log = TrainingLog(tmp_path / kind)
        epochs, values = log.curve('knn_top1')
        assert epochs[0] == 0 and values[0] == pytest.approx(expected, abs=1e-5)
        assert log.curve('quality_rankme')[1][0] == pytest.approx(quality.run(before['pooled'])['rankme'], rel=1e-4)
        if kind == 'Epoch':
            assert epochs == [0, 1, 2]


def test_knn_hook_of_the_teacher():
    """BYOL's target network, which lags behind."""
    watch = Watch()
    runner = train([knn_hook(teacher=True)], model=BYOL, watch=watch)
    last = [line for _, line in watch.lines if 'knn_top1' in line][-1]
    accuracies = []
    for model in (runner.model.target_net[0], runner.model):
        bank, queries = (
            extract_features(model, build_dataset(d), img_norm_cfg=NORM) for d in (single(), single(test_mode=True)))
        accuracies.append(knn.run(bank['pooled'], bank.labels, queries['pooled'], queries.labels, k=5)['k5_T0.07_top1'])
    assert last['knn_top1'] == accuracies[0]


def test_knn_hook_takes_part_of_a_large_bank():
    """Evenly spaced: the first samples of a set that is sorted by class would be of one class."""
    hook = KNNEvalHook(single(), single(test_mode=True), max_train=7, img_norm_cfg=NORM)
    assert hook.train_dataset.indices == [0, 9, 19, 29, 39, 49, 59]
    assert len(KNNEvalHook(single(), single(), max_train=60).train_dataset) == 60
    with pytest.raises(ValueError, match='interval must be at least 1, got 0'):
        KNNEvalHook(single(), single(), interval=0)


@pytest.mark.parametrize('model', [MODEL, BYOL])
def test_collapse_monitor_against_the_projections_themselves(model):
    """Both where the two views pass the neck together (SimCLR) and one after the other (BYOL)."""
    watch, seen = Watch(), []

    class Spy(CollapseMonitorHook):

        def before_run(self, runner):
            super().before_run(runner)
            runner.model.neck.register_forward_hook(lambda m, i, output: seen.append(output[0].detach()))

    train([Spy(interval=3)], model=model, watch=watch)
    lines = [(i, line) for i, line in watch.lines if 'feature_std' in line]
    assert [i for i, _ in lines] == [2, 5]
    z = torch.cat(seen[-1:] if model is MODEL else seen[-2:])
    expected = representation.run(z[:20], z[20:])
    assert {name: lines[-1][1][name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_collapse_is_reported_once(caplog):
    """"Is this loss normal?" had no answer elsewhere."""
    runner = train(epochs=1)
    with torch.no_grad():
        runner.model.neck.bn1.weight.zero_()
        runner.model.neck.bn1.bias.fill_(1)
    hook = CollapseMonitorHook(interval=1)
    runner.register_hook(hook)
    runner._max_epochs, runner._hooks = 2, [hook]
    with caplog.at_level(logging.WARNING, logger='test_eval_hooks'):
        runner.run([runner.data_loader], [('train', 1)])
    messages = [r.getMessage() for r in caplog.records if 'collapsed' in r.getMessage()]
    assert len(messages) == 1
    assert 'at iteration 4: feature_std 0.000' in messages[0] and 'effective rank 1.00 of at most 8' in messages[0]


def test_collapse_monitor_of_the_backbone():
    watch = Watch()
    train([dict(type='CollapseMonitorHook', interval=6, part='backbone', max_samples=10)], watch=watch)
    line = next(line for _, line in watch.lines if 'feature_std' in line)
    assert 1 < line['effective_rank'] <= 10
    with pytest.raises(ValueError, match="part must be 'neck' or 'backbone', got 'head'"):
        CollapseMonitorHook(part='head')


def test_collapse_monitor_of_a_transformer():
    """Its backbone gives pairs of a map and a class token for each layer; the map of the last one is looked at."""
    torch.manual_seed(0)
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    vit = build_backbone(dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8, out_indices=[0, 1]))
    hook = CollapseMonitorHook(part='backbone')
    hook.before_run(SimpleNamespace(model=nn.ModuleDict(dict(backbone=vit))))
    hook.views = []
    last = vit(torch.randn(3, 3, 32, 32))[-1][0]
    torch.testing.assert_close(hook.views[0], last.mean((2, 3)).detach())


def test_collapse_monitor_of_what_rebuilds_images():
    """The neck gives pixels, so that the tokens of the backbone are looked at, not its mask; nothing is said."""

    class Masked(nn.Module):

        def forward(self, img):
            return img.flatten(2), img[:, :, 0, 0], img[:, :, 0, 0].argsort()

    for rebuilds in (True, False):
        model = nn.Module()
        model.backbone, model.neck, model.has_fixed_targets = Masked(), nn.Identity(), rebuilds
        model.neck.rebuilds = rebuilds
        hook = CollapseMonitorHook()
        hook.before_run(SimpleNamespace(model=model))
        hook.views = []
        tokens = model.backbone(torch.randn(3, 5, 2, 2))[0]
        assert hook.warned == rebuilds and len(hook.views) == rebuilds
        if rebuilds:
            torch.testing.assert_close(hook.views[0], tokens.mean(1))
    fixed = {name for name, algorithm in ALGORITHMS.module_dict.items() if getattr(algorithm, 'has_fixed_targets', 0)}
    assert fixed == {'CAE', 'MAE', 'MaskFeat', 'SimMIM'}


def train_on_rank(rank, world_size):
    watch, meta = Watch(), {}
    torch.manual_seed(rank)
    model = build_algorithm(MODEL)
    model.init_weights()
    for p in model.parameters():
        torch.distributed.broadcast(p.data, 0)
    runner = EpochBasedRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), 0.05),
        logger=logging.getLogger('x'),
        meta=meta,
        max_epochs=1)
    for hook in (knn_hook(), dict(type='CollapseMonitorHook', interval=1)):
        runner.register_hook(HOOKS.build(hook))
    runner.register_hook(watch.hook(), 'VERY_LOW')
    # each rank sees other images, so that the statistics of its batch norm differ
    dataset = build_dataset(
        dict(type='MultiViewDataset', data_source=SOURCE, num_views=[2], pipelines=[VIEW], prefetch=True))
    loader = EpochLoader(dataset, range(rank, 60, world_size), 10, seed=1)
    runner.run([PrefetchLoader(loader, **NORM)], [('train', 1)])
    accuracy = next(line for _, line in watch.lines if 'knn_top1' in line)
    monitored = any('feature_std' in line for _, line in watch.lines)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    return accuracy['knn_top1'], monitored, state


def test_two_processes(run_distributed):
    """Each extracts its share with the statistics of rank 0, which are saved: one process gets the same accuracy."""
    (accuracy, monitored, state), (accuracy_1, monitored_1, _) = run_distributed(train_on_rank)
    assert accuracy == accuracy_1 and monitored and not monitored_1
    model = build_algorithm(MODEL)
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in state.items()})
    bank, queries = (
        extract_features(model, build_dataset(d), img_norm_cfg=NORM) for d in (single(), single(test_mode=True)))
    expected = knn.run(bank['pooled'], bank.labels, queries['pooled'], queries.labels, k=5)['k5_T0.07_top1']
    assert accuracy == pytest.approx(expected, abs=1 / 60)


def test_each_evaluation_sees_the_same_patches():
    """Where the patches of relative location lie is drawn at random, and must not tell one checkpoint from another."""

    class Means(torch.nn.Module):

        def forward(self, img, **kwargs):
            return dict(head0=torch.stack([patch.mean((1, 2, 3)) for patch in img], 1))

    dataset = build_dataset(
        dict(
            type='RelativeLocDataset',
            data_source=SOURCE,
            pipeline=[dict(type='Resize', size=24)],
            format_pipeline=[],
            prefetch=True))
    loader = PrefetchLoader(build_dataloader(dataset, 20, workers_per_gpu=0, dist=False, shuffle=False, seed=3), **NORM)
    first = collect_outputs(Means(), loader)['head0']
    later = torch.cat([Means()(batch['img'])['head0'] for batch in loader])
    assert not torch.equal(first, later)  # another epoch, other patches
    assert torch.equal(collect_outputs(Means(), loader)['head0'], first)


def test_broken_images_of_a_test(photo_folder, tmp_path, warnings_of_data):
    """Another image in their place would be judged by the wrong label; they are left out of outputs and accuracy."""
    shutil.copytree(photo_folder, tmp_path / 'photos')
    (tmp_path / 'photos/china/05.jpg').write_bytes(b'no image')
    (tmp_path / 'photos/flower/00.jpg').write_bytes(b'no image')
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='ImageNet', data_prefix=str(tmp_path / 'photos'), color_type='grayscale'),
            pipeline=[dict(type='Resize', size=(8, 8))],
            prefetch=True))
    cfg = Config(dict(data=dict(samples_per_gpu=7, workers_per_gpu=0), img_norm_cfg=NORM))
    kept = [i for i in range(24) if i not in (5, 12)]

    class Bright(torch.nn.Module):

        def forward(self, img, mode, **kwargs):
            return dict(head0=torch.stack([img.mean((1, 2, 3)), -img.mean((1, 2, 3))], 1))

    outputs = collect_outputs(Bright(), build_loader(dataset, cfg, testing=True))
    assert outputs.index.tolist() == kept and len(outputs['head0']) == 22
    right = (outputs['head0'].argmax(1).numpy() == dataset.gt_labels[kept]).mean()
    assert dataset.evaluate(outputs, 'silent', topk=(1, ))['head0_top1'] == pytest.approx(100 * right)
    assert len(warnings_of_data) == 1 and warnings_of_data[0].startswith('2 of 24 images cannot be read')
    cfg.broken_images = dict(policy='stop')
    with pytest.raises(BrokenImageError, match='china/05.jpg'):
        collect_outputs(Bright(), build_loader(dataset, cfg, testing=True))
    cfg.broken_images = dict(policy='skip')
    with pytest.raises(ConfigError, match="must be 'replace' or 'stop' here, got 'skip'"):
        build_loader(dataset, cfg)

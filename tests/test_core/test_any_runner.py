"""Hooks under the runners of this toolbox and of mmcv, by epoch and by iteration, and code of users of MMSelfSup."""
import json
import logging

import mmcv.runner
import pytest
import torch
from mmcv.runner import Hook
from torch import nn
from torch.utils.data import DataLoader

from mmssl.core import build_optimizer, build_runner
from mmssl.core.builder import HOOKS, OPTIMIZERS
from mmssl.core.hooks import EvalHook
from mmssl.utils.checkpoint import read_checkpoint
from mmssl.utils.errors import ConfigError

DIGITS = dict(
    type='SingleViewDataset',
    data_source=dict(type='Digits', color_type='grayscale', num_images=60),
    pipeline=[dict(type='Resize', size=8)],
    prefetch=True)
NORM = dict(mean=[0.3], std=[0.3])
# three iterations an epoch, two epochs
RUNNERS = {
    'epochs': dict(type='EpochBasedRunner', max_epochs=2),
    'iterations': dict(type='IterBasedRunner', max_iters=6),
    'mmcv epochs': dict(type=mmcv.runner.EpochBasedRunner, max_epochs=2),
    'mmcv iterations': dict(type=mmcv.runner.IterBasedRunner, max_iters=6),
}


class Net(nn.Module):
    """A model of nobody's base class, with what the hooks drive: no is_update_iter, losses as numbers."""

    base_momentum = momentum = 0.9
    loss_lambda = 0.5

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1))
        self.moves = 0

    def forward(self, img, mode='train', **kwargs):
        if mode == 'test':
            return dict(head0=self.backbone(img).flatten(1))
        return (self.backbone(img), ) if mode == 'extract' else self.backbone(img).flatten(1)

    def extract_feat(self, img):
        return (self.backbone(img), )

    def momentum_update(self):
        self.moves += 1

    def train_step(self, data, optimizer):
        loss = (self(data)**2).mean()
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data))

    val_step = train_step


class Scores(torch.utils.data.Dataset):
    """Images of one value, so that their score is known from the weights."""

    def __len__(self):
        return 4

    def __getitem__(self, idx):
        return dict(img=torch.full((1, 8, 8), 0.1), idx=idx)

    def evaluate(self, results, logger=None):
        return dict(score=float(results['head0'][0, 0]))


def make_runner(kind, folder, **optimizer):
    torch.manual_seed(0)
    model = Net()
    arguments = dict(
        model=model,
        optimizer=build_optimizer(model, optimizer or dict(type='SGD', lr=0.5, momentum=0.5)),
        work_dir=str(folder),
        logger=logging.getLogger('test'),
        meta={})
    cfg = dict(RUNNERS[kind])
    if isinstance(cfg['type'], str):
        return build_runner(cfg, arguments), True
    return cfg.pop('type')(**arguments, **cfg), False


def loader():
    return DataLoader(torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1)), 4)


@pytest.mark.parametrize('kind', RUNNERS)
def test_every_hook_under_every_runner(kind, tmp_path, monkeypatch):
    """The moving average of a plain loop is what checkpoints and evaluations see, at their times."""
    monkeypatch.setattr('mmcv.runner.epoch_based_runner.time.sleep', lambda s: None)
    monkeypatch.setattr('mmcv.runner.iter_based_runner.time.sleep', lambda s: None)
    training, ours = make_runner(kind, tmp_path)
    by_epoch = 'epochs' in kind
    by = {} if ours or by_epoch else dict(by_epoch=False)  # mmcv's own runner has no defaults
    interval = 1 if by_epoch else 3
    model, expected, seen = training.model, [], []
    parameters = list(model.parameters())
    averages = [p.detach().clone() for p in parameters]

    class Reference(Hook):

        def after_train_iter(self, runner):
            for a, p in zip(averages, parameters):
                a.lerp_(p.detach(), min(0.2, (1 + runner.iter) / (2 + runner.iter)))
            seen.append((runner.iter, model.momentum, model.loss_lambda))
            if (runner.iter + 1) % 3 == 0:
                expected.append([a.clone() for a in averages])

    def add(cfg, priority='NORMAL'):
        cfg = dict(cfg)
        if ours:
            training._register(cfg, priority)
        else:
            if 'by_epoch' in HOOKS.get(cfg['type']).__init__.__code__.co_varnames:
                cfg.update(by)
            training.register_hook(HOOKS.build(cfg), priority)

    add(dict(type='StepFixCosineAnnealingLrUpdaterHook', min_lr=0.1), 'VERY_HIGH')
    add(dict(type='DistOptimizerHook', grad_clip=dict(max_norm=10.)), 'ABOVE_NORMAL')
    add(dict(type='CheckpointHook', interval=interval))
    training.register_hook(Reference())
    # mmcv's runners write checkpoints at once, not when all hooks are done
    add(dict(type='EMAHook', momentum=0.2, warm_up=2), 'ABOVE_NORMAL')
    training.register_hook(EvalHook(DataLoader(Scores(), 4), interval=interval, by_epoch=by_epoch), 'LOW')
    add(dict(type='MomentumUpdateHook'))
    add(dict(type='DenseCLHook', start_iters=2))
    add(dict(type='SimSiamHook', fix_pred_lr=True, lr=1.))
    add(dict(type='CollapseMonitorHook', interval=3))
    add(dict(type='KNNEvalHook', train_dataset=DIGITS, val_dataset=DIGITS, interval=interval, k=1, img_norm_cfg=NORM))
    add(
        dict(
            type='RepresentationQualityHook', dataset=DIGITS, interval=interval, save_best='rankme', img_norm_cfg=NORM))
    training.register_hook(HOOKS.build(dict(type='IterTimerHook')), 'LOW')
    for name in ('TextLoggerHook', 'ProgressBarLoggerHook'):
        add(dict(type=name, interval=3), 'VERY_LOW')
    training.run([loader()], [('train', 1)])

    # 6 moves of the teacher, a cosine of the momentum to 1, no positions in the first two iterations
    assert model.moves == 6
    assert [i for i, _, _ in seen] == list(range(6)) and [part for _, _, part in seen] == [0, 0, 0.5, 0.5, 0.5, 0.5]
    assert [momentum for _, momentum, _ in seen][::3] == pytest.approx([0.9, 0.95])
    files = [tmp_path / f'{name}.pth' for name in (('epoch_1', 'epoch_2') if by_epoch else ('iter_3', 'iter_6'))]
    for path, averages in zip(files, expected):
        saved = list(read_checkpoint(path)['state_dict'].values())
        torch.testing.assert_close(saved, averages, atol=1e-6, rtol=1e-5)
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    found = {name: [line[name] for line in lines if name in line] for name in ('score', 'knn_top1', 'quality_rankme')}
    assert found['score'] == [pytest.approx(float(0.1 * w[0].sum() + b[0]), rel=1e-4) for w, b in expected]
    assert found['knn_top1'] == [1.] * 2 and len(found['quality_rankme']) == 2
    assert len(list(tmp_path.glob('best_rankme_*.pth'))) == 1
    assert sum('loss' in line for line in lines) == 2 and sum('feature_std' in line for line in lines) >= 1


@pytest.mark.parametrize('name, arguments', [('CheckpointHook', dict(interval=1)), ('TextLoggerHook', {}),
                                             ('KNNEvalHook', dict(train_dataset=DIGITS, val_dataset=DIGITS))])
def test_epochs_under_a_runner_by_iterations_are_refused(tmp_path, name, arguments):
    training, _ = make_runner('iterations', tmp_path)
    training._register(dict(arguments, type=name, by_epoch=True), 'NORMAL')
    with pytest.raises(ConfigError, match=f'{name} has by_epoch=True, and IterBasedRunner counts iterations'):
        training.run([loader()], [('train', 1)])


def test_checkpoints_by_iteration_between_epochs_hold_the_averages(tmp_path):
    """And a training that goes on from one begins with the parameters."""
    training, _ = make_runner('epochs', tmp_path)
    training.register_training_hooks(None, dict(), dict(interval=2, by_epoch=False))
    training.register_hook_from_cfg(dict(type='EMAHook', momentum=0.2))
    kept = {}

    class Keep(Hook):

        def after_train_iter(self, runner):
            kept[runner.iter + 1] = runner.model.backbone[0].weight.detach().clone()

    training.register_hook(Keep(), 'LOWEST')
    training.run([loader()], [('train', 1)])
    saved = read_checkpoint(tmp_path / 'iter_4.pth')
    assert not torch.equal(saved['state_dict']['backbone.0.weight'], kept[4]) and saved['hooks']['EMAHook']['swapped']
    again, _ = make_runner('epochs', tmp_path)
    again.register_training_hooks(None, dict())
    again.register_hook_from_cfg(dict(type='EMAHook', momentum=0.2))
    begun = []

    class First(Hook):

        def before_train_iter(self, runner):
            begun.append(runner.model.backbone[0].weight.detach().clone())

    again.register_hook(First(), 'LOWEST')
    again.resume(str(tmp_path / 'iter_4.pth'))
    again.run([loader()], [('train', 1)])
    assert torch.equal(begun[0], kept[4])


def test_hooks_and_optimizers_of_a_user(tmp_path):
    """Written after the tutorials of MMSelfSup 0.x, with its imports, under the optimizer hook of the user."""
    from mmcv.runner.hooks import OptimizerHook

    @OPTIMIZERS.register_module(force=True)
    class MyOptimizer(torch.optim.Optimizer):

        def __init__(self, params, a, b=1.):
            super().__init__(params, dict(a=a, b=b, lr=a))

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group['params']:
                    if p.grad is not None:
                        p -= group['a'] * group['b'] * p.grad.sign()

    @HOOKS.register_module(force=True)
    class MyOptimizerHook(OptimizerHook):

        def after_train_iter(self, runner):
            runner.optimizer.zero_grad()
            runner.outputs['loss'].backward()
            if self.grad_clip is not None:
                norm = self.clip_grads(runner.model.parameters())
                runner.log_buffer.update({'grad_norm': float(norm)}, runner.outputs['num_samples'])
            runner.optimizer.step()

    calls = []

    @HOOKS.register_module(force=True)
    class MyHook(Hook):

        def __init__(self, a, b):
            self.a, self.b = a, b

        def before_run(self, runner):
            calls.append('before_run')

        def after_iter(self, runner):
            calls.append(self.a + self.b)

        def after_epoch(self, runner):
            calls.append('after_epoch')

    training, _ = make_runner('epochs', tmp_path, type='MyOptimizer', a=0.125, b=2.)
    before = training.model.backbone[0].weight.detach().clone()
    training.register_training_hooks(
        None,
        dict(type='MyOptimizerHook', grad_clip=dict(max_norm=1e9)),
        dict(interval=1),
        dict(interval=3, hooks=[dict(type='TextLoggerHook')]),
        custom_hooks_config=[dict(type='MyHook', a=1, b=2, priority='LOW')])
    training.run([loader()], [('train', 1)])
    assert calls == ['before_run', *[3] * 3, 'after_epoch', *[3] * 3, 'after_epoch']
    moved = (training.model.backbone[0].weight.detach() - before) / 0.25
    torch.testing.assert_close(moved, moved.round())
    assert moved.any() and (tmp_path / 'epoch_2.pth').is_file()
    assert '"grad_norm"' in next(tmp_path.glob('*.json')).read_text()


def test_float16_needs_a_runner_of_this_toolbox(tmp_path):
    training, _ = make_runner('mmcv epochs', tmp_path)
    training.register_hook(HOOKS.build(dict(type='Fp16OptimizerHook')))
    with pytest.raises(ConfigError, match='which mmcv.runner.epoch_based_runner.EpochBasedRunner cannot'):
        training.run([loader()], [('train', 1)])

"""Runners: hooks in order, no sleeps, exact resume in process, accumulation, logs."""
import copy
import json
import logging
import math
import re
import time
from pathlib import Path

import pytest
import torch
from mmcv.runner.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader

from mmssl.apis import set_random_seed, train_model
from mmssl.core import build_optimizer, build_runner
from mmssl.core.builder import HOOKS
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import CheckpointError, find_latest_checkpoint, read_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


class Interrupt(Hook):
    """Stop as an unexpected error would, after all hooks of an iteration."""

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner):
        if runner.iter == self.at:
            raise KeyboardInterrupt


def train(cfg, work_dir, distributed=False):
    """A training as tools/train.py runs it; returns the runner."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir)
    set_random_seed(cfg.seed)
    model = build_algorithm(cfg.model)
    model.init_weights()
    return train_model(model, build_dataset(cfg.data.train), cfg, distributed, meta=dict(seed=cfg.seed))


def resumed(cfg, folder, at, distributed=False):
    """The same training, stopped before iteration `at` and resumed."""
    stopped = copy.deepcopy(cfg)
    stopped.custom_hooks = [*cfg.get('custom_hooks', []), dict(type=Interrupt, at=at)]
    with pytest.raises(KeyboardInterrupt):
        train(stopped, folder, distributed)
    cfg = copy.deepcopy(cfg)
    cfg.resume_from = find_latest_checkpoint(folder)
    torch.rand(7)  # a resumed process has other random states
    return train(cfg, folder, distributed)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same_training(a, b):
    assert a.iter == b.iter
    assert same(a.model.state_dict(), b.model.state_dict())
    assert same(a.optimizer.state_dict(), b.optimizer.state_dict())
    assert same([h.state_dict() for h in a.hooks if type(h).__name__ == 'EMAHook'],
                [h.state_dict() for h in b.hooks if type(h).__name__ == 'EMAHook'])


@pytest.mark.long
@pytest.mark.parametrize('runner, interval', [(dict(type='EpochBasedRunner', max_epochs=2), 7),
                                              (dict(type='IterBasedRunner', max_iters=40), 22)])
def test_resume_is_exact(tmp_path, runner, interval):
    """PITFALLS: state outside the checkpoint, random states, EMA on every iteration of an accumulation.

    BYOL with drop path, LARS, accumulation over 3 iterations (so that checkpoints wait for a step), a momentum encoder
    updated by a hook of lower priority than the checkpoint's, and EMAHook.
    """
    cfg = load_config(CONFIGS / 'digits_byol.py')
    cfg.runner, cfg.checkpoint_config.interval = runner, interval
    assert_same_training(train(cfg, tmp_path / 'a'), resumed(cfg, tmp_path / 'b', 35))


@pytest.mark.long
def test_resume_at_the_end_of_an_epoch(tmp_path):
    cfg = load_config(CONFIGS / 'digits_byol.py', {'checkpoint_config': dict(_delete_=True, interval=1)})
    cfg.model.backbone.drop_path_rate = 0.5
    whole = train(cfg, tmp_path / 'a')
    assert sorted(p.name for p in (tmp_path / 'a').glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth', 'latest.pth']
    assert_same_training(whole, resumed(cfg, tmp_path / 'b', 30))


@pytest.mark.parametrize('keep, first', [(2, 7), (4, 5), (7, 2), (9, 1), (-1, 1)])
def test_as_many_checkpoints_as_asked_for(tmp_path, keep, first):
    """A training of 8 epochs with a resume after the fifth: at its end the last `keep` files are there, no other.

    One removal is undone before the resume, as by a kill right after the new file was written. mmcv's runners sleep 2 s
    an epoch, these do not.
    """
    start = time.time()
    for epochs in (5, 8):
        runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=epochs))
        runner.register_training_hooks(None, dict(), dict(interval=1, max_keep_ckpts=keep))
        if epochs == 8:
            (tmp_path / f'epoch_{max(1, 5 - keep)}.pth').touch()
            runner.resume(str(tmp_path / 'epoch_5.pth'))
        runner.run([numbers(4)], [('train', 1)])
        first_now = first if epochs == 8 else max(1, 6 - keep) if keep > 0 else 1
        files = sorted(p.name for p in tmp_path.glob('*.pth'))
        assert files == [f'epoch_{i}.pth' for i in range(first_now, epochs + 1)] + ['latest.pth']
    assert time.time() - start < 10
    assert (tmp_path / 'latest.pth').resolve().name == 'epoch_8.pth'


class Linear(nn.Module):
    """A least-squares model with a train_step."""

    def __init__(self, features=3):
        super().__init__()
        self.layer = nn.Linear(features, 1)

    def forward(self, data):
        return (self.layer(data)**2).mean()

    def train_step(self, data, optimizer, forward=None):
        loss = (forward or self)(data)
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data))

    val_step = train_step


def numbers(n, batch_size=4):
    return DataLoader(torch.randn(n * batch_size, 3, generator=torch.Generator().manual_seed(0)), batch_size)


def plain_runner(work_dir, cfg, model=None, optimizer=dict(type='SGD', lr=0.1)):
    model = model or Linear()
    logger = logging.getLogger('test')
    return build_runner(
        cfg,
        dict(model=model, optimizer=build_optimizer(model, optimizer), work_dir=str(work_dir), logger=logger, meta={}))


def test_hook_order(tmp_path):
    """Rows HK-01 and HK-02: default priorities, custom hooks at NORMAL after the default ones."""
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.register_training_hooks(
        dict(policy='step', step=[1]),
        dict(grad_clip=None),
        dict(interval=1),
        dict(interval=1, hooks=[dict(type='TextLoggerHook')]),
        dict(policy='cyclic'),
        custom_hooks_config=[dict(type='EMAHook', priority='HIGH'),
                             dict(type='SimSiamHook', fix_pred_lr=True, lr=1.)])
    assert [(type(h).__name__, int(h.priority)) for h in runner.hooks] == [('StepLrUpdaterHook', 10),
                                                                           ('CyclicMomentumUpdaterHook', 30),
                                                                           ('EMAHook', 30), ('DistOptimizerHook', 40),
                                                                           ('CheckpointHook', 50), ('SimSiamHook', 50),
                                                                           ('IterTimerHook', 70),
                                                                           ('LastIterationHook', 90),
                                                                           ('TextLoggerHook', 90)]
    assert 'ABOVE_NORMAL' in runner.get_hook_info()


@pytest.mark.parametrize('k, batches', [(4, 4), (3, 7)])
def test_accumulation_equals_a_larger_batch(tmp_path, k, batches):
    """k batches of B give the gradient of one of k * B; an incomplete last group is a step of its own mean."""
    model, loader = Linear(), numbers(batches)
    reference = copy.deepcopy(model)
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=2), model)
    runner.register_training_hooks(None, dict(type='DistOptimizerHook', update_interval=k))
    runner.run([loader], [('train', 1)])
    optimizer = torch.optim.SGD(reference.parameters(), 0.1)
    data = list(loader)
    for _ in range(2):
        for start in range(0, batches, k):
            optimizer.zero_grad()
            reference.train_step(torch.cat(data[start:start + k]), None)['loss'].backward()
            optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_frozen_layers(tmp_path):
    """HK-12: no step before that many iterations, also not by weight decay or momentum."""
    model = Linear()
    weight, bias = model.layer.weight.clone(), model.layer.bias.clone()
    sgd = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), model, sgd)
    runner.register_training_hooks(None, dict(frozen_layers_cfg={'layer.bias': 3}))
    runner.run([numbers(3)], [('train', 1)])
    assert torch.equal(model.layer.bias, bias) and not torch.equal(model.layer.weight, weight)
    runner._max_epochs = 2
    runner.run([numbers(3)], [('train', 1)])
    assert not torch.equal(model.layer.bias, bias)


@pytest.mark.parametrize('scale', [512., 'dynamic'])
def test_loss_scale_is_undone(tmp_path, scale):
    """The scaler changes neither step nor clipping, and its state is in the checkpoint."""
    models = [Linear(), Linear()]
    models[1].load_state_dict(models[0].state_dict())
    for i, model in enumerate(models):
        runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), model)
        options = dict(loss_scale=scale) if i else {}
        runner.register_training_hooks(None, dict(grad_clip=dict(max_norm=0.05), **options), dict(interval=1))
        runner.run([numbers(3)], [('train', 1)])
    torch.testing.assert_close(models[0].layer.weight, models[1].layer.weight)
    state = read_checkpoint(tmp_path / 'latest.pth')['hooks']['DistOptimizerHook']['scaler']
    assert state['scale'] == (512. if scale == 512. else 65536.)


def test_bfloat16_step(tmp_path):
    model = Linear()
    seen = []
    model.layer.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), model)
    runner.amp_dtype = torch.bfloat16
    runner.register_training_hooks(None, dict())
    runner.run([numbers(2)], [('train', 1)])
    assert seen == [torch.bfloat16] * 2 and model.layer.weight.grad.dtype == torch.float32


def test_nan_stops_the_training(tmp_path):
    model = Linear()
    model.layer.weight.data.fill_(float('nan'))
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), model)
    runner.register_training_hooks(None, dict(), None, dict(interval=2, hooks=[dict(type='TextLoggerHook')]))
    with pytest.raises(FloatingPointError, match='loss is nan in iteration 1 '):
        runner.run([numbers(3)], [('train', 1)])


class Root(Linear):
    """The loss is finite, its gradient at 0 is not."""

    def forward(self, data):
        return self.layer(0 * data).pow(2).sum(1).sqrt().mean()


@pytest.mark.parametrize('hook', [dict(), dict(grad_clip=dict(max_norm=1.)), dict(type='UsersOptimizerHook')])
def test_gradients_that_are_no_numbers_reach_no_checkpoint(tmp_path, hook):
    """Before: NaN in latest.pth, under a message that the checkpoints are as they were."""

    @HOOKS.register_module(force=True)
    class UsersOptimizerHook(Hook):

        def after_train_iter(self, runner):
            runner.outputs['loss'].backward()
            runner.optimizer.step()

    model = Root()
    model.layer.bias.data.zero_()
    weight = model.layer.weight.clone()
    runner = plain_runner(tmp_path / "John's run", dict(type='EpochBasedRunner', max_epochs=1), model)
    runner.register_training_hooks(None, hook, dict(interval=1))
    ours = 'type' not in hook  # those of a user are looked at no earlier than in the checkpoint
    message = '(?s)its gradients are not: 2 of 2 parameters.*layer.bias.*nonfinite_iter_1_rank0' if ours else \
        'parameters are not finite after iteration 1, .*no checkpoint of them is written'
    with pytest.raises(FloatingPointError, match=message):
        runner.run([numbers(3 if ours else 1)], [('train', 1)])
    assert not list((tmp_path / "John's run").glob('[!n]*.pth'))
    if ours:
        assert torch.equal(model.layer.weight, weight)
        dump = read_checkpoint(tmp_path / "John's run" / 'nonfinite_iter_1_rank0.pth')
        assert torch.equal(dump['state_dict']['layer.weight'], weight) and dump['batch'].shape == (4, 3)


def test_nan_in_a_validation_stops_the_training(tmp_path):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.register_training_hooks(None, dict())
    bad = torch.randn(8, 3)
    bad[5] = float('nan')
    with pytest.raises(FloatingPointError, match='the validation is nan in batch 2, after iteration 2'):
        runner.run([numbers(2), DataLoader(bad, 4)], [('train', 1), ('val', 1)])


@pytest.mark.parametrize('cfg, workflow, message', [
    (dict(type='EpochBasedRunner', max_epochs=0), None, 'max_epochs is an integer of at least 1, got 0'),
    (dict(type='IterBasedRunner', max_iters=2.5), None, 'max_iters must be int, got 2.5'),
    (dict(type='EpochBasedRunner', max_epochs='5'), None, "max_epochs must be int, got '5'"),
    (dict(type='EpochBasedRunner', max_iters=5), None, 'EpochBasedRunner needs max_epochs, and no max_iters'),
    (dict(type='IterBasedRunner', max_iters=5, max_epochs=5), None, 'needs max_iters, and no max_epochs'),
    (dict(type='EpochBasedRunner', max_epochs=1), [('train', 0)], "('train', n).*got ('train', 0)"),
    (dict(type='EpochBasedRunner', max_epochs=1), [('val', 1)], "no phase ('train', n)"),
    (dict(type='IterBasedRunner', max_iters=1), [('val', 1)], "no phase ('train', n)"),
    (dict(type='IterBasedRunner', max_iters=1), [('train', '1')], "got ('train', '1')"),
    (dict(type='IterBasedRunner', max_iters=1), [('training', 1)], "got ('training', 1)"),
])
def test_lengths_that_make_no_training(tmp_path, cfg, workflow, message):
    """Before: an end without a word, or none at all."""
    with pytest.raises(ConfigError, match=re.escape(message).replace(r'\.\*', '.*')):
        plain_runner(tmp_path, cfg).run([numbers(2)], workflow)


def test_a_hook_that_is_none(tmp_path):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    with pytest.raises(ConfigError, match='a hook is a dict with a "type", got \'TextLoggerHook\''):
        runner.register_logger_hooks(dict(interval=1, hooks=['TextLoggerHook']))


def test_resume_refuses_weights_and_another_model(tmp_path):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.save_checkpoint(str(tmp_path), 'a.pth')
    other = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), Linear(5))
    with pytest.raises(CheckpointError, match='does not fit the model exactly|nothing in'):
        other.resume(str(tmp_path / 'a.pth'))
    torch.save(dict(state_dict=Linear().state_dict()), tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match='load_from'):
        runner.resume(str(tmp_path / 'b.pth'))


def test_resume_keeps_the_schedule(tmp_path):
    """PITFALLS: resume starts with a wrong LR (mmdetection #6572)."""
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=4))
    lr_config = dict(policy='step', step=[1, 2], gamma=0.1, warmup='linear', warmup_iters=2)
    runner.register_training_hooks(lr_config, dict(), dict(interval=3))
    runner.run([numbers(3)], [('train', 1)])
    rates = []

    class Record(Hook):

        def before_train_iter(self, runner):
            rates.append(runner.current_lr()[0])

    again = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=4))
    again.register_training_hooks(lr_config, dict(), None, custom_hooks_config=[Record()])
    again.resume(str(tmp_path / 'epoch_3.pth'))
    again.run([numbers(3)], [('train', 1)])
    assert rates == pytest.approx([0.001] * 3)


@pytest.mark.parametrize('recorded', [True, False])
def test_changed_settings_take_effect_at_a_resume(tmp_path, recorded, caplog):
    """Rates, decay and momentum of a resume are those of its config, and schedules start from them.

    Reference: from the checkpoint on, the schedule's rate of the new base. Without the record, as in checkpoints of
    MMSelfSup, the state tells what the settings were.
    """
    caplog.set_level(logging.INFO)
    lr_config = dict(policy='CosineAnnealing', min_lr=0., by_epoch=False)
    adam = dict(type='AdamW', lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=2), optimizer=adam)
    runner.register_training_hooks(lr_config, dict(), dict(interval=1))
    runner._max_epochs = 1
    runner.run([numbers(3)], [('train', 1)])
    path = tmp_path / 'epoch_1.pth'
    if not recorded:
        checkpoint = read_checkpoint(path)
        del checkpoint['optimizer_settings']
        torch.save(checkpoint, path)
    for changes in ({}, dict(lr=0.5, weight_decay=0.2, betas=(0.8, 0.99))):
        again = plain_runner(
            tmp_path, dict(type='EpochBasedRunner', max_epochs=2), runner.model, optimizer={
                **adam,
                **changes
            })
        again.register_training_hooks(lr_config, dict())
        caplog.clear()
        again.resume(str(path))
        assert ('lr: 0.1 -> 0.5' in caplog.text) == ('weight_decay: 0.1 -> 0.2' in caplog.text) == bool(changes)
        again.run([numbers(3)], [('train', 1)])
        group, = again.optimizer.param_groups
        new = {**adam, **changes}
        assert group['lr'] == pytest.approx(new['lr'] * (1 + math.cos(math.pi * 5 / 6)) / 2)
        assert all(group[key] == new[key] for key in ('weight_decay', 'betas'))


@pytest.mark.parametrize('recorded', [True, False])
@pytest.mark.parametrize(
    'optimizer, message',
    [(dict(type='Adam', lr=0.1), 'holds the state of .*, and optimizer.type is Adam: go on with'),
     (dict(type='SGD', lr=0.1, paramwise_options=dict(bias=dict(weight_decay=0.))), 'grouped otherwise')])
def test_state_of_another_optimizer_is_refused(tmp_path, optimizer, message, recorded):
    """Before: a KeyError in the first step."""
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.save_checkpoint(str(tmp_path), 'a.pth')
    if not recorded:
        checkpoint = read_checkpoint(tmp_path / 'a.pth')
        del checkpoint['optimizer_settings']
        torch.save(checkpoint, tmp_path / 'a.pth')
    other = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), optimizer=optimizer)
    with pytest.raises(CheckpointError, match=message):
        other.resume(str(tmp_path / 'a.pth'))


def test_progress_lines_without_a_terminal(tmp_path, capsys):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=2))
    runner.register_training_hooks(None, dict(), None, dict(interval=5, hooks=[dict(type='ProgressBarLoggerHook')]))
    runner.run([numbers(10)], [('train', 1)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [[f'{25 * i}%', 'iteration', f'{5 * i}/20'] for i in range(1, 5)]
    assert all(words in lines[0] for words in ('epoch 1/2', 'loss ', 'img/s', 'data wait', ' left'))
    assert lines[-1].endswith('  0:00:00 left') and all(line.isprintable() for line in lines)


def test_a_bar_in_terminals_and_notebooks(monkeypatch):
    """A notebook without widgets gets plain lines, as a file does."""
    import importlib.util
    import sys
    import types

    import tqdm
    import tqdm.notebook

    from mmssl.core.hooks import progress_bar
    terminal = types.SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(sys, 'stderr', terminal)
    assert progress_bar._bar_kind() is tqdm.tqdm
    terminal.isatty = lambda: False
    assert progress_bar._bar_kind() is None
    shell = types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(get_ipython=lambda: shell))
    for widgets, kind in ((None, None), (object(), tqdm.notebook.tqdm)):
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: widgets)
        assert progress_bar._bar_kind() is kind


def test_writing_a_checkpoint_is_no_wait_for_data(tmp_path):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))

    class Save(Hook):

        def after_train_iter(self, runner):
            runner.defer(lambda: time.sleep(0.2))

    runner.register_training_hooks(None, dict())
    runner.register_hook(Save())
    runner.run([numbers(5)], [('train', 1)])
    assert len(runner.log_buffer.val_history['data_time']) == 5
    assert sum(runner.log_buffer.val_history['data_time']) < 0.2


@pytest.mark.parametrize('cfg, expected', [
    (dict(type='EpochBasedRunner', max_epochs=2), [(1, 4, [0, 4]), (1, 7, [4, 7]), (2, 4, [7, 11]), (2, 7, [11, 14])]),
    (dict(type='IterBasedRunner', max_iters=11), [(1, 4, [0, 4]), (2, 8, [4, 8]), (2, 11, [8, 11])]),
])
def test_the_last_iterations_are_logged(tmp_path, cfg, expected, caplog):
    """mmcv leaves out what fills no interval: of a short epoch all. Each line is the mean of the iterations since."""
    import json

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    caplog.set_level(logging.INFO)
    losses = []

    class Record(Hook):

        def after_train_iter(self, runner):
            losses.append(float(runner.outputs['loss']))

    runner = plain_runner(tmp_path, cfg)
    log_config = dict(interval=4, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
    runner.register_training_hooks(None, dict(), None, log_config, custom_hooks_config=[Record()])
    runner.run([numbers(7)], [('train', 1)])
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()[1:]]
    found = [(line['epoch'], line['iter'], line['loss']) for line in lines]
    assert found == [(epoch, i, pytest.approx(sum(losses[a:b]) / (b - a), rel=1e-4)) for epoch, i, (a, b) in expected]
    assert [line.count('eta: 0:00:00') for line in caplog.text.splitlines() if 'loss: ' in line] == [1] * len(expected)
    length = '2 epochs' if 'max_epochs' in cfg else '11 iterations'
    assert f'Training on 28 images, 7 iterations an epoch, {length}; batch 4; cpu (1 threads); 0.0 M parameters' \
        in caplog.text
    board = EventAccumulator(str(tmp_path / 'tf_logs')).Reload()
    for tag, key in (('loss', 'loss'), ('img_per_sec', 'img_per_sec'), ('data_share', 'data_share')):
        assert [event.value for event in board.Scalars(f'train/{tag}')] == \
            pytest.approx([line[key] for line in lines], rel=1e-4)


@pytest.mark.parametrize('section, cfg, message', [
    ('lr', dict(policy='cosine',
                min_lr=0.), "'cosine' is no policy; did you mean 'CosineAnnealing' or .*'CosineRestart'"),
    ('lr', dict(policy='Poli'), "'Poli' is no policy; did you mean 'Poly'"),
    ('lr', dict(policy=3), '3 is no policy'),
    ('lr', dict(policy='cosineannealing'), 'CosineAnnealingLrUpdaterHook takes one of min_lr and min_lr_ratio'),
    ('momentum', dict(policy='cosineAnnealing', min_momentum=0., min_momentum_ratio=1.), 'one of min_momentum and'),
    ('lr', dict(policy='step'), "StepLrUpdaterHook needs the argument 'step'"),
    ('logger', dict(interval=5), 'log_config.hooks is a list of loggers, .*got None'),
    ('logger', dict(interval=0, hooks=[]), 'log_config.interval is an integer of at least 1, got 0'),
    ('custom', [['a']], r"a hook is a dict with a \"type\", got \['a'\]"),
    ('custom', [dict(type='EMAHook', priority='HIHG')
                ], "priority is a number from 0 to 100 or one of HIGHEST, .*'HIHG'"),
    ('custom', [dict(type='OptimizerHook', grad_clip=dict(max_nrm=1))], "no option 'max_nrm'; did you mean 'max_norm'"),
    ('custom', [dict(type='CheckpointHook', max_keep_ckpts=-4)], 'max_keep_ckpts is a number of files, .* got -4'),
])
def test_hooks_that_cannot_be_built(tmp_path, section, cfg, message):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    register = dict(
        lr=runner.register_lr_hook,
        momentum=runner.register_momentum_hook,
        logger=runner.register_logger_hooks,
        custom=runner.register_custom_hooks)[section]
    with pytest.raises(ConfigError, match=message):
        register(cfg)


def test_float16_on_a_cpu_is_warned_of(tmp_path, caplog):
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1))
    runner.register_training_hooks(None, dict(type='Fp16OptimizerHook'))
    runner.run([numbers(1)], [('train', 1)])
    assert 'float16 on a CPU is about ten times slower than float32: add --cfg-options fp16=None' in caplog.text


def test_small_rates_survive_in_the_json_log(tmp_path):
    import json
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), optimizer=dict(type='SGD', lr=1.5e-7))
    runner.register_training_hooks(None, dict(), None, dict(interval=2, hooks=[dict(type='TextLoggerHook')]))
    runner.run([numbers(2)], [('train', 1)])
    (log, ) = tmp_path.glob('*.log.json')
    line = json.loads(log.read_text().splitlines()[-1])
    assert line['lr'] == 1.5e-7 and line['mode'] == 'train' and 0 <= line['data_share'] <= 1


class Validated(Linear):
    """Its validation has the losses 0, 1, 2, ... times 100."""
    validated = -1

    def val_step(self, data, optimizer):
        self.validated += 1
        loss = torch.tensor(100. * self.validated)
        return dict(loss=loss, log_vars=dict(loss=loss), num_samples=len(data))


def test_validation_by_iterations_is_logged_by_itself(tmp_path):
    """Before: its losses were in no line, or in the means of the training where a phase ended within an interval."""
    runner = plain_runner(tmp_path, dict(type='IterBasedRunner', max_iters=6), Validated())
    runner.register_training_hooks(None, dict(), None, dict(interval=2, hooks=[dict(type='TextLoggerHook')]))
    runner.run([numbers(6), numbers(2)], [('train', 3), ('val', 2)])
    text = next(tmp_path.glob('*.log.json')).read_text()
    lines = [json.loads(line) for line in text.splitlines() if 'mode' in line]
    assert [(line['mode'], line['iter']) for line in lines] == [('train', 2), ('val', 3), ('train', 4), ('train', 6),
                                                                ('val', 6)]
    assert [line['loss'] for line in lines if line['mode'] == 'val'] == [50, 250]
    assert all(line['loss'] < 10 for line in lines if line['mode'] == 'train')

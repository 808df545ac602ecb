"""Momentum encoder, predictor's rate, moving average, evaluation while training."""
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmssl.core import collect_outputs
from mmssl.core.hooks import EMAHook, EvalHook, MomentumUpdateHook, SimSiamHook
from mmssl.core.hooks.optimizer_hook import DistOptimizerHook
from mmssl.utils.errors import ConfigError


class Teacher(nn.Module):
    base_momentum = 0.99
    momentum = 0.99
    is_update_iter = True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.momenta = []

    def momentum_update(self):
        self.momenta.append(self.momentum)


class Runner:
    max_epochs = 2
    world_size = 1

    def __init__(self, model=None, max_iters=6, hooks=()):
        self.model, self.max_iters, self.hooks = model, max_iters, list(hooks)
        self.iter = self.inner_iter = 0


def test_momentum_by_total_steps():
    """PITFALLS: the schedule counts steps per epoch instead of in total; EMA in every iteration of an accumulation."""
    model, hook = Teacher(), MomentumUpdateHook(end_momentum=1., update_interval=2)
    runner = Runner(model, 12, [DistOptimizerHook(update_interval=2), hook])
    hook.before_run(runner)
    for runner.iter in range(12):
        hook.before_train_iter(runner)
        model.is_update_iter = runner.iter % 2 == 1
        hook.after_train_iter(runner)
    assert model.momenta == pytest.approx([1 - 0.01 * (math.cos(math.pi * k / 12) + 1) / 2 for k in range(1, 12, 2)])


def test_momentum_along_a_line():
    model, hook = Teacher(), MomentumUpdateHook(end_momentum=0.998, mode='linear')
    runner = Runner(model, 4)
    for runner.iter in range(4):
        hook.before_train_iter(runner)
        hook.after_train_iter(runner)
    assert model.momenta == pytest.approx([0.99, 0.992, 0.994, 0.996])
    with pytest.raises(ConfigError, match="MomentumUpdateHook.mode is 'cosine' or 'linear', got 'line'"):
        MomentumUpdateHook(mode='line')


def test_momentum_interval_must_be_the_optimizers():
    """PITFALLS: EMA runs on every iteration although gradients accumulate over k (mss #57)."""
    hook = MomentumUpdateHook()
    with pytest.raises(ConfigError, match='every 4 iterations .* every 1 .* set both to 4'):
        hook.before_run(Runner(Teacher(), hooks=[DistOptimizerHook(update_interval=4), hook]))
    with pytest.raises(ConfigError, match="Linear has no 'base_momentum'"):
        hook.before_run(Runner(nn.Linear(1, 1)))


def test_simsiam_keeps_the_predictors_rate():
    runner = Runner()
    weight = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    runner.optimizer = torch.optim.SGD([dict(params=weight[:1]), dict(params=weight[1:], fix_lr=True)], 0.01)
    for fix, expected in ((True, [0.01, 0.05]), (False, [0.01, 0.01])):
        SimSiamHook(fix_pred_lr=fix, lr=0.05).before_train_iter(runner)
        assert [g['lr'] for g in runner.optimizer.param_groups] == expected
        runner.optimizer.param_groups[1]['lr'] = 0.01


def test_ema():
    model = nn.Linear(2, 2)
    hook, runner = EMAHook(momentum=0.1, interval=2, warm_up=1), Runner(model)
    hook.before_run(runner)
    expected = [p.detach().double().clone() for p in model.parameters()]
    for runner.iter in range(5):
        for p in model.parameters():
            p.data.add_(torch.randn_like(p))
        hook.after_train_iter(runner)
        if runner.iter % 2 == 0:
            for e, p in zip(expected, model.parameters()):
                e.mul_(0.81).add_(p.detach().double(), alpha=0.19)
    last = [p.detach().clone() for p in model.parameters()]
    hook.after_train_epoch(runner)
    for p, e in zip(model.parameters(), expected):
        torch.testing.assert_close(p.double(), e, atol=1e-6, rtol=1e-6)
    hook.before_train_epoch(runner)
    hook.before_train_epoch(runner)  # as after a resume in the middle of an epoch: nothing to change back
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), last))


class Scores(nn.Module):
    """Scores that tell which sample they belong to."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, img, mode, idx):
        assert mode == 'test' and not self.training
        return dict(head0=torch.stack([img, 10 * img], 1) * self.weight)


class Numbered(torch.utils.data.Dataset):

    def __len__(self):
        return 11

    def __getitem__(self, idx):
        return dict(img=float(idx), idx=idx)

    def evaluate(self, results, logger=None, topk=(1, )):
        return dict(mean=float(results['head0'].mean()))


def test_outputs_are_collected_in_order():
    """PITFALLS: feature order scrambled or duplicated when several processes extract (mss #634)."""
    expected = torch.stack([torch.arange(11.), 10 * torch.arange(11.)], 1)
    model = Scores().train()
    assert torch.equal(collect_outputs(model, DataLoader(Numbered(), 4, shuffle=True))['head0'], expected)
    assert model.training


def test_evaluation_intervals_and_arguments():
    loader = DataLoader(Numbered(), 4)
    due = [n for n in range(1, 11) if EvalHook(loader, interval=3)._due(n)]
    late = [n for n in range(1, 11) if EvalHook(loader, interval=3, start=5)._due(n)]
    assert due == [3, 6, 9] and late == [5, 8]
    with pytest.raises(ConfigError, match="takes no 'topkk'; did you mean 'topk'"):
        EvalHook(loader, topkk=(1, ))

"""The start of DenseCL."""
import pytest
from torch import nn

from mmssl.core.hooks import DenseCLHook
from mmssl.utils.errors import ConfigError


class Model(nn.Module):
    loss_lambda = 0.3


class Runner:

    def __init__(self, model):
        self.model = model


def weights(hook, runner, iterations):
    hook.before_run(runner)
    seen = []
    for runner.iter in iterations:
        hook.before_train_iter(runner)
        seen.append(runner.model.loss_lambda)
    return seen


def test_weight_of_the_dense_loss():
    """0 for `start_iters` iterations of the whole training, then the model's own; a resume finds the same weights."""
    runner = Runner(Model())
    hook = DenseCLHook(start_iters=3)
    assert weights(hook, runner, range(6)) == [0, 0, 0, 0.3, 0.3, 0.3]
    assert weights(DenseCLHook(start_iters=3), Runner(Model()), range(2, 6)) == [0, 0.3, 0.3, 0.3]
    assert weights(DenseCLHook(start_iters=3), Runner(Model()), range(4, 6)) == [0.3, 0.3]
    assert weights(DenseCLHook(start_iters=0), Runner(Model()), range(2)) == [0.3, 0.3]
    assert DenseCLHook().start_iters == 1000


def test_a_training_that_ends_early_leaves_the_model_as_it_was():
    runner, hook = Runner(Model()), DenseCLHook()
    assert weights(hook, runner, range(2)) == [0, 0]
    hook.after_run(runner)
    assert runner.model.loss_lambda == 0.3


def test_other_algorithms_are_refused():
    with pytest.raises(ConfigError, match='loss_lambda, which Linear does not have'):
        DenseCLHook().before_run(Runner(nn.Linear(1, 1)))

"""Sizes of a model by hand, and what is said of them in a training."""
import re

import mmcv
import pytest
import torch
from test_runner import plain_runner
from torch import nn

from mmssl.core.hooks import ModelSummaryHook
from mmssl.core.optimizer.master_weights import keep_master_weights
from mmssl.models import build_algorithm
from mmssl.models.utils.complexity import count_multiply_adds

MODEL = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8, num_layers=2),
    head=dict(type='ContrastiveHead', temperature=0.2))


class Attention(nn.Module):
    in_channels = 4

    def forward(self, img):
        tokens = img.flatten(2).transpose(1, 2)[:, None]
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)


def test_costs_by_hand():
    """A convolution, a linear layer, and attention over 12 tokens."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 20, 7))
    assert count_multiply_adds(layers, (4, 5)) == (20 * 8 * 27 + 160 * 7, 160 + 7)
    multiply_adds, activations = count_multiply_adds(Attention(), (3, 4))
    assert multiply_adds == 2 * 12 * 12 * 4 and activations in (12 * 4, 12 * 12 + 12 * 4)
    with pytest.raises(RuntimeError):
        count_multiply_adds(layers, 9)


def test_memory_of_weights_in_half_precision(tmp_path, caplog):
    """Both kinds of weights count, and the gradients of those that are stepped."""
    model = nn.Sequential(nn.Linear(512, 512), nn.LayerNorm(512))
    model.train_step = None
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), model)
    keep_master_weights(model, runner.optimizer, torch.bfloat16)
    for parameter in runner.optimizer.param_groups[0]['params']:
        parameter.grad = torch.zeros_like(parameter)
    hook = ModelSummaryHook()
    hook.before_run(runner)
    with caplog.at_level('INFO'):
        hook.after_step(runner)
    assert 'parameters 1.5, gradients 1.0, state of the optimizer 0.0' in caplog.messages[-1]


@pytest.mark.parametrize('known', [True, False])
def test_a_training_tells_its_size(tmp_path, caplog, known):
    torch.manual_seed(0)
    runner = plain_runner(tmp_path, dict(type='EpochBasedRunner', max_epochs=1), build_algorithm(MODEL),
                          dict(type='AdamW', lr=0.1))
    # a model that cannot be built on shapes does not stop the training
    runner.config = mmcv.Config(dict(model=MODEL if known else dict(type='NoSuchModel')))
    runner.register_training_hooks(None, dict(update_interval=2))
    runner.register_hook(ModelSummaryHook())

    class Loader(list):
        dataset = range(8)

    batch = dict(img=[torch.randn(4, 1, 16, 16) for _ in range(2)])
    with caplog.at_level('INFO'):
        runner.run([Loader([batch] * 2)], [('train', 1)])
    told = '\n'.join(record.getMessage() for record in caplog.records)
    total = sum(p.numel() for p in runner.model.parameters())
    assert re.search(rf'model +{total:,} +{total:,}\n', told)
    cost = count_multiply_adds(build_algorithm(MODEL).backbone, 16)
    assert told.count('one image of 16x16: ') == known
    assert (f'{cost[0] / 1e9:.2f} G multiply-adds, {cost[1] / 1e6:.1f} M activations' in told) == known
    assert ("cannot be counted on shapes: 'NoSuchModel'" in told) != known
    # AdamW keeps two numbers a parameter, and a count for each tensor
    tensors = len(list(runner.model.parameters()))
    size = total * 4 / 2**20
    assert (f'parameters {size:.1f}, gradients {size:.1f}, state of the optimizer {2 * size + tensors * 4 / 2**20:.1f}'
            in told)

"""tools/analysis_tools/benchmark_step.py: its numbers are consistent, and what it times is what training does."""
import copy
import json
from pathlib import Path

import pytest
import torch

from mmssl.benchmarks import step as benchmark
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

CONFIG = Path(__file__).resolve().parents[1] / 'configs/digits_moco.py'


def test_tool(run_tool, tmp_path):
    run_tool('tools/analysis_tools/benchmark_step.py', CONFIG, '--batch-size', 8, '--size', 16, '--iters', 2, '--ops',
             '--variants', 'float32', 'bfloat16+channels_last', '--out', tmp_path / 'a.json')
    found = json.loads((tmp_path / 'a.json').read_text())
    rows = found['variants']
    assert rows['float32']['ratio'] == 1
    for row in rows.values():
        assert abs(row['images_per_second'] / rows['float32']['images_per_second'] / row['ratio'] - 1) < 1e-6
    shares = found['shares']
    parts = [shares[name] for name in ('networks', 'ema', 'optimizer', 'logging', 'loss_and_rest')]
    assert abs(sum(parts) - 1) < 1e-6 and shares['ema'] > 0
    assert found['batch_size'] == 8 and set(found['operations']) == {'ema', 'lars'}


def test_a_wrong_variant():
    with pytest.raises(ConfigError, match="'fp8' in the variant 'fp8\\+compile' is none of"):
        benchmark.measure_variants(load_config(CONFIG), ['fp8+compile'], 2, 8, 1)


def test_a_step_is_a_training_step():
    """One call changes the weights as forward, backward and optimizer do; the bare networks change none."""
    cfg = load_config(CONFIG)
    model, batch = benchmark.model_and_batch(cfg, 4, 16)
    reference = copy.deepcopy(model)
    step = benchmark.Step(cfg, model, batch)
    step()
    optimizer = torch.optim.SGD([p for p in reference.parameters() if p.requires_grad], 0.03, 0.9, weight_decay=1e-4)
    reference.train()
    reference.train_step(batch)['loss'].backward()
    optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    before = [p.clone() for p in model.parameters()]
    bare = step.bare_networks()
    bare()
    assert all(p.grad is not None for p in model.backbone.parameters())
    # the capturing step moves the momentum encoder, no online weight
    assert all(torch.equal(a, b) for a, b, p in zip(before, model.parameters(), model.parameters()) if p.requires_grad)


def test_the_plain_loops_compute_the_same():
    """What EMA and LARS are measured against is the same calculation."""
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(4, 3)) for _ in range(2)]
    for p in params:
        p.grad = torch.randn(4, 3)
    plain = copy.deepcopy(params)
    for p, q in zip(params, plain):
        q.grad = p.grad.clone()
    lars = benchmark.LARS(params, lr=0.1, momentum=0.9, weight_decay=1e-6)
    velocities = [torch.zeros(4, 3) for _ in plain]
    for _ in range(3):
        lars.step()
        benchmark._plain_lars(plain, velocities)
    for a, b in zip(params, plain):
        torch.testing.assert_close(a, b)
    averages = [[p.detach() * 0 for p in params] for _ in range(2)]
    benchmark._plain_ema(averages[0], params)
    benchmark.ema_update(averages[1], params, 0.99)
    for a, b in zip(*averages):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('name', ['mae', 'simmim', 'maskfeat', 'cae', 'mocov3'])
def test_masks_come_with_the_noise(name):
    """Batches are what the pipeline of masked image modelling gives, and each part of the iteration is timed."""
    cfg = load_config(CONFIG.parents[2] / f'configs/demo/compare/{name}.py')
    _, batch = benchmark.model_and_batch(cfg, 2, 32)
    shapes = [tuple(part.shape[1:]) for part in (batch['img'] if isinstance(batch['img'], list) else [batch['img']])]
    masks = dict(simmim=[(8, 8)], maskfeat=[(8, 8)], cae=[(1, 64, 64), (8, 8)], mocov3=[(1, 32, 32)])
    assert shapes == [(1, 32, 32), *masks.get(name, [])]
    shares = benchmark.measure_shares(cfg, 'bfloat16', 2, 32, 1)
    assert abs(sum(shares[part] for part in ('networks', 'ema', 'optimizer', 'logging', 'loss_and_rest')) - 1) < 1e-6

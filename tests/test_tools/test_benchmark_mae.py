"""The benchmark of MAE times equal networks, and says so."""
import json

import pytest
import torch

from mmssl.benchmarks import mae
from mmssl.interop.layouts import guess_layout, to_ours
from mmssl.models import build_algorithm


def test_both_networks_are_the_same():
    """With the same weights and masks, ours and the one of timm's blocks have one loss and the same gradients."""
    pytest.importorskip('timm')
    shape = (32, 2, 2, 32, 0.5, (16, 1, 2))
    theirs, ours = mae.TimmMAE(*shape), build_algorithm(mae.mae_config(*shape))
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    layout = guess_layout(theirs.state_dict())[0]
    renamed = to_ours(theirs.state_dict(), layout).weights
    assert set(renamed) == set(ours.state_dict())
    ours.load_state_dict(renamed)
    img, losses = torch.randn(3, 3, 32, 32), []
    for model, loss_of in ((theirs, lambda model: model(img)), (ours, lambda model: model(img)['loss'])):
        torch.manual_seed(1)  # the masks
        losses.append(loss_of(model))
        losses[-1].backward()
    torch.testing.assert_close(*losses)
    grads = to_ours({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}, layout).weights
    assert {name for name, p in ours.named_parameters() if p.grad is not None} == set(grads)
    for name, p in ours.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(p.grad, grads[name], rtol=1e-4, atol=1e-5)


def test_the_tool(run_tool, call_tool, tmp_path):
    args = ['--size', 'tiny', '--img-size', 32, '--batch-size', 2, '--iters', 1, '--decoder', 16, 1, 2]
    done = run_tool('tools/analysis_tools/benchmark_mae.py', *args, '--mask-ratios', 0.75, 0, '--out',
                    tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert list(found['seconds']) == ['timm 0.75', 'mmssl 0.75', 'mmssl 0.0']
    for name, seconds in found['seconds'].items():
        assert f'{name:<20}{1e3 * seconds:>9.1f}' in done.stdout
    done = call_tool('tools/analysis_tools/benchmark_mae.py', '--mask-ratios', 1.5, check=False)
    assert done.returncode == 2 and '--mask-ratios must be within 0 (inclusive) and 1, got [1.5]' in done.stderr

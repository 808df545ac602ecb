"""The benchmark of multi-crop times equal steps, and says so."""
import json

import pytest
import torch

from mmssl.benchmarks import multicrop
from mmssl.interop.layouts import guess_layout, to_ours
from mmssl.models import build_algorithm

HEAD = dict(hidden=24, bottleneck=8, prototypes=12)


def our_weights(network):
    """Weights or gradients of a plain student or teacher by our names."""
    vit = {name[2:]: t for name, t in network.items() if name.startswith('0.')}
    layout = guess_layout(vit)[0]
    found = to_ours(vit, layout).weights
    for name, t in network.items():
        if name.startswith('1.'):
            for theirs, ours in (('1.mlp.0', 'neck.fc0'), ('1.mlp.2', 'neck.fc1'), ('1.mlp.4', 'neck.fc2'),
                                 ('1.last_layer.parametrizations.weight.original0', 'neck.last_layer.weight_g'),
                                 ('1.last_layer.parametrizations.weight.original1', 'neck.last_layer.weight_v')):
                name = name.replace(theirs, ours)
            found[name] = t
    return found


def test_all_steps_are_the_same():
    """With the same weights: one loss, the same gradients, and the same teacher and center after a step."""
    pytest.importorskip('timm')
    shape = (32, 2, 2, 48, 0., HEAD)
    plain, ours = multicrop.PlainDINO(*shape), build_algorithm(multicrop.dino_config(*shape))
    single = build_algorithm(multicrop.dino_config(*shape))
    single.__class__ = multicrop.PassACrop
    student = our_weights(plain.student.state_dict())
    for model in (ours, single):
        missing, unexpected = model.load_state_dict(student, strict=False)
        assert not unexpected and all(name.startswith(('teacher.', 'head.')) for name in missing)
        model.copy_momentum_parts()
    crops = [torch.randn(3, 3, side, side) for side in (48, 48, 16, 16, 16)]
    loss = plain(crops)
    loss.backward()
    grads = our_weights({name: p.grad for name, p in plain.student.named_parameters()})
    for model in (ours, single):
        out = model(crops)
        torch.testing.assert_close(out['loss'], loss)
        out['loss'].backward()
        for name, p in model.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(p.grad, grads[name], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(model.head.targets.center, plain.center, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        for p in (*plain.student.parameters(), *ours.backbone.parameters(), *ours.neck.parameters()):
            p.mul_(2)
    plain.momentum_update()
    ours.momentum_update()
    teacher = our_weights(plain.teacher.state_dict())
    for prefix, part in zip(('backbone.', 'neck.'), ours.teacher):
        for name, p in part.named_parameters():
            torch.testing.assert_close(p, teacher[prefix + name])


def test_the_tool(call_tool, tmp_path):
    args = ['--size', 'tiny', '--batch-size', 1, '--large', 2, 32, '--small', 1, 16, '--prototypes', 16, '--iters', 1]
    args += ['--processor-time']
    done = call_tool('tools/analysis_tools/benchmark_multicrop.py', *args, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert list(found['seconds']) == ['plain', 'mmssl', 'pass a crop']
    for name, seconds in found['seconds'].items():
        assert f'{name:<20}{1e3 * seconds:>9.1f}' in done.stdout
    done = call_tool('tools/analysis_tools/benchmark_multicrop.py', '--small', 2, 20, check=False)
    assert done.returncode == 2 and '--small are at least 0 crops whose size is a multiple of the patch' in done.stderr

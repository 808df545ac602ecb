"""Each algorithm on the GPU against the CPU: values, gradients, state, half precision, memory."""
import copy
import gc

import pytest
import tiny
import torch
from intended import IN_ITERATION
from three_steps import TOLERANCES, assert_near, assert_same_training, train

from mmssl.core import LARS
from mmssl.datasets.loader import map_tensors
from mmssl.models.utils.momentum_encoder import ema_update
from mmssl.utils.recording import waiting_lines
from .host_draws import HostDraws


def names(*rehearsed):
    """Those of all algorithms; make test takes a few on the CPU."""
    return [pytest.param(name, marks=pytest.mark.rehearsed) if name in rehearsed else name for name in tiny.CONFIGS]


@pytest.mark.parametrize('name', names('MoCo', 'MAE'))
def test_three_steps_are_those_of_the_cpu(name, device):
    """Losses, gradients, momentum encoders, queues and memories; in float64 over three steps, in float32 in the first.
    """
    for dtype in TOLERANCES:
        runs = []
        for place in ('cpu', device):
            with HostDraws() as draws:
                runs.append(train(name, dtype, device=place))
        assert draws.count  # those of the weights, at least
        assert_same_training(runs[1:], runs[0], dtype)


def on(device, name):
    return map_tensors(tiny.batch(name), lambda value: value.to(device))


def images_channels_last(batch):
    return map_tensors(batch, lambda value: value.contiguous(memory_format=torch.channels_last)
                       if value.dim() == 4 else value)


@pytest.mark.parametrize('name', names('MoCo', 'MAE'))
def test_half_precision_and_channels_last(name, device):
    """The loss is that of float32 up to rounding, and all gradients are finite; float16 with its loss scaled."""
    plain = tiny.build(name).to(device)
    batch = on(device, name)
    # draws are in the type of what they are for, and equal ones have equal numbers in float32 alone
    expected = copy.deepcopy(plain).train_step(batch, None)['loss'].item()
    for dtype in (torch.bfloat16, torch.float16):
        model = copy.deepcopy(plain).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-3)
        scaler = torch.amp.GradScaler(device.type, init_scale=128., enabled=dtype == torch.float16)
        torch.manual_seed(1)
        before = [p.detach().clone() for p in model.parameters()]
        with torch.autocast(device.type, dtype):
            loss = model.train_step(images_channels_last(batch), optimizer)['loss']
        assert loss.dtype == torch.float32 and abs(loss.item() - expected) < 0.1 * abs(expected) + 0.1
        scaler.scale(loss).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)
        scaler.step(optimizer)
        scaler.update()
        assert any(not a.equal(b) for a, b in zip(before, model.parameters()))


def held(device):
    """Bytes of the tensors that are alive on a device."""
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated(device)
    found = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def iterate(model, batch, optimizer, times):
    for _ in range(times):
        loss = model.train_step(batch, optimizer)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(model, 'momentum_update'):
            model.momentum_update()
    del loss
    return held(batch['idx'].device)


@pytest.mark.real
@pytest.mark.parametrize('name', names('MoCo'))
def test_memory_does_not_grow(name, device):
    """After twenty more iterations nothing is held that was not held after five, and nothing at all in the end."""
    start = held(device)
    model, batch = tiny.build(name).to(device), on(device, name)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-3, momentum=0.9)

    after_five = iterate(model, batch, optimizer, 5)
    assert iterate(model, batch, optimizer, 20) == after_five
    del model, batch, optimizer
    assert held(device) - start < 2**20


@pytest.mark.parametrize('name', names('ODC'))
def test_the_host_waits_only_where_it_is_meant_to(name, device):
    """By torch's own warnings, in a step, the updates behind it and the optimizer; see tests/test_cuda/intended.py."""
    model, batch = tiny.build(name).to(device), on(device, name)
    optimizer = LARS([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):  # the first one may look at its batch, and build what it needs
        with waiting_lines() as lines:
            loss = model.train_step(batch, optimizer)['loss']
        optimizer.zero_grad()
        loss.backward()
        with waiting_lines() as behind:
            optimizer.step()
            if hasattr(model, 'momentum_update'):
                model.momentum_update()
    found = {place[:2] for place in (lines + behind)}
    assert found <= IN_ITERATION.keys(), lines + behind


@pytest.mark.rehearsed
def test_optimizers_and_moving_averages_are_those_of_the_cpu(device):
    """LARS, SGD, AdamW and the update of a momentum encoder, over all parameters in a few calls."""
    shapes = [(64, 32, 3, 3), (64, ), (1, ), (10, 64)]
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    for kind, options in ((LARS, dict(lr=0.1, momentum=0.9, weight_decay=1e-3)),
                          (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=1e-3,
                                                 foreach=True)), (torch.optim.AdamW,
                                                                  dict(lr=1e-3, weight_decay=0.1, fused=True))):
        found = {}
        for place in ('cpu', device):
            draws = torch.Generator().manual_seed(1)
            params = [torch.nn.Parameter(value.clone().to(place)) for value in values]
            averages = [p.detach().clone() for p in params]
            optimizer = kind(params, **options)
            for _ in range(4):
                for p in params:
                    p.grad = torch.randn(p.shape, generator=draws).to(place)
                optimizer.step()
                ema_update(averages, params, 0.9)
            found[str(place)] = [t.detach().cpu() for t in (*params, *averages)]
        for got, want in zip(found[str(device)], found['cpu']):
            assert_near(got, want, kind.__name__, 1e-6)

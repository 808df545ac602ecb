"""The noise-contrastive loss of NPID and its partition constant."""
import copy
import math
from pathlib import Path

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import NCEHead, build_algorithm, log_partition, nce
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
N, K, T = 1000, 40, 0.07


def similarities(batch=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(batch, 9, generator=generator, dtype=torch.float64), dim=1)
    bank = F.normalize(torch.randn(batch, K + 1, 9, generator=generator, dtype=torch.float64), dim=2)
    sim = (bank @ x[:, :, None])[:, :, 0].to(dtype)
    return sim[:, :1].requires_grad_(), sim[:, 1:].requires_grad_()


def naive(pos, neg, z):
    """Equations 6 to 8 of the paper, one image and one entry after the other."""
    total = 0
    for own, others in zip(pos, neg):
        s = torch.exp(own[0] / T) / z
        total = total - torch.log(s / (s + K / N))
        for other in others:
            s = torch.exp(other / T) / z
            total = total - torch.log((K / N) / (s + K / N))
    return total / len(pos)


def naive_z(pos, neg):
    return N * sum(math.exp(value / T) for value in torch.cat([pos, neg], 1).flatten().tolist()) / pos.shape[0] / (
        K + 1)


def test_value_and_gradient():
    pos, neg = similarities()
    z = naive_z(pos, neg)
    torch.testing.assert_close(log_partition(pos, neg, N, T).exp().item(), z, rtol=1e-12, atol=0)
    expected = naive(pos, neg, z)
    found = nce(pos, neg, math.log(z), N, T)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for a, b in zip(torch.autograd.grad(found, (pos, neg)), torch.autograd.grad(expected, (pos, neg))):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_as_in_vissl():
    """Its formula with a small number in the denominators differs in the fifth digit, on large sets in the third."""
    pos, neg = similarities()
    z, noise, eps = naive_z(pos, neg), K / N, torch.finfo(torch.float32).eps
    s_pos, s_neg = torch.exp(pos / T) / z, torch.exp(neg / T) / z
    expected = -(torch.log(s_pos / (s_pos + noise + eps)).sum() + torch.log(noise / (s_neg + noise + eps)).sum()) / 6
    torch.testing.assert_close(nce(pos, neg, math.log(z), N, T), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """In float32 under autocast; temperatures whose exponentials float32 does not hold are no trouble."""
    pos, neg = (x.detach().to(dtype) for x in similarities())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        log_z = log_partition(pos, neg, N, 0.005)
        found = nce(pos, neg, log_z, N, 0.005)
    pos, neg = pos.double(), neg.double()
    expected = nce(pos, neg, log_partition(pos, neg, N, 0.005), N, 0.005)
    assert found.dtype == torch.float32 and found.isfinite() and log_z > 88
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_the_constant_is_estimated_once():
    """From the first training batch; an evaluation before it leaves nothing behind."""
    head, batches = NCEHead(T, length=N), [similarities(seed=i, dtype=torch.float32) for i in range(3)]
    head.eval()
    head(*batches[2])
    assert not head.known and head.log_z == 0
    head.train()
    for pos, neg in batches[:2]:
        expected = nce(pos, neg, math.log(naive_z(*batches[0])), N, T)
        torch.testing.assert_close(head(pos, neg)['loss'], expected)
    # it goes along with the checkpoint, and a second head has its own
    again = NCEHead(T, length=N)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(*batches[2])['loss'], head(*batches[2])['loss'])
    assert not torch.equal(NCEHead(T, length=N)(*batches[2])['loss'], head(*batches[2])['loss'])


def test_a_given_constant():
    pos, neg = similarities(dtype=torch.float32)
    head = NCEHead(T, norm_constant=876544., length=N)
    expected = nce(pos, neg, math.log(876544), N, T)
    torch.testing.assert_close(head(pos, neg)['loss'], expected)
    # also where a checkpoint has another one
    trained = NCEHead(T, norm_constant=-1, length=N)
    trained(pos, neg)
    head.load_state_dict(trained.state_dict())
    torch.testing.assert_close(head(pos, neg)['loss'], expected)


def test_a_constant_that_follows_the_network():
    """A moving average of ln Z, in training alone; it starts with the first batch."""
    head, batches = NCEHead(T, length=N, norm_momentum=0.25), [similarities(seed=i) for i in range(3)]
    head.double()
    expected = math.log(naive_z(*batches[0]))
    for i, (pos, neg) in enumerate(batches):
        if i:
            expected = 0.75 * expected + 0.25 * math.log(naive_z(pos, neg))
        torch.testing.assert_close(head(pos, neg)['loss'], nce(pos, neg, expected, N, T), rtol=1e-10, atol=0)
    again = NCEHead(T, length=N, norm_momentum=0.25).double().eval()
    again.load_state_dict(head.state_dict())
    for _ in range(2):
        torch.testing.assert_close(
            again(pos, neg)['loss'], nce(pos, neg, 0.75 * expected + 0.25 * math.log(naive_z(pos, neg)), N, T))
    assert again.log_z == head.log_z


@pytest.mark.parametrize('recipe, width', [('resnet50-w2', 4096), ('resnet50-w3', 6144), ('resnet101', 2048)])
def test_the_projector_takes_the_width_of_the_trunk(recipe, width):
    """VISSL's users of wide trunks found heads of the usual width (its issue 469)."""
    cfg = load_config(ROOT / f'configs/selfsup/npid/npidpp_{recipe}_32xb32-coslr-800e_in1k.py')
    with torch.device('meta'):
        model = build_algorithm(cfg.model)
    assert model.neck.fc.in_features == width and len(model.backbone.layer3) == (23 if '101' in recipe else 6)
    model.fit_to_data(100)
    assert model.head.length == len(model.memory_bank.feature_bank) == 100


def constant_on(rank, world_size):
    pos, neg = similarities(dtype=torch.float32)
    rows = slice(3 * rank, 3 * rank + 3)
    found = []
    for momentum in (0, 0.5):
        head = NCEHead(T, length=N, norm_momentum=momentum)
        losses = [head(factor * pos[rows], factor * neg[rows])['loss'].detach() for factor in (1, 0.5)]
        found.append((torch.stack(losses), head.log_z))
    return found


def test_the_constant_is_that_of_all_processes(run_distributed):
    pos, neg = similarities(dtype=torch.float32)
    for momentum, (first, log_z), (second, log_z2) in zip((0, 0.5), *run_distributed(constant_on)):
        head = NCEHead(T, length=N, norm_momentum=momentum)
        losses = torch.stack([head(factor * pos, factor * neg)['loss'].detach() for factor in (1, 0.5)])
        assert torch.equal(log_z, log_z2)
        torch.testing.assert_close(log_z, head.log_z)
        torch.testing.assert_close((first + second) / 2, losses)


def test_npid_with_nce_step_by_step():
    """The memory is scored as it was before the batch, and the images' own entries move then."""
    model, data = tiny.build('NPIDWithNCE').double(), tiny.batch('NPIDWithNCE', 6)
    data['img'] = data['img'].double()
    data['idx'] = torch.tensor([2, 11, 5, 0, 7, 1])
    bank, twin = model.memory_bank.feature_bank.clone(), copy.deepcopy(model)
    z = F.normalize(twin.neck(twin.backbone(data['img']))[0], dim=1)
    drawn = twin.memory_bank.draw(data['idx'], 9)
    sim = torch.stack(
        [bank[[own, *row]] @ z[b] for b, (own, row) in enumerate(zip(data['idx'].tolist(), drawn.tolist()))])
    s = torch.exp(sim / 0.2) / (12 * torch.exp(sim / 0.2).mean()).item()
    expected = -(torch.log(s[:, 0] / (s[:, 0] + 9 / 12)) + torch.log(9 / 12 / (s[:, 1:] + 9 / 12)).sum(1)).mean()
    out = model(**data)
    torch.testing.assert_close(out['loss'], expected, rtol=1e-6, atol=0)  # the buffer of ln Z was float32 at first
    new = F.normalize(0.7 * bank[data['idx']] + 0.3 * z.detach(), dim=1)
    torch.testing.assert_close(model.memory_bank.feature_bank[data['idx']], new, rtol=1e-10, atol=1e-12)
    out['loss'].backward()
    expected.backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters()):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-10, msg=name)


@pytest.mark.parametrize('arguments, message', [
    (dict(temperature=0), 'temperature must be positive, got 0'),
    (dict(norm_constant=0), 'norm_constant is the sum of .* or None to estimate it; got 0'),
    (dict(norm_constant=-2.), 'got -2.0'),
    (dict(norm_momentum=1.5), 'norm_momentum is a share from 0 to 1'),
    (dict(norm_momentum=0.1, norm_constant=3.), '0 where norm_constant is given; got 0.1 and norm_constant=3.0'),
    (dict(length=0), 'length is the number of entries of the memory, got 0'),
])
def test_heads_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        NCEHead(**arguments)


def test_a_head_that_does_not_know_the_memory():
    with pytest.raises(ValueError, match='needs the number of entries of the memory: give it as length'):
        NCEHead()(*similarities())
    head = NCEHead(length=7)
    with pytest.raises(ValueError, match='length is 7, the training data has 8 samples'):
        head.fit_to_data(8)

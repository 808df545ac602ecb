# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg, LeJEPA and NNCLR against loops in float64."""
import math

import pytest
import tiny
import torch

from mmssl.models import LeJEPAHead, NNCLRHead, VICRegHead, nearest_keys, sigreg, variance_invariance_covariance


def random_views(*shape):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def naive_vicreg(z_1, z_2):
    """Equations 1 to 6 of https://arxiv.org/abs/2105.04906, one entry of the covariance matrices after the other."""
    n, d = z_1.shape
    invariance = sum(((z_1[i] - z_2[i])**2).sum() for i in range(n)) / (n * d)
    variance, covariance = 0, 0
    for z in (z_1, z_2):
        centred = z - z.mean(0)
        c = [[sum(row[i] * row[j] for row in centred) / (n - 1) for j in range(d)] for i in range(d)]
        variance = variance + sum(torch.clamp(1 - (c[i][i] + 1e-4).sqrt(), min=0) for i in range(d)) / d / 2
        covariance = covariance + sum(c[i][j]**2 for i in range(d) for j in range(d) if i != j) / d
    return invariance, variance, covariance


@pytest.mark.parametrize('size, dims', [(7, 4), (4, 7), (2, 5)])
def test_vicreg(size, dims):
    """More samples than dimensions, and fewer, where the covariance is that of the samples' products."""
    z = (random_views(2, size, dims) * torch.tensor([0.3, 2.])[:, None, None] + 5).requires_grad_()
    for got, want in zip(variance_invariance_covariance(*z), naive_vicreg(*z)):
        torch.testing.assert_close(got, want)
        for a, b in zip(torch.autograd.grad(got, z, retain_graph=True), torch.autograd.grad(want, z)):
            torch.testing.assert_close(a, b)
    out = VICRegHead()(*z)
    invariance, variance, covariance = naive_vicreg(*z)
    torch.testing.assert_close(out['loss'], 25 * invariance + 25 * variance + covariance)


def test_vicreg_tells_a_collapse():
    """Equal projections cost the whole variance term; nearly equal ones have a finite gradient."""
    z = torch.ones(6, 4, requires_grad=True)
    out = VICRegHead()(z, z)
    assert out['variance'].item() == pytest.approx(1 - 1e-2) and out['invariance'] == 0
    out['loss'].backward()
    assert z.grad.isfinite().all()


def naive_sigreg(z, directions, knots=17, largest=3.):
    """The test of Epps and Pulley, one direction and one t after the other, over t from -largest to largest."""
    views, size, _ = z.shape
    steps = [largest * k / (knots - 1) for k in range(1 - knots, knots)]
    total = 0
    for view in z:
        for direction in directions.T:
            y = view @ direction
            values = []
            for t in steps:
                real, imaginary = (y * t).cos().sum() / size, (y * t).sin().sum() / size
                normal = math.exp(-t**2 / 2)
                values.append(((real - normal)**2 + imaginary**2) * normal)
            integral = sum((a + b) / 2 for a, b in zip(values, values[1:])) * largest / (knots - 1)
            total = total + size * integral
    return total / views / directions.shape[1]


def test_sigreg():
    z = (0.7 * random_views(3, 5, 4) + 0.2).requires_grad_()
    directions = torch.nn.functional.normalize(random_views(4, 6), dim=0)
    got, want = sigreg(z, directions), naive_sigreg(z, directions)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (got, want)))


def test_sigreg_is_small_for_a_normal_distribution():
    """Of 2000 normal vectors it is a few tenths of what shifted, scaled or collapsed ones have."""
    z = random_views(1, 2000, 8).float()
    directions = torch.nn.functional.normalize(random_views(8, 64).float(), dim=0)
    normal = sigreg(z, directions)
    assert normal < 1
    for other in (z + 0.5, 2 * z, 0 * z, z[:, :, :1].expand_as(z)):
        assert sigreg(other, directions) > 20 * normal


def test_lejepa_pulls_views_to_the_mean_of_large_ones():
    """Pitfall: large views left out of one of the terms; the mean gets a gradient."""
    z = random_views(4, 3, 5).requires_grad_()
    out = LeJEPAHead(lambd=0.25)(z, 2)
    mean = (z[0] + z[1]) / 2
    want = sum(((mean - view)**2).sum() for view in z) / z.numel()
    torch.testing.assert_close(out['prediction'], want)
    torch.testing.assert_close(out['loss'], 0.75 * want + 0.25 * out['sigreg'])
    got, want = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in (out['prediction'], want))
    torch.testing.assert_close(got, want)


def lejepa_of_one_image(rank, world_size):
    torch.manual_seed(1)
    z = random_views(3, 2, 5)[:, rank:rank + 1].requires_grad_()
    loss = LeJEPAHead(num_slices=8)(z, 2)['loss']
    loss.backward()
    return loss.detach(), z.grad / world_size


def test_lejepa_takes_one_image_in_each_of_two_processes(run_distributed):
    """They were refused, though it is the images of all processes that are compared."""
    z = random_views(3, 2, 5).requires_grad_()
    torch.manual_seed(1)
    want = LeJEPAHead(num_slices=8)(z, 2)['loss']
    want.backward()
    losses, grads = zip(*run_distributed(lejepa_of_one_image))
    torch.testing.assert_close(sum(losses) / 2, want.detach())
    torch.testing.assert_close(torch.cat(grads, 1), z.grad)


def test_nnclr():
    """Equation 2 of https://arxiv.org/abs/2104.14548: a neighbour against the predictions of the batch."""
    head = NNCLRHead(
        predictor=dict(type='LinearNeck', in_channels=4, out_channels=4, with_avg_pool=False), temperature=0.2)
    head.double()
    z, queue = random_views(5, 4).requires_grad_(), torch.nn.functional.normalize(random_views(4, 9), dim=0)
    queries = torch.nn.functional.normalize(random_views(6, 4)[1:], dim=1)
    neighbours = nearest_keys(queries, queue)
    for query, found in zip(queries, neighbours):
        best = max(range(9), key=lambda k: float(query @ queue[:, k]))
        assert found.equal(queue[:, best])
    p = [row / row.norm() for row in head.predictor([z])[0]]
    terms = []
    for i in range(5):
        scores = [(neighbours[i] @ other / 0.2).exp() for other in p]
        terms.append(-(scores[i] / sum(scores)).log())
    got, want = head(z, neighbours), sum(terms) / 5
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, z, retain_graph=True)[0] for value in (got, want)))


def test_nnclr_step_by_step():
    """The neighbour of one view is told by the prediction of the other one, both ways."""
    model, data = tiny.build('NNCLR').double(), [view.double() for view in tiny.batch('NNCLR')['img']]
    z = [model.neck(model.backbone(view))[0] for view in data]
    neighbours = [nearest_keys(torch.nn.functional.normalize(x.detach(), dim=1), model.queue) for x in z]
    expected = (model.head(z[1], neighbours[0]) + model.head(z[0], neighbours[1])) / 2
    loss = model(data)['loss']
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    for got, want in zip(*(torch.autograd.grad(value, parameters) for value in (loss, expected))):
        torch.testing.assert_close(got, want)


def test_lejepa_step_by_step():
    """All views go through the network; the mean is that of the large ones."""
    model, img = tiny.build('LeJEPA').double().eval(), [view.double() for view in tiny.batch('LeJEPA')['img']]
    large = sum(view.shape == img[0].shape for view in img)
    assert 1 < large < len(img)
    z = torch.stack([model.neck(model.backbone(view))[0] for view in img])
    torch.manual_seed(1)
    expected = model.head(z, large)
    torch.manual_seed(1)
    out = model(img)
    for name in expected:
        torch.testing.assert_close(out[name], expected[name])


def test_nnclr_queue_holds_unit_vectors_of_first_views():
    """Pitfalls: a queue that is not normalised collapses, one that is no buffer is lost with the checkpoint."""
    model, data = tiny.build('NNCLR'), tiny.batch('NNCLR')
    before = model.queue.clone()
    model.train_step(data)
    size = len(data['img'][0])
    with torch.no_grad():
        z = torch.nn.functional.normalize(tiny.build('NNCLR').neck(tiny.build('NNCLR').backbone(data['img'][0]))[0])
    torch.testing.assert_close(model.queue[:, :size], z.T)
    assert model.queue[:, size:].equal(before[:, size:]) and 'queue' in model.state_dict()
    model.eval()
    before = model.queue.clone()
    model.train_step(data)
    assert model.queue.equal(before)


@pytest.mark.parametrize('head', [VICRegHead(), LeJEPAHead()])
def test_autocast_does_not_round_the_loss(head):
    z = random_views(2, 8, 4).float()
    arguments = (z, 2) if isinstance(head, LeJEPAHead) else tuple(z)
    torch.manual_seed(1)
    expected = head(*arguments)['loss']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.manual_seed(1)
        assert head(*arguments)['loss'].equal(expected)
        half = (z.bfloat16(), 2) if isinstance(head, LeJEPAHead) else tuple(z.bfloat16())
        assert head(*half)['loss'].dtype == torch.float32

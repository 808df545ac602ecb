"""Barlow Twins against double loops over dimensions in float64; the head that classifies the other view."""
import copy
import math

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import LatentClsHead, LatentCrossCorrelationHead, build_algorithm, cross_correlation


def standardised(z):
    """Columns with the mean 0 and the variance 1, as batch norm makes them."""
    return (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()


def naive_terms(z_1, z_2):
    """Equations 1 and 2 of https://arxiv.org/abs/2103.03230; each view is normalised on its own."""
    z_1, z_2 = standardised(z_1), standardised(z_2)
    invariance, redundancy = 0, 0
    for i in range(z_1.shape[1]):
        for j in range(z_1.shape[1]):
            correlation = sum(a[i] * b[j] for a, b in zip(z_1, z_2)) / len(z_1)
            if i == j:
                invariance = invariance + (1 - correlation)**2
            else:
                redundancy = redundancy + correlation**2
    return invariance, redundancy


def two_views(size, dims, noise):
    """Projections of two views that share a part, with other means and variances."""
    generator = torch.Generator().manual_seed(2)
    z, a, b = (torch.randn(size, dims, generator=generator, dtype=torch.float64) for _ in range(3))
    return (3 * (z + noise * a) + 5).requires_grad_(), (0.5 * (z + noise * b) - 1).requires_grad_()


@pytest.mark.parametrize('size, dims, noise', [(6, 4, 0.3), (3, 8, 1.), (9, 5, 0.)])
def test_head(size, dims, noise):
    """Pitfall: statistics of both views together. Fewer samples than dimensions, and more."""
    z_1, z_2 = two_views(size, dims, noise)
    invariance, redundancy = naive_terms(z_1, z_2)
    expected = invariance + 0.01 * redundancy
    head = LatentCrossCorrelationHead(dims, lambd=0.01).double()
    out = head(z_1, z_2)
    torch.testing.assert_close(out['loss'], expected)
    torch.testing.assert_close(out['invariance'], invariance)
    torch.testing.assert_close(out['redundancy'], 0.01 * redundancy)
    grads = torch.autograd.grad(out['loss'], (z_1, z_2))
    for got, want in zip(grads, torch.autograd.grad(expected, (z_1, z_2))):
        torch.testing.assert_close(got, want)


def test_against_the_matrix_at_many_dimensions():
    """float32 over 1,024 dimensions loses nothing against the cross-correlation matrix in float64."""
    for size in (64, 2048):
        z_1, z_2 = (z.detach() for z in two_views(size, 1024, 0.5))
        matrix = standardised(z_1).T @ standardised(z_2) / size
        expected = matrix.square().sum() - matrix.diagonal().square().sum()
        invariance, redundancy = cross_correlation(z_1.float(), z_2.float(), standardised)
        torch.testing.assert_close(redundancy.double(), expected, rtol=1e-4, atol=0)
        torch.testing.assert_close(invariance.double(), (matrix.diagonal() - 1).square().sum(), rtol=1e-4, atol=0)


def test_state_and_lambda_are_the_published_ones():
    head = LatentCrossCorrelationHead(4)
    assert head.lambd == 0.0051
    assert list(head.state_dict()) == ['bn.running_mean', 'bn.running_var', 'bn.num_batches_tracked']


def test_autocast_does_not_round_the_loss():
    z_1, z_2 = (z.detach().float() for z in two_views(8, 4, 0.3))
    head = LatentCrossCorrelationHead(4)
    expected = head(z_1, z_2)['loss']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert head(z_1, z_2)['loss'].equal(expected)
        assert head(z_1.bfloat16(), z_2.bfloat16())['loss'].dtype == torch.float32


def test_step_by_step():
    """One pass a view: batch norm sees one view at a time."""
    model, data = tiny.build('BarlowTwins').double(), tiny.batch('BarlowTwins')
    data['img'] = [view.double() for view in data['img']]
    naive = copy.deepcopy(model)
    invariance, redundancy = naive_terms(*(naive.neck(naive.backbone(view))[0] for view in data['img']))
    (invariance + 0.0051 * redundancy).backward()
    out = model.train_step(data)
    out['loss'].backward()
    torch.testing.assert_close(out['loss'], invariance + 0.0051 * redundancy)
    assert set(out['log_vars']) == {'loss', 'invariance', 'redundancy'}
    for p, reference in zip(model.parameters(), naive.parameters()):
        torch.testing.assert_close(p.grad, reference.grad, rtol=1e-6, atol=1e-8)


def test_loss_that_is_no_number_stays_visible():
    z_1, z_2 = (z.detach().float() for z in two_views(8, 4, 0.3))
    z_1[2, 1] = math.nan
    assert LatentCrossCorrelationHead(4)(z_1, z_2)['loss'].isnan()


def test_latent_cls_head():
    """The target's class is a constant: no gradient through it."""
    head = LatentClsHead(6, 4)
    x, target = torch.randn(5, 6), torch.randn(5, 6, requires_grad=True)
    assert isinstance(head.predictor, nn.Linear) and list(head.state_dict()) == ['predictor.weight', 'predictor.bias']
    scores, labels = head.predictor(x), head.predictor(target).argmax(1)
    expected = -sum(torch.log(s[label].exp() / s.exp().sum()) for s, label in zip(scores, labels)) / 5
    loss = head(x, target)['loss']
    torch.testing.assert_close(loss, expected)
    want = torch.autograd.grad(F.cross_entropy(scores, labels), list(head.parameters()))
    loss.backward()
    assert target.grad is None
    for p, grad in zip(head.parameters(), want):
        torch.testing.assert_close(p.grad, grad)


def test_simsiam_with_classes_trains():
    """The head fits where LatentPredictHead does."""
    model = build_algorithm(
        dict(tiny.CONFIGS['SimSiam'], head=dict(type='LatentClsHead', in_channels=tiny.DIM, num_classes=7)))
    model.init_weights()
    loss = model.train_step(tiny.batch('SimSiam'))['loss']
    assert loss.item() == pytest.approx(math.log(7), rel=0.05)
    assert model.head.predictor in model.compile_parts()

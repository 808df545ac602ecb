"""Losses against double loops over samples in float64."""
import math

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import (Accuracy, ContrastiveHead, DCLHead, LatentPredictHead, SupConHead, accuracy, cross_entropy,
                          info_nce, negative_cosine, nt_xent, pairs_of_views, supervised_contrastive)
from mmssl.utils.errors import ConfigError


def unit(*shape, dtype=torch.float64):
    return F.normalize(torch.randn(*shape, dtype=dtype), dim=-1).requires_grad_()


def naive_info_nce(pos, neg, temperature):
    losses = []
    for i in range(len(pos)):
        own = math.e**(pos[i, 0] / temperature)
        others = sum(math.e**(neg[i, j] / temperature) for j in range(neg.shape[1]))
        losses.append(-torch.log(own / (own + others)))
    return sum(losses) / len(losses)


def naive_nt_xent(z, temperature):
    """Pair (i, i + B): minus the log of the share that the other view has among all but the sample itself."""
    total, half = 0, len(z) // 2
    for i in range(len(z)):
        weights = [math.e**(z[i].dot(z[j]) / temperature) for j in range(len(z))]
        total = total - torch.log(weights[(i + half) % len(z)] / (sum(weights) - weights[i]))
    return total / len(z)


@pytest.mark.parametrize('temperature', [0.07, 0.5])
def test_info_nce(temperature):
    pos, neg = torch.randn(5, 1).double().requires_grad_(), torch.randn(5, 9).double().requires_grad_()
    expected = naive_info_nce(pos, neg, temperature)
    loss = info_nce(pos, neg, temperature=temperature)
    torch.testing.assert_close(loss, expected)
    for got, want in zip(torch.autograd.grad(loss, (pos, neg)), torch.autograd.grad(expected, (pos, neg))):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(ContrastiveHead(temperature)(pos, neg)['loss'], expected)


@pytest.mark.parametrize('size', [2, 7])
def test_nt_xent(size):
    z = unit(2 * size, 6)
    expected, loss = naive_nt_xent(z, 0.3), nt_xent(z, temperature=0.3)
    torch.testing.assert_close(loss, expected)
    got, want = torch.autograd.grad(loss, z)[0], torch.autograd.grad(expected, z)[0]
    torch.testing.assert_close(got, want)


def test_nt_xent_of_local_anchors_against_gathered_keys():
    """Pitfalls: masks without a rank offset, labels offset without gathering, and whole matrices on every rank."""
    z = unit(12, 6).detach()  # two ranks of 3 samples each: rows 0-5 and 6-11, views stacked within
    whole = torch.cat([z[0:3], z[6:9], z[3:6], z[9:12]])
    of_ranks = [nt_xent(z[first:first + 6], z, first, temperature=0.3) for first in (0, 6)]
    torch.testing.assert_close(sum(of_ranks) / 2, naive_nt_xent(whole, 0.3))


def naive_multi_view_nt_xent(z, views, temperature):
    """Each pair of crops of an image: the second has to be told from all crops of other images, and from nothing else.

    `z` is views x B x D.
    """
    total, terms = 0, 0
    for anchor in range(views):
        for b in range(z.shape[1]):
            others = [z[v, i] for v in range(views) for i in range(z.shape[1]) if i != b]
            negatives = sum(math.e**(z[anchor, b].dot(other) / temperature) for other in others)
            for positive in range(views):
                if positive != anchor:
                    own = math.e**(z[anchor, b].dot(z[positive, b]) / temperature)
                    total, terms = total - torch.log(own / (own + negatives)), terms + 1
    return total / terms


@pytest.mark.parametrize('views, size', [(2, 5), (3, 2), (6, 3)])
def test_nt_xent_of_several_views(views, size):
    z = unit(views * size, 6)
    expected = naive_multi_view_nt_xent(z.unflatten(0, (views, size)), views, 0.3)
    loss = nt_xent(z, temperature=0.3, views=views)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], torch.autograd.grad(expected, z)[0])
    if views == 2:
        assert loss.equal(nt_xent(z, temperature=0.3))


def test_nt_xent_of_several_views_takes_the_negatives_of_all_processes():
    """Fault of VISSL: negatives of one GPU only, although all were gathered. The ranks have 3 images with 4 crops."""
    z = unit(24, 6).detach()
    by_rank = z.view(2, 4, 3, 6)
    whole = by_rank.transpose(0, 1).flatten(1, 2)  # crops x the 6 images of both ranks
    of_ranks = [nt_xent(z[first:first + 12], z, first, temperature=0.3, views=4) for first in (0, 12)]
    torch.testing.assert_close(sum(of_ranks) / 2, naive_multi_view_nt_xent(whole, 4, 0.3))


def naive_dcl(z, views, temperature, sigma):
    """Equations 6 to 8 of https://arxiv.org/abs/2110.06848, term by term; `z` is views x B x D."""
    size, terms = z.shape[1], []
    for v in range(views):
        for step in range(1, views):
            other = (v + step) % views
            shares = [
                math.e**(z[a, b].dot(z[(a + step) % views, b]).item() / (sigma or 1)) for a in range(views)
                for b in range(size)
            ]
            for b in range(size):
                similarity = z[v, b].dot(z[other, b])
                share = math.e**(similarity.item() / (sigma or 1)) / (sum(shares) / len(shares))
                negatives = sum(math.e**(z[v, b].dot(z[a, i]) / temperature) for a in range(views) for i in range(size)
                                if i != b)
                terms.append((share - 2 if sigma else -1) * similarity / temperature + torch.log(negatives))
    return sum(terms) / len(terms)


@pytest.mark.parametrize('views, size, sigma', [(2, 5, None), (2, 5, 0.5), (3, 2, 0.5)])
def test_dcl(views, size, sigma):
    """Pitfalls: weights with a gradient, and the positive key of the other direction left in the denominator."""
    z = unit(views * size, 6)
    want = naive_dcl(z.unflatten(0, (views, size)), views, 0.3, sigma)
    got = DCLHead(0.3, sigma)(*pairs_of_views(z, z, views=views))['loss']
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in (got, want)))


def naive_supcon(z, groups, temperature):
    """Equation 2 of https://arxiv.org/abs/2004.11362."""
    total = 0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if groups[j] == groups[i]]
        weights = {j: math.e**(z[i].dot(z[j]) / temperature) for j in others}
        for j in positives:
            total = total - torch.log(weights[j] / sum(weights.values())) / len(positives)
    return total / len(z)


@pytest.mark.parametrize('groups', [[0, 1, 0, 2, 0], [3, 3, 3, 3, 3], [0, 1, 2, 3, 4]])
def test_supcon(groups):
    """Pitfall: an anchor without a positive key divides by 0. Without any the loss is 0."""
    z, numbers = unit(5, 6), torch.tensor(groups)
    got, want = SupConHead(0.3)(z, numbers)['loss'], naive_supcon(z, groups, 0.3)
    torch.testing.assert_close(got, torch.as_tensor(want, dtype=torch.float64))
    gradient = torch.autograd.grad(got, z)[0]
    assert gradient.isfinite().all()
    if len(set(groups)) < 5:
        torch.testing.assert_close(gradient, torch.autograd.grad(want, z)[0])
    parts = [
        supervised_contrastive(z[rows], z, numbers[rows], numbers, rows.start or 0, 0.3)
        for rows in (slice(2), slice(2, None))
    ]
    # anchors of one process against the keys of all
    torch.testing.assert_close((2 * parts[0] + 3 * parts[1]) / 5, got)


def test_supcon_without_labels_is_simclr():
    """The views of an image without a label belong to that image alone, whatever the others are."""
    model, data = tiny.build('SupCon'), tiny.batch('SupCon')
    z = model.project(data['img']).detach()
    data['label'].fill_(-1)
    torch.testing.assert_close(model(**data)['loss'], nt_xent(z, temperature=0.1))
    data['label'][:3] = torch.tensor([2, 0, 2])
    groups = [2, 0, 2, *range(3, 8)] * 2
    groups[1::8] = [99, 99]
    torch.testing.assert_close(model(**data)['loss'], naive_supcon(z.double(), groups, 0.1).float())
    for label in (None, torch.zeros(8, 3)):
        with pytest.raises(ConfigError, match='one label an image, the data gives .*with_label=True'):
            model(**dict(data, label=label))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_dcl_and_supcon_in_half_precision(dtype):
    z = unit(8, 6, dtype=torch.float32).detach().to(dtype)
    groups = torch.arange(8) % 4
    pos, neg = pairs_of_views(z, z)
    for head, halves, wide in ((DCLHead(0.01, 0.5), (pos, neg), (pos.double(), neg.double())),
                               (SupConHead(0.01), (z, groups), (z.double(), groups))):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            loss = head(*halves)['loss']
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, head(*wide)['loss'].float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('views', [2, 4])
def test_nt_xent_of_a_large_similarity(views):
    """exp(1 / 0.01) is 1e43, which float32 does not hold."""
    z = unit(4 * views, 8, dtype=torch.float32)
    loss = nt_xent(z, temperature=0.01, views=views)
    loss.backward()
    expected = nt_xent(z.detach().double(), temperature=0.01, views=views)
    torch.testing.assert_close(loss.detach(), expected.float(), rtol=1e-4, atol=1e-4)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    """Pitfall: exp overflows in fp16, and masks of -1e9 do not fit."""
    z = unit(16, 8, dtype=torch.float32).detach().to(dtype).requires_grad_()
    loss = nt_xent(z, temperature=0.01)  # exp(1 / 0.01) is 1e43
    assert loss.dtype == torch.float32
    loss.backward()
    torch.testing.assert_close(loss, nt_xent(z.detach().double(), temperature=0.01).float(), rtol=1e-4, atol=1e-4)
    assert z.grad.isfinite().all()
    head = ContrastiveHead(temperature=0.001)
    loss = head(torch.ones(3, 1, dtype=dtype), torch.ones(3, 4, dtype=dtype))['loss']
    assert loss.item() == pytest.approx(math.log(5), rel=1e-5)


def test_autocast_does_not_round_the_loss():
    z = unit(16, 8, dtype=torch.float32)
    plain = nt_xent(z)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert nt_xent(z).equal(plain)


def test_negative_cosine_and_its_stopped_gradient():
    pred, target = torch.randn(5, 7).double().requires_grad_(), torch.randn(5, 7).double().requires_grad_()
    expected = sum(-p.dot(t.detach()) / p.norm() / t.detach().norm() for p, t in zip(pred, target)) / 5
    loss = negative_cosine(pred, target)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert target.grad is None
    torch.testing.assert_close(pred.grad, torch.autograd.grad(expected, pred)[0])


def test_latent_predict_head():
    head = LatentPredictHead(
        dict(type='NonLinearNeck', in_channels=6, hid_channels=8, out_channels=6, with_avg_pool=False))
    x, target = torch.randn(5, 6), torch.randn(5, 6, requires_grad=True)
    loss = head(x, target)['loss']
    torch.testing.assert_close(loss, -F.cosine_similarity(head.predictor([x])[0], target).mean())
    loss.backward()
    assert target.grad is None


def test_cross_entropy_leaves_unlabelled_samples_out():
    scores, labels = torch.randn(5, 4).double(), torch.tensor([0, -1, 3, 2, -1])
    expected = -sum(scores[i].log_softmax(0)[labels[i]] for i in (0, 2, 3)) / 3
    torch.testing.assert_close(cross_entropy(scores, labels), expected)
    torch.testing.assert_close(cross_entropy(scores, labels.int()), expected)
    assert cross_entropy(scores, torch.full((5, ), -1)) == 0
    soft = torch.rand(5, 4).double()
    torch.testing.assert_close(
        cross_entropy(scores, soft, soft_labels=True), -(soft * scores.log_softmax(1)).sum(1).mean())


@pytest.mark.parametrize('labels', [torch.rand(5, 4), torch.rand(5), torch.zeros(5, 4).long(), torch.zeros(4).long()])
def test_other_labels_are_refused(labels):
    """Floats of any kind count as shares of classes only where somebody says so."""
    with pytest.raises(ValueError, match=r'\(5, 4\) need 5 integers .* soft_labels=True .* got torch'):
        cross_entropy(torch.randn(5, 4), labels)
    if labels.shape != (5, 4):
        with pytest.raises(ValueError, match='got torch'):
            cross_entropy(torch.randn(5, 4), labels, soft_labels=True)


@pytest.mark.parametrize('name', ['SimCLR', 'MoCoV3', 'BarlowTwins', 'SwAV'])
def test_one_image_has_nothing_to_be_compared_with(name):
    """The loss would stay at 0, or at a constant, for ever. An evaluation may end with one image."""
    model, data = tiny.build(name), tiny.batch(name, 1)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()  # batch norm would refuse one image by itself
    with pytest.raises(ConfigError, match='compares the images .* all processes has 1: .*samples_per_gpu to 2'):
        model(**data)
    with torch.no_grad():
        assert model.eval()(**data)['loss'].isfinite()


def test_accuracy():
    scores = torch.tensor([[.1, .7, .2], [.5, .3, .2], [.2, .3, .5], [.9, 0., .1]])
    labels = torch.tensor([1, 1, 0, -1])
    assert accuracy(scores, labels).item() == pytest.approx(100 / 3)
    assert [a.item() for a in Accuracy((1, 2, 5))(scores, labels)] == pytest.approx([100 / 3, 200 / 3, 100])
    assert accuracy(scores, F.one_hot(labels.clamp(min=0)).float()).item() == 50


def test_wrong_temperature_is_named():
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        ContrastiveHead(temperature=0)

"""Cross-entropy and the loss of several labels an image, as modules and in heads."""
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import (ClsHead, CrossEntropyLoss, MAEFinetuneHead, MultiClsHead, MultiLabelLoss, build_head,
                          build_loss)
from mmssl.models.utils.accuracy import accuracy
from mmssl.utils.errors import ConfigError


def naive_multi_label(scores, targets, reduction='class_mean', pos_weight=None):
    """Mean over the known targets of each class, summed over classes, entry by entry in float64."""
    rows, columns = len(scores), len(scores[0])
    total, known, by_class = 0., 0, 0.
    for c in range(columns):
        mine, count = 0., 0
        for i in range(rows):
            if targets[i][c] < 0:
                continue
            p = 1 / (1 + math.exp(-scores[i][c]))
            positive = (1. if pos_weight is None else pos_weight[c]) * math.log(p)
            mine -= positive if targets[i][c] > 0 else math.log(1 - p)
            count += 1
        total, known, by_class = total + mine, known + count, by_class + (mine / count if count else 0)
    return dict(class_mean=by_class, mean=total / known, sum=total)[reduction]


def with_gradient(loss, scores, *args):
    scores = scores.detach().requires_grad_()
    value = loss(scores, *args)
    return value.detach(), torch.autograd.grad(value, scores)[0]


def numeric_gradient(function, scores, eps=1e-6):
    """Central differences."""
    gradient = torch.zeros_like(scores)
    for i in range(scores.numel()):
        step = torch.zeros(scores.numel(), dtype=scores.dtype)
        step[i] = eps
        step = step.view_as(scores)
        gradient.view(-1)[i] = (function((scores + step).tolist()) - function((scores - step).tolist())) / (2 * eps)
    return gradient


TARGETS = torch.tensor([[1, 0, -1, 0], [0, 1, -1, 3], [-1, 1, -1, 0], [0, 0, -1, 1], [1, 1, -1, 0]], dtype=torch.int8)


@pytest.mark.parametrize('reduction', ['class_mean', 'mean', 'sum'])
@pytest.mark.parametrize('pos_weight', [None, [1., 2., 0.5, 3.]])
def test_multi_label_loss_is_the_naive_one(reduction, pos_weight):
    """Value and gradient; -1 counts nowhere, a class that is open everywhere gives 0, 3 objects are one positive."""
    scores = torch.randn(5, 4, dtype=torch.double)
    loss = build_loss(dict(type='MultiLabelLoss', reduction=reduction, pos_weight=pos_weight)).double()
    value, gradient = with_gradient(loss, scores, TARGETS)
    assert value.item() == pytest.approx(naive_multi_label(scores.tolist(), TARGETS.tolist(), reduction, pos_weight))
    expected = numeric_gradient(lambda s: naive_multi_label(s, TARGETS.tolist(), reduction, pos_weight), scores)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)
    assert (gradient[TARGETS < 0] == 0).all()


def test_multi_label_loss_equals_torch_where_all_is_known():
    scores, targets = torch.randn(6, 3), torch.randint(0, 2, (6, 3))
    expected = F.binary_cross_entropy_with_logits(scores, targets.float())
    torch.testing.assert_close(MultiLabelLoss('mean')(scores, targets), expected)
    torch.testing.assert_close(MultiLabelLoss()(scores, targets), 3 * expected)
    several = MultiLabelLoss(normalize_output=True)([scores, 2 * scores], targets)
    torch.testing.assert_close(several, 2 * MultiLabelLoss()(F.normalize(scores, dim=1), targets))


def test_cross_entropy_names_the_loss_of_several_labels():
    with pytest.raises(ValueError, match=r'several labels an image take loss=dict\(type="MultiLabelLoss"\)'):
        ClsHead(in_channels=4, num_classes=3).loss([torch.randn(2, 3)], torch.tensor([[0, 1, 1], [1, 0, 0]]))


def test_one_class_an_image_counts_as_one_hot():
    scores, labels = torch.randn(4, 3), torch.tensor([2, 0, -1, 1])
    one_hot = torch.tensor([[0, 0, 1], [1, 0, 0], [-1, -1, -1], [0, 1, 0]])
    torch.testing.assert_close(MultiLabelLoss()(scores, labels), MultiLabelLoss()(scores, one_hot))


@pytest.mark.parametrize('loss', [CrossEntropyLoss, MultiLabelLoss, nn.BCEWithLogitsLoss])
def test_float_targets_are_soft_labels_only_where_the_config_says_so(loss):
    shares = torch.full((2, 3), 1 / 3)
    head = ClsHead(in_channels=4, num_classes=3, loss=dict(type=loss.__name__))
    scores = head((torch.randn(2, 4), ))
    if loss is nn.BCEWithLogitsLoss:  # which the config names
        return torch.testing.assert_close(head.loss(scores, shares)['loss'], loss()(scores[0], shares))
    with pytest.raises(ValueError, match=r'soft_labels=True.*got torch.float32 of shape \(2, 3\)'):
        head.loss(scores, shares)
    for cfg in (dict(loss=dict(type=loss.__name__, soft_labels=True)),
                dict(loss=dict(type=loss.__name__), soft_labels=True)):
        soft = ClsHead(in_channels=4, num_classes=3, **cfg)
        assert soft.loss(scores, shares)['loss'].isfinite()
    for other in (ClsHead(in_channels=4, num_classes=3), MAEFinetuneHead(4, 3)):
        with pytest.raises(ValueError, match='soft_labels=True'):
            other.loss(scores, shares)


def every_score_head():
    from mmssl.models.heads.criterion import ScoreHead
    found, todo = [], [ScoreHead]
    while todo:
        found.append(todo.pop())
        todo.extend(found[-1].__subclasses__())
    return sorted((head for head in found if head.__module__.startswith('mmssl.') and head is not ScoreHead),
                  key=lambda head: head.__name__)


@pytest.mark.parametrize('head', every_score_head(), ids=lambda head: head.__name__)
def test_no_head_takes_floats_by_itself(head):
    options = {
        'ClsHead': dict(in_channels=512),
        'MultiClsHead': dict(in_indices=(4, ), backbone='resnet18', pool_type=['average'], map_channels=[512])
    }
    model = head(num_classes=3, **options.get(head.__name__, dict(embed_dim=512)))
    x = torch.randn(2, 512, 2, 2) if head is MultiClsHead else torch.randn(2, 512)
    scores, shares = model((x, )), torch.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=r'soft_labels=True.*got torch.float32 of shape \(2, 3\)'):
        model.loss(scores, shares)
    model.soft_labels = True
    assert all(value.isfinite() for value in model.loss(scores, shares).values())


@pytest.mark.parametrize('options', [
    dict(),
    dict(weight=[1., 2., 0.5], ignore_index=7),
    dict(weight=[1., 2., 0.5], label_smoothing=0.3),
    dict(reduction='sum', label_smoothing=0.1),
    dict(reduction='none', weight=[1., 2., 0.5]),
])
@pytest.mark.parametrize('temperature', [1., 0.2])
def test_cross_entropy_is_that_of_torch(options, temperature):
    """VISSL's smoothed cross-entropy ignored weight and reduction."""
    labels = torch.tensor([0, 2, options.get('ignore_index', -1), 1, 1, 0])
    outputs = [torch.randn(6, 3, dtype=torch.double) for _ in range(2)]
    weight = torch.tensor(options['weight']).double() if 'weight' in options else None
    reference = nn.CrossEntropyLoss(**{'ignore_index': -1, **options, 'weight': weight})
    loss = build_loss(dict(type='CrossEntropyLoss', temperature=temperature, **options)).double()
    sums = [with_gradient(lambda s, t: loss(s, t).sum(), s, labels) for s in outputs]
    expected = [with_gradient(lambda s, t: reference(s / temperature, t).sum(), s, labels) for s in outputs]
    torch.testing.assert_close(sums, expected)
    torch.testing.assert_close(loss(outputs, labels), sum(reference(s / temperature, labels) for s in outputs))
    assert not loss.state_dict()


def test_a_batch_without_labels_gives_zero():
    scores = torch.randn(3, 4, requires_grad=True)
    for loss in (CrossEntropyLoss(), MultiLabelLoss()):
        value = loss(scores, torch.full((3, ), -1))
        assert value.item() == 0 and not torch.autograd.grad(value, scores)[0].any()


@pytest.mark.parametrize('kind', ['CrossEntropyLoss', 'MultiLabelLoss'])
def test_losses_are_float32_under_autocast(kind):
    scores = (100 * torch.randn(4, 3)).bfloat16()
    labels = torch.tensor([0, 1, 2, 1])
    with torch.autocast('cpu', torch.bfloat16):
        value = build_loss(dict(type=kind))(scores, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, build_loss(dict(type=kind))(scores.float(), labels))


def losses_on_rank(rank, world_size, scores, targets, labels):
    part = slice(4 * rank, 4 * (rank + 1))
    found = []
    for kind, target in (('MultiLabelLoss', targets), ('CrossEntropyLoss', labels)):
        mine = scores[part].clone().requires_grad_()
        loss = build_loss(dict(type=kind))(mine, target[part])
        loss.backward()
        found.append((loss.detach(), mine.grad / world_size))
    return found


def test_two_processes_are_one_of_twice_the_batch(run_distributed):
    """Also where one process has fewer known targets than the other."""
    scores = torch.randn(8, 3)
    targets = torch.randint(0, 2, (8, 3))
    targets[:3] = -1
    labels = torch.tensor([-1, -1, -1, 0, 1, 2, 0, 1])
    found = run_distributed(losses_on_rank, scores, targets, labels)
    for i, (kind, target) in enumerate((('MultiLabelLoss', targets), ('CrossEntropyLoss', labels))):
        value, gradient = with_gradient(build_loss(dict(type=kind)), scores, target)
        torch.testing.assert_close((found[0][i][0] + found[1][i][0]) / 2, value)
        torch.testing.assert_close(torch.cat([found[0][i][1], found[1][i][1]]), gradient)


def test_heads_take_a_loss():
    x, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, -1, 1])
    head = build_head(
        dict(type='ClsHead', in_channels=5, num_classes=3, loss=dict(type='CrossEntropyLoss', label_smoothing=0.2)))
    scores = head((x, ))
    losses = head.loss(scores, labels)
    torch.testing.assert_close(losses['loss'], F.cross_entropy(scores[0], labels, ignore_index=-1, label_smoothing=0.2))
    torch.testing.assert_close(losses['acc'], accuracy(scores[0], labels))
    maps = [torch.randn(4, c, s, s) for c, s in ((64, 16), (512, 2))]
    several = MultiClsHead(
        in_indices=(0, 4), backbone='resnet18', num_classes=4, loss=dict(type='MultiLabelLoss', reduction='mean'))
    targets = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, -1, 1, 0], [0, 0, 0, 0]])
    scores = several(maps)
    losses = several.loss(scores, targets)
    for i in (0, 1):
        torch.testing.assert_close(losses[f'loss.{i + 1}'], MultiLabelLoss('mean')(scores[i], targets))
        hits = [targets[row, scores[i][row].argmax()] > 0 for row in range(3)]  # the last image has no class
        assert losses[f'acc.{i + 1}'].item() == pytest.approx(100 * sum(map(int, hits)) / 3)


def test_losses_of_torch_do_not_broadcast():
    """MSELoss of N x C scores and N labels is a warning in torch, and a number."""
    head = ClsHead(in_channels=5, num_classes=3, loss=dict(type='MSELoss'))
    scores = head((torch.randn(3, 5), ))
    with pytest.raises(ValueError, match=r'MSELoss compares .* shape \(3, 3\), the labels \(3,\)'):
        head.loss(scores, torch.tensor([0, 1, 2]))
    values = torch.randn(3, 3)
    assert set(head.loss(scores, values)) == {'loss'}
    torch.testing.assert_close(head.loss(scores, values)['loss'], F.mse_loss(scores[0], values))
    head = ClsHead(in_channels=5, num_classes=3, loss=dict(type='BCEWithLogitsLoss'))
    with pytest.raises(RuntimeError, match='takes no label of -1; MultiLabelLoss leaves them out'):
        head.loss(scores, torch.tensor([[1, 0, -1]] * 3))


@pytest.mark.parametrize('cfg, message', [
    (dict(loss=dict(type='MultiLabelLoss', reduction='class_sum')), "must be one of .*, got 'class_sum'"),
    (dict(loss=dict(type='CrossEntropyLoss', temperature=0)), 'temperature must be positive, got 0'),
    (dict(loss=dict(type='CrossEntropyLoss', label_smoothing=1.)), 'at least 0 and below 1, got 1.0'),
    (dict(loss=dict(type='CrossEntropyLoss', smoothing=1)), "no argument 'smoothing'.*at loss in the config"),
    (dict(loss='CrossEntropyLoss'), "loss must be dict, optional, got 'CrossEntropyLoss'"),
])
def test_faulty_losses_of_heads(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_head(dict(type='ClsHead', in_channels=5, num_classes=3, **cfg))


def test_an_algorithm_that_weighs_classes_refuses_a_loss_of_the_head():
    head = ClsHead(in_channels=5, num_classes=3, loss=dict(type='CrossEntropyLoss'))
    with pytest.raises(ConfigError, match='leave head.loss out, got CrossEntropyLoss'):
        head.loss([torch.randn(2, 3)], torch.tensor([0, 1]), torch.ones(3))

"""DeepCluster's loss and its class weights."""
import copy
import warnings

import numpy as np
import pytest
import tiny
import torch

from mmssl.models import ClsHead, balanced_weights, cross_entropy

WEIGHT = torch.tensor([0.1, 0.4, 0., 0.5], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 1, 2, 3, -1, 3, 0])


def scores(seed=0):
    return torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_cross_entropy(scores, labels, weight):
    total = norm = 0
    for row, label in zip(scores, labels.tolist()):
        if label >= 0:
            total = total - weight[label] * torch.log(row[label].exp() / row.exp().sum())
            norm = norm + weight[label]
    return total / norm


def test_weighted_cross_entropy_by_loops():
    torch.testing.assert_close(
        cross_entropy(scores(), LABELS, WEIGHT), naive_cross_entropy(scores(), LABELS, WEIGHT), rtol=1e-12, atol=0)
    uniform = torch.full((4, ), 1e-4, dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(scores(), LABELS, uniform), cross_entropy(scores(), LABELS))
    # nothing that counts: no NaN, and no gradient
    empty = scores().requires_grad_()
    loss = cross_entropy(empty, torch.tensor([-1, 2] * 4), WEIGHT)
    loss.backward()
    assert loss == 0 and not empty.grad.any()
    with pytest.raises(ValueError, match='got soft labels'):
        cross_entropy(scores(), scores().softmax(1), WEIGHT, soft_labels=True)


def weighted_loss_of_a_rank(rank, world_size):
    rows = slice(0, 6) if rank == 0 else slice(6, 8)  # weights, and numbers, of different sums
    x = scores()[rows].requires_grad_()
    loss = cross_entropy(x, LABELS[rows], WEIGHT)
    loss.backward()
    return loss.detach(), x.grad


def test_weighted_cross_entropy_of_two_processes(run_distributed):
    """The mean over processes is the loss of all samples; gradients after DDP's mean are those of that loss."""
    x = scores().requires_grad_()
    loss = naive_cross_entropy(x, LABELS, WEIGHT)
    loss.backward()
    ranks = run_distributed(weighted_loss_of_a_rank)
    torch.testing.assert_close(sum(r[0] for r in ranks) / 2, loss.detach())
    torch.testing.assert_close(torch.cat([r[1] for r in ranks]) / 2, x.grad)


def test_balanced_weights():
    counts = torch.tensor([4, 0, 1, 16])
    torch.testing.assert_close(balanced_weights(counts), torch.tensor([0.5, 0, 1, 0.25]) / 1.75)
    torch.testing.assert_close(balanced_weights(counts, 0.), torch.tensor([1., 0, 1, 1]) / 3)
    torch.testing.assert_close(balanced_weights(counts, 1.), torch.tensor([0.25, 0, 1, 0.0625]) / 1.3125)
    assert not balanced_weights(torch.zeros(3)).any()


def test_deepcluster_step_by_step():
    """Edges, network, classifier, weighted loss; with all weights equal a new classifier is at ln K."""
    model, data = tiny.build('DeepCluster'), tiny.batch('DeepCluster')
    torch.testing.assert_close(model.loss_weight, balanced_weights(torch.tensor([1, 2, 4, 1])))
    twin = copy.deepcopy(model)
    assert twin.with_sobel and twin.num_classes == 4
    maps = twin.backbone(twin.sobel_layer(data['img']))
    logits = twin.head.fc_cls(maps[0].mean((2, 3))).double()
    out = model(**data)
    expected = naive_cross_entropy(logits, data['pseudo_label'], twin.loss_weight.double())
    torch.testing.assert_close(out['loss'].double(), expected, rtol=1e-5, atol=0)
    assert model(data['img'], mode='extract')[0].shape[1] == 64
    torch.testing.assert_close(model.eval()(data['img'], mode='test')['head0'], model.classify(data['img'])[0])
    head = dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=4)
    plain = tiny.build('DeepCluster', with_sobel=False, neck=None, backbone=tiny.BACKBONE, head=head)
    assert plain.loss_weight.tolist() == pytest.approx(model.loss_weight.tolist())  # see tiny.PREPARE
    assert plain(**data)['loss'].item() == pytest.approx(np.log(4), abs=0.2)


def test_reweighting_stays_where_the_model_is():
    """Pitfall: reweighting left on the CPU. The weights are a buffer: they move, are saved, and change in place."""
    model = tiny.build('DeepCluster')
    buffer = dict(model.named_buffers())['loss_weight']
    assert buffer is model.loss_weight and 'loss_weight' in model.state_dict()
    model.set_reweight(np.array([3, 3, 3, 3, 0]), 1.)
    assert buffer is model.loss_weight
    torch.testing.assert_close(buffer, torch.tensor([0.8, 0, 0, 0.2]))
    moved = model.to('meta')
    assert moved.loss_weight.device.type == 'meta'


def test_images_without_cluster_are_an_error():
    """Labels of -1 are ignored by the loss: a training without the hook would learn nothing, without a word."""
    model, data = tiny.build('DeepCluster'), tiny.batch('DeepCluster')
    data['pseudo_label'][1:] = -1
    assert model(**data)['loss'] > 0
    data['pseudo_label'][0] = -1
    with pytest.raises(RuntimeError, match='no image of the batch has a cluster: DeepCluster needs .*DeepClusterHook'):
        model(**data)


@pytest.mark.parametrize('init_cfg', [dict(type='Normal', std=0.01, layer='Linear'), None])
def test_a_classifier_starts_anew(init_cfg):
    head = ClsHead(in_channels=200, num_classes=50, init_cfg=init_cfg)
    head.init_weights()
    first, parameters = copy.deepcopy(head.state_dict()), list(head.parameters())
    with torch.no_grad():
        for p in parameters:
            p.fill_(3)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # mmcv's init_weights warns when it is called again
        head.reset()
    assert all(a is b for a, b in zip(head.parameters(), parameters))  # what the optimizer and DDP hold
    now = head.fc_cls.weight
    assert not torch.equal(now, first['fc_cls.weight'])
    assert now.std().item() == pytest.approx(first['fc_cls.weight'].std().item(), rel=0.05)
    assert head.fc_cls.bias.abs().max() <= first['fc_cls.bias'].abs().max() + 1e-2

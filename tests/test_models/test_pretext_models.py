"""Relative location and rotation prediction against plain loops over pairs and copies."""
import copy

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import RelativeLocNeck


def as_mmselfsup(model, img):
    """Scores of the pairs as MMSelfSup computes them: each centre encoded anew for each of its neighbours."""
    first = torch.cat([*img[:4], *img[5:]])
    second = torch.cat([img[4]] * 8)
    features = torch.cat([model.backbone(first)[0], model.backbone(second)[0]], 1)
    return model.head(model.neck([features]))[0]


def pair_by_pair(model, img):
    """N x 8 x 8 scores, one pair at a time: two patches in, their features side by side, the layers on top."""
    scores = []
    for i in range(len(img[0])):
        for place in (0, 1, 2, 3, 5, 6, 7, 8):
            a, b = (model.backbone(p[i:i + 1])[0].mean((2, 3)) for p in (img[place], img[4]))
            neck = model.neck
            h = F.relu(neck.bn(F.linear(torch.cat([a, b], 1), neck.fc.weight, neck.fc.bias)))
            scores.append(F.linear(h, model.head.fc_cls.weight, model.head.fc_cls.bias))
    return torch.stack(scores).view(-1, 8, 8)


def trained(name, steps=3):
    """A model with running statistics and weights that a few steps have moved."""
    model = tiny.build(name).double()
    for i in range(steps):
        data = doubled(tiny.batch(name, seed=i))
        loss = model(**data)['loss']
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.5 * p.grad
    model.zero_grad()
    return model


def doubled(data):
    return dict(data, img=[v.double() for v in data['img']])


def test_relative_loc_is_the_classification_of_each_pair():
    """In evaluation, where no batch statistics tie the pairs together: as the paper says, pair by pair."""
    model, data = trained('RelativeLoc').eval(), doubled(tiny.batch('RelativeLoc', 5, seed=9))
    expected = pair_by_pair(model, data['img'])
    torch.testing.assert_close(model(**data, mode='test')['head0'], expected, rtol=1e-9, atol=1e-12)
    loss = sum(-expected[i, k].log_softmax(0)[k] for i in range(5) for k in range(8)) / 40
    right = sum(int(expected[i, k].argmax()) == k for i in range(5) for k in range(8))
    got = model(**data)
    torch.testing.assert_close(got['loss'], loss, rtol=1e-9, atol=1e-12)
    assert float(got['acc']) == pytest.approx(100 * right / 40)


def test_encoding_the_centre_once_changes_nothing_but_the_cost():
    """Batch statistics, loss and gradients in training are those of encoding it eight times."""
    model, data = trained('RelativeLoc').train(), doubled(tiny.batch('RelativeLoc', 6, seed=9))
    reference = copy.deepcopy(model)
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    got = model(**data)['loss']
    assert seen == [48, 6]
    # labels of 48 pairs, neighbour by neighbour
    expected = F.cross_entropy(as_mmselfsup(reference, data['img']), torch.arange(8).repeat_interleave(6))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
    got.backward()
    expected.backward()
    for (name, p), q in zip(model.named_parameters(), reference.parameters()):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-9, msg=name)


def test_one_rotation_an_image_is_the_same_classification():
    """Loss and gradients of images that were turned by one angle each, against cross entropy in plain torch."""
    model, data = trained('RotationPred').eval(), doubled(tiny.batch('RotationPred', 6, seed=9))
    labels = torch.tensor([3, 0, 1, 1, 2, 0])
    img = torch.stack([data['img'][label][i] for i, label in enumerate(labels)])
    got = model(img, labels)
    scores = F.linear(model.backbone(img)[0].mean((2, 3)), model.head.fc_cls.weight, model.head.fc_cls.bias)
    expected = -scores.log_softmax(1)[range(6), labels].mean()
    torch.testing.assert_close(got['loss'], expected, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(loss, list(model.parameters())) for loss in (got['loss'], expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)
    # the copies that these are taken from have the same scores
    copies = model(**data, mode='test')['head0']
    single = model(img, mode='test')['head0']
    torch.testing.assert_close(single[:, 0], copies[range(6), labels], rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match='the data gives no rot_label; use RotationPredDataset, or SampleDataset'):
        model(img)


def test_labels_go_with_their_pairs():
    """Any labels, not only those that the data set gives."""
    model, data = trained('RelativeLoc').eval(), doubled(tiny.batch('RelativeLoc', 4))
    labels = torch.randint(8, (4, 8))
    expected = F.cross_entropy(pair_by_pair(model, data['img']).flatten(0, 1), labels.flatten())
    torch.testing.assert_close(model(data['img'], patch_label=labels)['loss'], expected, rtol=1e-9, atol=1e-12)


def test_relative_loc_neck():
    neck = RelativeLocNeck(in_channels=6, out_channels=50)
    neck.init_weights()
    assert neck.fc.weight.std().item() == pytest.approx(0.01, rel=0.2) and neck.bn.weight.eq(1).all()
    x = torch.randn(40, 12, 3, 3)
    hidden = neck.fc(x.mean((2, 3))).detach()
    normed = F.relu((hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt())
    out = neck((x, ))[0].detach()
    kept = out != 0
    torch.testing.assert_close(out[kept], 2 * normed[kept], rtol=1e-4, atol=1e-5)
    assert kept.sum() / (normed > 0).sum() == pytest.approx(0.5, abs=0.06)
    torch.testing.assert_close(neck.bn.running_mean, 0.003 * hidden.mean(0))
    assert RelativeLocNeck(6, 50, with_avg_pool=False)([torch.randn(2, 12, 1, 1)])[0].shape == (2, 50)
    assert type(RelativeLocNeck(6, 50, norm_cfg=dict(type='SyncBN')).bn).__name__ == 'SyncBatchNorm'


def test_rotation_pred_is_the_classification_of_each_copy():
    model, data = trained('RotationPred').eval(), doubled(tiny.batch('RotationPred', 5, seed=9))
    data['rot_label'] = torch.randint(4, (5, 4))
    expected = torch.stack([
        F.linear(model.backbone(view[i:i + 1])[0].mean((2, 3))[0], model.head.fc_cls.weight, model.head.fc_cls.bias)
        for i in range(5) for view in data['img']
    ]).view(5, 4, 4)
    torch.testing.assert_close(model(**data, mode='test')['head0'], expected, rtol=1e-9, atol=1e-12)
    loss = sum(-expected[i, k].log_softmax(0)[data['rot_label'][i, k]] for i in range(5) for k in range(4)) / 20
    torch.testing.assert_close(model(**data)['loss'], loss, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name, label', [('RelativeLoc', 'patch_label'), ('RotationPred', 'rot_label')])
def test_calls_as_in_mmselfsup(name, label):
    """Label and mode come by position, and the parts of an image in one tensor."""
    model, data = tiny.build(name).eval(), tiny.batch(name)
    img, target = data['img'], data[label]
    one = torch.stack(img, 1) if name == 'RotationPred' else torch.stack(
        [torch.cat([patch, img[4]], 1) for patch in (*img[:4], *img[5:])], 1)
    expected, scores = model(**data)['loss'], model(img, mode='test')['head0']
    for given in (img, one):
        assert model(given, target, 'train')['loss'].equal(expected)
        assert model(given, target)['loss'].equal(expected)
        assert model(given, None, 'test')['head0'].equal(scores)
    assert model(img[0], None, 'extract')[0].equal(model.backbone(img[0])[0])


@pytest.mark.parametrize('name', ['RelativeLoc', 'RotationPred'])
def test_features_of_plain_images(name):
    model, img = tiny.build(name).eval(), torch.randn(3, 3, 32, 32)
    assert model(img, mode='extract')[0].equal(model.backbone(img)[0])
    assert model(img, mode='extract')[0].shape == (3, 64, 1, 1)


@pytest.mark.parametrize('name, count', [('RelativeLoc', 9), ('RotationPred', 4)])
def test_wrong_views(name, count):
    model, data = tiny.build(name), tiny.batch(name)
    for img, given in ((data['img'][:-1], f'{count - 1} views'), (data['img'][0], 'one tensor')):
        for mode in ('train', 'test'):
            with pytest.raises(ValueError, match=f'{name} takes {count} .* gives {given}; use {name}Dataset'):
                model(**dict(data, img=img), mode=mode)

"""Jigsaw and PIRL against plain loops over patches and memory entries."""
import copy
import math

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.datasets.loader import map_tensors
from mmssl.utils.errors import ConfigError


def doubled(data):
    return dict(data, img=map_tensors(data['img'], torch.Tensor.double))


def linear(layer, x):
    return x @ layer.weight.T + layer.bias


def assert_same_gradients(model, reference, **kwargs):
    for (name, p), q in zip(model.named_parameters(), reference.named_parameters()):
        torch.testing.assert_close(p.grad, q[1].grad, msg=name, **kwargs)


def test_jigsaw_is_the_classification_of_all_patches_side_by_side():
    """Patch by patch in evaluation, where no batch statistics tie them together; loss, accuracy and gradients."""
    model, data = tiny.build('Jigsaw').double(), doubled(tiny.batch('Jigsaw', 5, seed=3))
    for seed in range(2):  # running statistics that are not those of the start
        model(**doubled(tiny.batch('Jigsaw', seed=seed)))
    reference = copy.deepcopy(model.eval())
    scores = []
    for patches in data['img']:
        values = []
        for patch in patches:
            tower = reference.neck.necks[0]
            x = linear(tower.fc0, reference.backbone(patch[None])[0].mean((2, 3)))
            bn = tower.bn0
            x = (x - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias
            values.append(x.clamp(min=0)[0])
        scores.append(linear(reference.head.fc_cls, torch.cat(values)))
    expected = sum(-s.log_softmax(0)[label] for s, label in zip(scores, data['label'])) / 5
    torch.testing.assert_close(model(data['img'], mode='test')['head0'], torch.stack(scores), rtol=1e-9, atol=1e-12)
    out = model(**data)
    torch.testing.assert_close(out['loss'], expected, rtol=1e-9, atol=1e-12)
    right = sum(int(s.argmax()) == label for s, label in zip(scores, data['label'].tolist()))
    assert float(out['acc']) == pytest.approx(20 * right)
    out['loss'].backward()
    expected.backward()
    assert_same_gradients(model, reference, rtol=1e-7, atol=1e-11)


def naive_embeddings(model, img):
    """Unit vectors of images and patches, B x D each, in one pass over each kind, as batch statistics have it."""
    image = linear(model.neck.fc0, model.backbone(img['image'])[0].mean((2, 3)))
    pooled = model.backbone(torch.cat(list(img['patches'])))[0].mean((2, 3))
    per_patch, _, last = model.patch_neck.necks
    patches = linear(last.fc0, torch.stack([torch.cat(list(v)) for v in linear(per_patch.fc0, pooled).split(4)]))
    return [v / v.norm(dim=1, keepdim=True) for v in (image, patches)]


def naive_nce(scores, log_z, length, temperature):
    """The formula of NPID's paper, with the image's own entry first; one image."""
    s = (scores / temperature).exp() / math.exp(log_z)
    noise = (len(scores) - 1) / length
    return -torch.log(s[0] / (s[0] + noise)) - sum(torch.log(noise / (n + noise)) for n in s[1:])


def naive_info_nce(scores, log_z, length, temperature):
    return -(scores / temperature).log_softmax(0)[0]


@pytest.mark.parametrize('head, loss', [
    (dict(type='NCEHead', temperature=0.2), naive_nce),
    (dict(type='ContrastiveHead', temperature=0.2), naive_info_nce),
])
def test_pirl_step_by_step(head, loss):
    """Both losses with the same negatives, none of them the image's own entry, and a memory that follows the images.

    VISSL: negatives may be the positive, and the constant of the patches' first batch serves the images too.
    """
    model, data = tiny.build('PIRL', head=head, patch_weight=0.3).double(), doubled(tiny.batch('PIRL', 6))
    data['idx'] = torch.tensor([2, 11, 5, 0, 7, 1])
    bank, reference = model.memory_bank.feature_bank.clone(), copy.deepcopy(model)
    drawn = reference.memory_bank.draw(data['idx'], 9, True)
    assert (drawn != data['idx'][:, None]).all()
    entries = bank[torch.cat([data['idx'][:, None], drawn], 1)]  # 6 x 10 x D
    z = naive_embeddings(reference, data['img'])
    expected, log_z = [], []
    for embedding in z:
        scores = torch.stack([torch.stack([v.dot(m) for m in row]) for v, row in zip(embedding, entries)])
        log_z.append(math.log(12 * (scores.detach() / 0.2).exp().mean()))
        expected.append(sum(loss(row, log_z[-1], 12, 0.2) for row in scores) / 6)
    out = model(**data)
    torch.testing.assert_close(out['loss_image'], 0.7 * expected[0], rtol=1e-9, atol=0)
    torch.testing.assert_close(out['loss_patches'], 0.3 * expected[1], rtol=1e-9, atol=0)
    assert set(out) == set(model.loss_names)
    bank[data['idx']] = F.normalize(0.7 * bank[data['idx']] + 0.3 * z[0].detach(), dim=1)
    torch.testing.assert_close(model.memory_bank.feature_bank, bank, rtol=1e-9, atol=1e-12)
    if loss is naive_nce:
        assert [float(part.log_z) for part in (model.head, model.patch_head)] == pytest.approx(log_z, rel=1e-6)
        assert abs(log_z[0] - log_z[1]) > 1e-3
    sum(out.values()).backward()
    (0.7 * expected[0] + 0.3 * expected[1]).backward()
    assert_same_gradients(model, reference, rtol=1e-7, atol=1e-11)


def test_evaluation_leaves_the_memory_of_pirl():
    model, data = tiny.build('PIRL'), tiny.batch('PIRL')
    model(**data)
    before = copy.deepcopy(model.state_dict())
    model.eval()
    losses = [model(**data), model(**data)]
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    assert losses[0]['loss_image'].equal(losses[1]['loss_image'])


@pytest.mark.parametrize('name, img, message', [
    ('Jigsaw', torch.zeros(2, 3, 32, 32), r'ImageToPatches .*; got the shape \(2, 3, 32, 32\)'),
    ('Jigsaw', [torch.zeros(2, 3, 32, 32)] * 9, 'ImageToPatches .*; got list'),
    ('PIRL', torch.zeros(2, 3, 32, 32), r'dict\(image=..., patches=...\) .* the step ImageAndPatches'),
    ('PIRL', dict(image=torch.zeros(2, 3, 32, 32)), 'the step ImageAndPatches'),
    ('PIRL', dict(image=torch.zeros(2, 3, 32, 32), patches=torch.zeros(2, 3, 32, 32)), 'got the shape'),
    ('Jigsaw', torch.zeros(2, 3, 3, 16, 16), 'num_towers=4 .* gets 6, which is no multiple'),
    ('Jigsaw', torch.zeros(4, 3, 3, 16, 16), 'each of 4 images has a label and the scores are of 3: num_towers'),
])
def test_data_of_another_kind(name, img, message):
    size = len(img['image'] if isinstance(img, dict) else img[0] if isinstance(img, list) else img)
    idx = torch.arange(size)
    with pytest.raises(ConfigError, match=message):
        tiny.build(name)(img, idx=idx, label=idx)


@pytest.mark.parametrize('changes, message', [
    (dict(patch_neck=None), 'model.patch_neck is None'),
    (dict(neg_num=0), 'neg_num=0'),
    (dict(patch_weight=1.5), 'patch_weight=1.5'),
])
def test_pirl_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny.build('PIRL', **changes)


def test_a_plain_image_gives_features():
    for name in ('Jigsaw', 'PIRL'):
        assert tiny.build(name)(torch.zeros(2, 3, 32, 32), mode='extract')[0].shape[:2] == (2, 64)

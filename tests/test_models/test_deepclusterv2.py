"""DeepCluster v2: the loss from its formula, the memory over processes and checkpoints, and what does not fit."""
import copy

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import CropMemory, build_algorithm, cluster_prediction
from mmssl.utils.errors import ConfigError


def naive_loss(z, centroids, labels, temperature):
    """Image by image and crop by crop: minus the log of the softmax over the centroids."""
    terms = []
    for crop in z:
        for row, label in zip(crop, labels):
            if label >= 0:
                weights = torch.stack([torch.exp(row @ c / temperature) for c in centroids])
                terms.append(-torch.log(weights[label] / weights.sum()))
    return sum(terms) / len(terms)


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_loss_and_gradient():
    """All crops have the target of their image; image 2 has no cluster; centroids get no gradient."""
    z, centroids = unit(5, 4, 6).requires_grad_(), unit(7, 6).requires_grad_()
    labels = torch.tensor([6, 0, -1, 3])
    expected = naive_loss(z, centroids.detach(), labels, 0.1)
    loss = cluster_prediction(z, centroids, labels, temperature=0.1)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    torch.testing.assert_close(z.grad, torch.autograd.grad(expected, z)[0])
    assert centroids.grad is None and not z.grad[:, 2].any()


def test_loss_in_half_precision():
    z, centroids = unit(2, 4, 6), unit(7, 6)
    with torch.autocast('cpu', torch.bfloat16):
        loss = cluster_prediction(z.float(), centroids.float(), torch.arange(4))
    torch.testing.assert_close(loss.double(), naive_loss(z, centroids, torch.arange(4), 0.1))


def test_a_step_of_the_algorithm():
    """The mean over clusterings; the memory then holds this batch's features of the crops that it keeps."""
    model, data = tiny.build('DeepClusterV2'), tiny.batch('DeepClusterV2')
    memory = model.memory_bank
    labels, centroids = memory.label_bank.clone(), copy.deepcopy(memory.centroids)
    before = memory.feature_bank.clone()
    reference = copy.deepcopy(model)
    z = []
    for views in (data['img'][:2], data['img'][2:]):
        pooled = reference.backbone(torch.cat(views))[0].mean((2, 3))
        z.append(pooled)
    z = F.normalize(reference.neck.projection_neck(torch.cat(z)), dim=1).unflatten(0, (5, 8))
    expected = sum(naive_loss(z, c, own[:8], 0.2) for c, own in zip(centroids, labels)) / 3
    loss = model(**data)['loss']
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(memory.feature_bank[:8], z.detach()[[0, 2]].transpose(0, 1))
    assert torch.equal(memory.feature_bank[8:], before[8:])
    assert torch.equal(memory.label_bank, labels) and all(map(torch.equal, memory.centroids, centroids))
    model.eval()
    before = memory.feature_bank.clone()
    model(**tiny.batch('DeepClusterV2', seed=1))
    assert torch.equal(memory.feature_bank, before)


def test_centroids_and_memory_are_not_trained():
    assert not any('memory' in name for name, _ in tiny.build('DeepClusterV2').named_parameters())


def test_clusterings_take_turns_with_crops():
    """Clustering 1 is that of the second kept crop; each begins with other centroids; unseen samples have none."""
    memory = CropMemory([3, 3, 3], 8, crops=[0, 2], length=30)
    memory.feature_bank.normal_()
    memory.feature_bank[[4, 9]] = 0
    memory.cluster(seed=5)
    seen = [i for i in range(30) if i not in (4, 9)]
    for h, (labels, centroids) in enumerate(zip(memory.label_bank, memory.centroids)):
        bank = F.normalize(memory.feature_bank[:, h % 2], dim=1)
        assert (labels[[4, 9]] == -1).all()
        assert torch.equal((bank @ centroids.T).argmax(1)[seen], labels[seen])
        for k in range(3):  # ten updates of so few samples have converged
            torch.testing.assert_close(centroids[k], F.normalize(bank[labels == k].mean(0), dim=0))
    assert not torch.equal(memory.label_bank[0], memory.label_bank[2])
    again = copy.deepcopy(memory)
    again.cluster(seed=5)
    assert torch.equal(again.label_bank, memory.label_bank)
    again.cluster(seed=6)
    assert not torch.equal(again.label_bank, memory.label_bank)


def _memory_of_processes(rank, world_size):
    """Fill, update and cluster a memory; process 0 brings most samples, and sample 3 comes twice in an update."""
    generator = torch.Generator().manual_seed(2)
    first, new = (torch.randn(2, 40, 8, generator=generator) for _ in range(2))
    memory = CropMemory([5, 4], 8, length=40)
    share = [slice(0, 31), slice(31, 40)][rank] if world_size > 1 else slice(0, 40)
    number = torch.arange(40)[share]
    memory.fill([(number[i:i + 6], F.normalize(first[:, share][:, i:i + 6], dim=2)) for i in range(0, len(number), 6)])
    ind = torch.tensor([3, 7, 20, 3])
    part = torch.arange(4).tensor_split(world_size)[rank]
    memory.update(ind[part], new[:, :4][:, part])
    memory.cluster(seed=1)
    return memory.state_dict()


def test_two_processes_have_the_memory_of_one(run_distributed):
    """VISSL needs all first centroids on one process; here each holds the same, and each clusters a share."""
    expected = _memory_of_processes(0, 1)
    for found in run_distributed(_memory_of_processes):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
    generator = torch.Generator().manual_seed(2)
    _, new = (torch.randn(2, 40, 8, generator=generator) for _ in range(2))
    torch.testing.assert_close(expected['feature_bank'][3], F.normalize(new[:, 0], dim=1))  # the first counts


CFG = {**tiny.CONFIGS['DeepClusterV2'], 'memory_bank': dict(type='CropMemory', num_clusters=[4, 5], crops=[0, 2])}


def test_what_the_data_and_the_neck_tell():
    model = build_algorithm(CFG)
    model.fit_to_data(samples=20, views=[2, 3])
    assert model.memory_bank.feature_bank.shape == (20, 2, tiny.DIM)
    assert model.memory_bank.label_bank.tolist() == [[-1] * 20] * 2
    model.memory_bank.feature_bank.normal_()
    loaded = build_algorithm(CFG)
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.memory_bank.feature_bank, model.memory_bank.feature_bank)


@pytest.mark.parametrize('change, fit, message', [
    (dict(length=12), dict(samples=20), r'memory_bank: length is 12, the training data has 20 samples: set length=20'),
    ({}, dict(samples=4), r'4 samples \(length\) are too few for 5 clusters'),
    ({}, dict(samples=20, views=[2]), r'crops=\[0, 2\] keeps crop 2, the data gives crops 0 to 1'),
    (dict(feat_dim=7), {}, 'memory_bank.feat_dim is 7, SwAVNeck gives 16 dimensions: .* or leave it out'),
    (dict(crops=[0, 0]), {}, r'different crops of an image, counted from 0, got \[0, 0\]'),
    (dict(num_clusters=[]), {}, r'a positive number for each clustering, got \[\]'),
])
def test_what_does_not_fit(change, fit, message):
    with pytest.raises(ConfigError, match=message):
        model = build_algorithm(dict(CFG, memory_bank=dict(CFG['memory_bank'], **change)))
        model.fit_to_data(**fit)


def test_data_with_too_few_crops():
    model, data = tiny.build('DeepClusterV2'), tiny.batch('DeepClusterV2')
    with pytest.raises(ConfigError, match='gives 2 crops of each image, the memory keeps crops up to number 2'):
        model(**dict(data, img=data['img'][:2]))
    with pytest.raises(ConfigError, match='gives one image a sample'):
        model(**dict(data, img=data['img'][0]))


def test_without_the_hook_nothing_is_trained():
    model = tiny.build('DeepClusterV2')
    model.memory_bank.label_bank.fill_(-1)
    with pytest.raises(RuntimeError, match='DeepClusterV2 needs custom_hooks'):
        model(**tiny.batch('DeepClusterV2'))

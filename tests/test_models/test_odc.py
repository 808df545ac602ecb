"""ODC: its neck, its loss and gradients step by step, its class weights."""
import copy

import pytest
import tiny
import torch
from torch.nn import functional as F

from mmssl.models import NECKS, ODCMemory
from mmssl.utils.errors import ConfigError


def test_neck():
    """Layers in their order, in training (with batch statistics) and after it; the statistics move by 0.001."""
    neck = NECKS.build(dict(type='ODCNeck', in_channels=5, hid_channels=7, out_channels=4, norm_cfg=dict(type='BN')))
    neck.init_weights()
    assert set(neck.state_dict()) == {
        'fc0.weight', 'fc0.bias', 'bn0.running_mean', 'bn0.running_var', 'bn0.num_batches_tracked', 'fc1.weight',
        'fc1.bias'
    }
    maps = torch.randn(6, 5, 3, 2)
    hidden = torch.stack([neck.fc0.weight @ m.mean((1, 2)) + neck.fc0.bias for m in maps]).double()
    mean, var = hidden.mean(0), hidden.var(0, unbiased=False)
    active = ((hidden - mean) / (var + 1e-5).sqrt()).clamp(min=0)
    torch.manual_seed(3)
    found, = neck((torch.zeros(1), maps))
    torch.manual_seed(3)
    dropped = neck.drop(active.float())  # half of them 0, the others twice as large
    assert neck.drop.p == 0.5 and not dropped.equal(active.float())
    torch.testing.assert_close(found, F.relu(dropped @ neck.fc1.weight.T + neck.fc1.bias), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(neck.bn0.running_mean.double(), 0.001 * mean)
    torch.testing.assert_close(neck.bn0.running_var.double(), 0.999 + 0.001 * var * 6 / 5)
    neck.eval()
    active = F.relu((hidden.float() - neck.bn0.running_mean) / (neck.bn0.running_var + 1e-5).sqrt())
    torch.testing.assert_close(
        neck([maps])[0], F.relu(active @ neck.fc1.weight.T + neck.fc1.bias), rtol=1e-4, atol=1e-5)


def test_step_by_step():
    """Three iterations: weighted loss on the labels of before, its gradients, and what the memory does afterwards.

    The gradient is that of fixed labels; the memory takes features and gives none.
    """
    model = tiny.build('ODC').double()
    bank = copy.deepcopy(model.memory_bank)
    for step in range(3):
        data = tiny.batch('ODC', seed=step)
        data['img'] = data['img'].double()
        model.set_reweight(reweight_pow=0.5 + step)
        sizes = torch.bincount(bank.label_bank, minlength=4).double()
        weight = [n**-(0.5 + step) if n else 0 for n in sizes.tolist()]

        naive = copy.deepcopy(model)
        features = naive.neck(naive.backbone(data['img']))[0]
        scores = features @ naive.head.fc_cls.weight.T + naive.head.fc_cls.bias
        labels = bank.label_bank[data['idx']].tolist()
        terms = [-weight[y] * (s[y] - s.exp().sum().log()) for s, y in zip(scores, labels)]
        expected = sum(terms) / sum(weight[y] for y in labels)
        expected.backward()

        model.zero_grad()
        out = model.train_step(data, None)
        out['loss'].backward()
        torch.testing.assert_close(out['loss'], expected, rtol=1e-6, atol=1e-6)
        for (name, p), q in zip(model.named_parameters(), naive.parameters()):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-6, msg=name)
        changed = bank.update_samples_memory(data['idx'], features.detach())
        assert out['log_vars']['change_ratio'] == changed.float() and changed > 0
        assert set(out['log_vars']) == {'loss', 'acc', 'change_ratio'}
        for key, value in bank.state_dict().items():
            torch.testing.assert_close(model.memory_bank.state_dict()[key], value)
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad


def test_weights_of_classes():
    """By the memory or by labels that are given; an empty cluster weighs nothing. PITFALLS: left on the CPU (mss)."""
    model = tiny.build('ODC')
    assert model.loss_weight.tolist() == [0.25] * 4 and 'loss_weight' in model.state_dict()
    model.set_reweight([0, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3], 0.5)
    expected = torch.tensor([1, 1 / 2, 0, 1 / 3])
    torch.testing.assert_close(model.loss_weight, expected / expected.sum())
    model.memory_bank.label_bank.copy_(torch.tensor([0] * 8 + [1] * 2 + [2, 3]))
    model.set_reweight(reweight_pow=1)
    expected = torch.tensor([1 / 8, 1 / 2, 1, 1])
    torch.testing.assert_close(model.loss_weight, expected / expected.sum())
    assert model.to('meta').loss_weight.device.type == 'meta'


def test_first_loss_is_ln_of_the_number_of_clusters():
    """With weights of the published scale; what the docs say of the start."""
    model = tiny.build('ODC')
    loss = model(**tiny.batch('ODC'))['loss']
    assert loss.item() == pytest.approx(torch.log(torch.tensor(4.)).item(), abs=0.02)


def test_scores_and_sobel():
    model = tiny.build('ODC', with_sobel=True, backbone=dict(tiny.BACKBONE, in_channels=2)).eval()
    img = tiny.batch('ODC')['img']
    edges = model.sobel_layer(img)
    expected = model.head.fc_cls(model.neck(model.backbone(edges))[0])
    found = model(img, mode='test')
    assert list(found) == ['head0'] and edges.shape[1] == 2
    torch.testing.assert_close(found['head0'], expected)


def test_head_and_memory_must_agree():
    memory = dict(tiny.CONFIGS['ODC']['memory_bank'], num_classes=6)
    with pytest.raises(ConfigError, match='head.num_classes is 4 and memory_bank.num_classes is 6'):
        tiny.build('ODC', memory_bank=memory)
    assert isinstance(tiny.build('ODC').memory_bank, ODCMemory)

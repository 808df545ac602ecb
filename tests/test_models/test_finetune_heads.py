"""Heads of fine-tuning and linear probes, label smoothing, mixup and CutMix against loops over samples."""
import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmssl.apis import set_random_seed
from mmssl.models import build_algorithm, build_head, cross_entropy
from mmssl.models.utils.augment import BatchAugments
from mmssl.utils.errors import ConfigError

FINETUNE = ['MAEFinetuneHead', 'MaskFeatFinetuneHead']
BACKBONE = dict(
    type='MIMVisionTransformer',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=16,
    patch_size=8)


@pytest.mark.parametrize('smoothing', [0., 0.1, 0.4])
def test_label_smoothing(smoothing):
    """(1 - e) * label + e / C, of hard and of mixed labels; the same as mmcls's."""
    from mmcls.models import LabelSmoothLoss
    scores = torch.randn(6, 4)
    labels = torch.tensor([0, 3, 1, 2, 2, 0])
    for soft in (F.one_hot(labels, 4).float(), torch.rand(6, 4).softmax(1)):
        target = (1 - smoothing) * soft + smoothing / 4
        expected = -(target * scores.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(cross_entropy(scores, soft, label_smoothing=smoothing, soft_labels=True), expected)
        theirs = LabelSmoothLoss(smoothing, mode='original')(scores, soft)
        torch.testing.assert_close(theirs, expected)
    hard = cross_entropy(scores, labels, label_smoothing=smoothing)
    torch.testing.assert_close(hard, LabelSmoothLoss(smoothing, mode='original')(scores, labels))
    partly = torch.where(torch.arange(6) % 2 == 0, labels, -1)
    torch.testing.assert_close(
        cross_entropy(scores, partly, label_smoothing=smoothing),
        cross_entropy(scores[::2], labels[::2], label_smoothing=smoothing))
    assert cross_entropy(scores, torch.full((6, ), -1), label_smoothing=smoothing) == 0


@pytest.mark.parametrize('kind', FINETUNE)
def test_finetune_heads(kind):
    head = build_head(dict(type=kind, embed_dim=400, num_classes=500))
    head.init_weights()
    assert list(head.state_dict()) == ['head.weight', 'head.bias']
    assert head.head.weight.std().item() == pytest.approx(2e-5, rel=0.01) and (head.head.bias == 0).all()
    head = build_head(dict(type=kind, embed_dim=8, num_classes=4, label_smooth_val=0.2))
    feats, labels = torch.randn(5, 8), torch.tensor([0, 3, -1, 1, 2])
    scores = head((torch.zeros(5, 8), feats))
    assert isinstance(scores, list)
    torch.testing.assert_close(scores[0], head.head(feats))
    losses = head.loss(scores, labels)
    known = labels >= 0
    torch.testing.assert_close(losses['loss'], F.cross_entropy(scores[0][known], labels[known], label_smoothing=0.2))
    hits = (scores[0].argmax(1) == labels)[known].float().mean()
    assert losses['acc'].item() == pytest.approx(100 * hits.item())
    soft = torch.rand(5, 4).softmax(1)
    with pytest.raises(ValueError, match='soft_labels=True of the head'):
        head.loss(scores, soft)
    head = build_head(dict(type=kind, embed_dim=8, num_classes=4, label_smooth_val=0.2, soft_labels=True))
    losses = head.loss(scores, soft)
    torch.testing.assert_close(losses['loss'], F.cross_entropy(scores[0], 0.8 * soft + 0.05))
    with pytest.raises(ConfigError, match=f'{kind} takes 8 channels and gets 6: its embed_dim must'):
        head((torch.zeros(2, 6), ))
    with pytest.raises(ConfigError, match='label_smooth_val must be at least 0 and below 1, got 1.5'):
        build_head(dict(type=kind, embed_dim=8, label_smooth_val=1.5))


def test_linprobe_head():
    head = build_head(dict(type='MAELinprobeHead', embed_dim=300, num_classes=100))
    head.init_weights()
    assert head.head.weight.std().item() == pytest.approx(0.01, rel=0.02) and (head.head.bias == 0).all()
    assert [n for n, _ in head.named_parameters()] == ['head.weight', 'head.bias']
    feats, labels = 3 + 1e-3 * torch.randn(8, 300), torch.arange(8)
    scores = head((feats, ))
    normed = (feats - feats.mean(0)) / (feats.var(0, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(scores[0], head.head(normed), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(head.loss(scores, labels)['loss'], F.cross_entropy(scores[0], labels))
    for _ in range(200):
        head((feats, ))
    head.eval()
    unbiased = (feats - feats.mean(0)) / (feats.var(0) + 1e-6).sqrt()
    torch.testing.assert_close(head((feats, ))[0], head.head(unbiased), rtol=1e-3, atol=1e-3)
    with pytest.raises(ConfigError, match='MAELinprobeHead takes 300 channels and gets 6: its embed_dim'):
        head((torch.zeros(2, 6), ))


def test_linear_probe_trains_the_classifier_alone():
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(BACKBONE, finetune=False),
            head=dict(type='MAELinprobeHead', embed_dim=16, num_classes=4)))
    model.init_weights()
    model.train()
    assert model.head.training and not any(m.training for m in model.backbone.modules())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model.train_step(dict(img=torch.randn(4, 3, 16, 16), label=torch.arange(4)))['loss'].backward()
    optimizer.step()
    moved = {k for k, v in model.state_dict().items() if not v.equal(before[k])}
    assert moved == {f'head.{k}' for k in model.head.state_dict()}


def replay(alpha, size):
    """What mmcls draws: the augmentation (first of two), then lambda and the permutation."""
    choice = np.random.RandomState(random.randint(0, 2**32 - 1)).choice(2, p=[0.5, 0.5])
    return choice, np.random.beta(alpha[choice], alpha[choice]), torch.randperm(size)


def test_mixup_and_cutmix_against_loops():
    """Both by turns, the soft labels by the share of pixels, and the batch itself is left as it was."""
    augments = BatchAugments(
        [dict(type='BatchMixup', alpha=0.8, prob=0.5),
         dict(type='BatchCutMix', alpha=1.0, prob=0.5)], 5)
    seen = set()
    for seed in range(12):
        img, label = torch.randn(6, 3, 16, 12), torch.randint(5, (6, ))
        before = img.clone()
        set_random_seed(seed)
        mixed, soft = augments(img, label)
        assert img.equal(before) and soft.dtype == torch.float32
        set_random_seed(seed)
        choice, lam, partner = replay((0.8, 1.0), 6)
        seen.add(int(choice))
        expected, shares = torch.empty_like(img), torch.zeros(6, 5)
        if choice == 1:
            height, width = int(16 * np.sqrt(1 - lam)), int(12 * np.sqrt(1 - lam))
            y, x = np.random.randint(0, 16), np.random.randint(0, 12)
            rows = range(max(0, y - height // 2), min(16, y + height // 2))
            columns = range(max(0, x - width // 2), min(12, x + width // 2))
            lam = 1 - len(rows) * len(columns) / (16 * 12)
        for i, j in enumerate(partner.tolist()):
            if choice == 0:
                expected[i] = lam * before[i] + (1 - lam) * before[j]
            else:
                for r in range(16):
                    for c in range(12):
                        expected[i, :, r, c] = before[j if r in rows and c in columns else i, :, r, c]
            shares[i, label[i]] += lam
            shares[i, label[j]] += 1 - lam
        torch.testing.assert_close(mixed, expected)
        torch.testing.assert_close(soft, shares)
    assert seen == {0, 1}


def test_mixing_is_that_of_the_seed():
    """Processes with the same seed mix alike, with --diff-seed each in its own way."""
    augments = BatchAugments(dict(type='BatchMixup', alpha=0.8), 5)
    batch = torch.randn(6, 3, 4, 4), torch.arange(6) % 5
    results = []
    for seed in (1, 1, 2):
        set_random_seed(seed)
        results.append(augments(*batch)[1])
    assert results[0].equal(results[1]) and not results[0].equal(results[2])


@pytest.mark.parametrize('head', [
    dict(type='MAEFinetuneHead', embed_dim=16, num_classes=5),
    dict(type='MaskFeatFinetuneHead', embed_dim=16, num_classes=5, label_smooth_val=0.),
    dict(type='ClsHead', in_channels=16, num_classes=5)
])
@pytest.mark.parametrize('prob', [1., 0.001])
def test_soft_labels_flow_through(head, prob):
    """Also where, as almost always with the small probability, no image is mixed."""
    augments = dict(type='BatchMixup', alpha=0.8, prob=prob)  # without num_classes: that of the head
    model = build_algorithm(
        dict(type='Classification', backbone=BACKBONE, head=head, train_cfg=dict(augments=augments)))
    img, label = torch.randn(6, 3, 16, 16), torch.arange(6) % 5
    set_random_seed(4)
    loss = model.train_step(dict(img=img, label=label))['loss']
    set_random_seed(4)
    mixed, soft = model.augments(img, label)
    assert soft.equal(F.one_hot(label, 5).float()) == (prob < 1)
    smoothing = head.get('label_smooth_val', 0.1 if head['type'] == 'MAEFinetuneHead' else 0.)
    scores, = model(mixed, mode='test').values()
    torch.testing.assert_close(loss, F.cross_entropy(scores, soft, label_smoothing=smoothing))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('augments, message', [
    (dict(type='BatchMixup', alpha=0.8, num_classes=1000), 'num_classes=1000, the head has 5'),
    (dict(type='BatchMixup', alpha=1), 'mmcls refuses .* alpha and prob must be floats'),
    (dict(type='BatchMixing', alpha=1.), 'BatchMixing is not in the'),
    (dict(type='BatchMixup', alfa=1.), 'alfa'),
    ([dict(type='BatchMixup', alpha=1., prob=0.7),
      dict(type='BatchCutMix', alpha=1., prob=0.7)], 'sum of prob'),
])
def test_wrong_augments(augments, message):
    with pytest.raises(ConfigError, match=message):
        build_algorithm(
            dict(
                type='Classification',
                backbone=BACKBONE,
                head=dict(type='MAEFinetuneHead', embed_dim=16, num_classes=5),
                train_cfg=dict(augments=augments)))


def test_unlabelled_samples_are_refused(tmp_path):
    """Before the first iteration, wherever in the data set they are."""
    from mmcv import Config

    from mmssl.apis import train_model
    from mmssl.datasets import build_dataset
    digits = dict(
        type='SingleViewDataset',
        data_source=dict(type='Digits', num_images=20),
        pipeline=[dict(type='Resize', size=16)],
        prefetch=True)
    cfg = Config(
        dict(
            model=dict(
                type='Classification',
                backbone=BACKBONE,
                head=dict(type='MAEFinetuneHead', embed_dim=16, num_classes=10),
                train_cfg=dict(augments=dict(type='BatchMixup', alpha=0.8))),
            data=dict(
                samples_per_gpu=4,
                workers_per_gpu=0,
                train=dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[digits] * 2)))))
    dataset = build_dataset(cfg.data.train)
    dataset.dataset.datasets[1].gt_labels[:3] = -1
    model = build_algorithm(cfg.model)
    with pytest.raises(ConfigError, match=r'train_cfg.augments \(mixup, CutMix\) needs a label .* 3 of 80 have none'):
        train_model(model, dataset, cfg)

# Copyright (c) mmssl contributors. All rights reserved.
"""iBOT against loops in float64: loss of masked patches, centres, what passes the projector, batches without a mask."""
import math

import pytest
import tiny
import torch
from torch import nn

from mmssl.core.distributed import DistributedDataParallel
from mmssl.models import IBOTHead, build_neck, masked_patch_prediction
from mmssl.models.utils.block_masks import BlockMasks, masked_patches
from mmssl.utils.errors import ConfigError


def random_scores(*shape):
    generator = torch.Generator().manual_seed(4)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def cross_entropy(teacher, center, teacher_temp, student, student_temp):
    """One pair of vectors, by the definition."""
    t = ((teacher - center) / teacher_temp).exp()
    s = (student / student_temp).exp()
    return -(t / t.sum() * (s / s.sum()).log()).sum()


def naive_patch_loss(student, teacher, center, masks, teacher_temp, student_temp):
    """Equation 2 of https://arxiv.org/abs/2111.07832 with the mean over patches of the published code.

    Args: scores of all patches, N x L x K; masks, N x L.
    """
    images = []
    for s, t, mask in zip(student, teacher, masks):
        terms = [cross_entropy(t[i], center, teacher_temp, s[i], student_temp) for i in range(len(mask)) if mask[i]]
        images.append(sum(terms) / len(terms) if terms else torch.zeros((), dtype=torch.float64))
    return sum(images) / len(images)


def test_patch_loss():
    """Pitfalls: images with few masked patches weighted otherwise; whole ones left out of the mean."""
    masks = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    student, teacher = random_scores(3, 4, 5).requires_grad_(), 3 * random_scores(5, 4, 5)[2:]
    center = random_scores(1, 5)[0]
    want = naive_patch_loss(student, teacher, center, masks, 0.5, 0.7)
    index, weight = masked_patches(masks[:, None])
    targets = ((teacher.flatten(0, 1)[index] - center) / 0.5).softmax(1).requires_grad_()
    got = masked_patch_prediction(student.flatten(0, 1)[index], targets, weight, 3, 0.7)
    torch.testing.assert_close(got, want)
    (grad, none), wanted = (torch.autograd.grad(loss, (student, targets), allow_unused=True) for loss in (got, want))
    torch.testing.assert_close(grad, wanted[0])
    assert none is None


@torch.no_grad()
def scores_of(backbone, neck, images, mask=None):
    """Scores of class tokens (B x K) and of all patches (B x L x K'), one image after the other."""
    tokens, patches = [], []
    for i in range(len(images)):
        maps, token = backbone(images[i:i + 1], None if mask is None else mask[i:i + 1])[-1]
        hidden = [nn.functional.gelu(neck.fc0(x)) for x in (token, maps[0].flatten(1).T)]
        units = [nn.functional.normalize(neck.fc1(x), dim=1) for x in hidden]
        tokens.append(neck.last_layer(units[0]))
        patches.append((neck.patch_last_layer or neck.last_layer)(units[1]))
    return torch.cat(tokens), torch.stack(patches)


@pytest.mark.parametrize('shared', [False, True])
def test_losses_of_a_step(shared):
    """The student sees masked large views, the teacher whole ones; small ones have no mask; the centres.

    Pitfalls: a mask for the teacher; the centre of patches from the masked ones alone; one centre for both.
    """
    changes = dict(neck=dict(tiny.CONFIGS['IBOT']['neck'], patch_channels=None), head=dict(type='IBOTHead'))
    model = tiny.build('IBOT', **changes if shared else {}).double()
    assert (model.neck.patch_last_layer is None) == shared
    with torch.no_grad():
        for parameter in (*model.backbone.parameters(), *model.neck.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))  # the student is no longer the teacher
    model.head.targets.center.normal_(std=0.1)
    model.head.patch_targets.center.normal_(std=0.1)
    centers = model.head.targets.center[0].clone(), model.head.patch_targets.center[0].clone()
    img = [view.double() for view in tiny.batch('IBOT', 5)['img']]
    masks = BlockMasks()(5, 2, (4, 4))
    assert 0 < masks.flatten(1).any(1).sum() < 10
    large, small = torch.cat(img[:2]), torch.cat(img[2:])
    student, patches = scores_of(model.backbone, model.neck, large, masks)
    views = torch.cat([student, scores_of(model.backbone, model.neck, small)[0]]).unflatten(0, (5, 5))
    teacher, targets = scores_of(*model.teacher, large)

    pairs = [
        cross_entropy(t, centers[0], 0.04, s, 0.1) for g, own in enumerate(teacher.unflatten(0, (2, 5)))
        for v, view in enumerate(views) if v != g for t, s in zip(own, view)
    ]
    out = model(img)
    torch.testing.assert_close(out['class_loss'], sum(pairs) / len(pairs))
    want = naive_patch_loss(patches, targets, centers[1], masks.flatten(1), 0.04, 0.1)
    torch.testing.assert_close(out['patch_loss'], want)
    torch.testing.assert_close(model.head.targets.center[0], 0.9 * centers[0] + 0.1 * teacher.mean(0))
    torch.testing.assert_close(model.head.patch_targets.center[0], 0.9 * centers[1] + 0.1 * targets.mean((0, 1)))
    parsed = model.parse_losses(out)
    torch.testing.assert_close(parsed[0], out['class_loss'] + out['patch_loss'])


def test_only_masked_patches_pass_the_projector_of_the_student():
    model, rows = tiny.build('IBOT'), []
    for network in (model, model.teacher[1]):
        getattr(network, 'neck', network).fc0.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    model(tiny.batch('IBOT', 8)['img'])
    masked = BlockMasks()(8, 2, (4, 4)).sum().item()
    assert rows == [5 * 8 + masked, 2 * 8 + 2 * 8 * 16]


@pytest.mark.parametrize('targets', ['centering', 'sinkhorn'])
def test_a_batch_in_which_nothing_is_masked(targets):
    """Pitfalls: DDP waits for the gradients of mask token and last layer; a mean over no patches is no number."""
    model = tiny.build(
        'IBOT', masks=dict(probability=0), head=dict(type='IBOTHead', patch_channels=10, targets=targets))
    out = model.train_step(tiny.batch('IBOT'), None)
    out['loss'].backward()
    assert out['log_vars']['patch_loss'] == 0 and out['log_vars']['patch_entropy'] == 0
    unset = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not unset
    assert model.backbone.mask_token.grad.abs().max() == 0
    assert all(buffer.isfinite().all() for buffer in model.head.buffers())


def step_of_two_images(rank, world_size):
    """Loss, gradients and centres of two images, of which the first has no masked patch in either view."""
    model = tiny.build('IBOT', masks=dict(seed=4)).double()
    wrapped = DistributedDataParallel(model) if world_size > 1 else model
    size = 2 // world_size
    data = tiny.batch('IBOT', 2, start=rank * size, stop=(rank + 1) * size)
    data['img'] = [view.double() for view in data['img']]
    loss = wrapped.train_step(data, None)['loss']
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return loss.detach(), grads, dict(model.head.named_buffers())


def test_a_process_without_masked_patches(run_distributed):
    """Pitfalls: it leaves mask token and last layer without a gradient, or counts its images otherwise."""
    hidden = BlockMasks(seed=4)(2, 2, (4, 4)).flatten(1).sum(1).view(2, 2)
    assert hidden[:, 0].sum() == 0 and hidden[:, 1].min() > 0
    loss, grads, centres = step_of_two_images(0, 1)
    ranks = run_distributed(step_of_two_images)
    torch.testing.assert_close(sum(rank[0] for rank in ranks) / 2, loss)
    for rank in ranks:
        torch.testing.assert_close(rank[1], grads)
        torch.testing.assert_close(rank[2], centres)
    assert grads['backbone.mask_token'].abs().max() > 0


def test_mean_of_patches_without_their_scores():
    """The mean of all patches through the last layer is the mean of their scores."""
    for patch_channels in (None, 9):
        neck = build_neck(
            dict(type='IBOTNeck', in_channels=6, channels=[9, 5], out_channels=7, patch_channels=patch_channels))
        neck.init_weights()
        neck.double()
        features, patches, index = [(None, random_scores(3, 6))], random_scores(8, 6), torch.tensor([6, 1])
        tokens, every = neck(features, patches)
        got = neck(features, patches, index)
        assert every.shape == (8, patch_channels or 7)
        for a, b in zip(got, (tokens, every[index], every.mean(0, keepdim=True))):
            torch.testing.assert_close(a, b)
        lengths = [layer.weight_g for name, layer in neck.named_modules() if name.endswith('last_layer')]
        assert len(lengths) == 2 - (patch_channels is None) and not any(g.requires_grad for g in lengths)


def test_collapse_shows_in_both_losses():
    """Equal scores: the loss of class tokens is ln K, that of patches ln K' by the share of masked images."""
    head = IBOTHead(64, patch_channels=32)
    index, weight = masked_patches(torch.tensor([[[True, False]], [[False, False]], [[True, True]], [[False, False]]]))
    zeros = torch.zeros(len(index), 32)
    out = head(torch.zeros(4, 2, 64), torch.zeros(2, 2, 64), zeros, zeros, weight)
    assert out['class_loss'].item() == pytest.approx(math.log(64)) == out['teacher_entropy'].item()
    assert out['patch_loss'].item() == pytest.approx(math.log(32) / 2)
    assert out['patch_entropy'].item() == pytest.approx(math.log(32))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Softmax, sums and centres in float32, whatever comes in and whatever autocast says."""
    head, wide = (IBOTHead(6, patch_weight=0.5) for _ in range(2))
    weight = torch.tensor([1., 0.5, 0.5])
    scores = [
        x.to(dtype)
        for x in (random_scores(3, 4, 6), 5 * random_scores(2, 4, 6), random_scores(3, 6), 5 * random_scores(5, 6)[2:])
    ]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = head(*scores, weight)
    expected = wide(*(x.float() for x in scores), weight)
    assert all(out[name].dtype == torch.float32 and out[name].equal(expected[name]) for name in expected)
    for a, b in zip(head.buffers(), wide.buffers()):
        assert a.equal(b)


@pytest.mark.parametrize('changes, said', [
    (dict(backbone=dict(tiny.VIT, type='DINOViT')), 'with_mask_token=True, got DINOViT'),
    (dict(backbone=tiny.BACKBONE), 'with_mask_token=True, got ResNet'),
    (dict(masks=dict(ratios=[0.1, 0.5])), 'ratios'),
    (dict(head=dict(type='IBOTHead', patch_teacher_temp=0.)), 'patch_teacher_temp=0.0'),
])
def test_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        tiny.build('IBOT', **changes)


def test_prototypes_of_neck_and_head_differ():
    model = tiny.build('IBOT', head=dict(type='IBOTHead'))
    with pytest.raises(ConfigError, match='IBOTHead takes 12 channels and gets 10: its patch_channels'):
        model(tiny.batch('IBOT')['img'])

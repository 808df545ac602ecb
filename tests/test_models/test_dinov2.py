"""DINOv2 against loops in float64."""
import copy
import math

import pytest
import tiny
import torch

from mmssl.core.runner import build_runner
from mmssl.models.losses import gram_anchoring, koleo
from mmssl.models.utils.position_embedding import resize_pos_embed
from mmssl.utils.checkpoint import read_checkpoint
from mmssl.utils.logger import get_root_logger


def random_features(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def naive_koleo(z):
    """The logarithm of the smallest distance, one vector after the other."""
    z = [row / row.square().sum().sqrt() for row in z]
    total = 0
    for i, row in enumerate(z):
        distances = [(row - other).square().sum().sqrt() for j, other in enumerate(z) if j != i]
        total = total - (min(distances) + 1e-8).log()
    return total / len(z)


def test_koleo():
    z = (random_features(6, 4) + 0.3).requires_grad_()
    got, want = koleo(z), naive_koleo(z)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (got, want)))


def test_koleo_of_duplicates_and_of_one_image():
    """Pitfalls: infinite for near duplicates; NaN with one image in a process."""
    z = random_features(4, 8).float()
    z[1] = z[0]
    z[3] = z[2] + 1e-7
    z.requires_grad_()
    loss = koleo(z)
    assert 10 < loss < -math.log(1e-8) + 1e-3
    bounds = {eps: torch.autograd.grad(koleo(z, eps), z)[0].norm(dim=1).max() for eps in (1e-8, 1e-4)}
    assert bounds[1e-8].isfinite() and bounds[1e-4] < 1e4
    message = 'the batch of {} has 1: set data.samples_per_gpu'
    for per_process, whose in ((True, 'one process'), (False, 'all processes')):
        with pytest.raises(ValueError, match=message.format(whose)):
            koleo(z[:1], per_process=per_process)


def naive_gram(patches, anchors):
    total, count = 0, 0
    for x, y in zip(patches, anchors):
        for i in range(len(x)):
            for j in range(len(x)):
                s, t = x[i] @ x[j] / (x[i].norm() * x[j].norm()), y[i] @ y[j] / (y[i].norm() * y[j].norm())
                total, count = total + (s - t)**2, count + 1
    return total / count


def test_gram_anchoring():
    """The anchors get no gradient, and may have other dimensions."""
    patches, anchors = random_features(2, 5, 3).requires_grad_(), random_features(2, 5, 4).requires_grad_()
    got, want = gram_anchoring(patches, anchors), naive_gram(patches, anchors.detach())
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, patches, retain_graph=True)[0] for value in (got, want)))
    assert torch.autograd.grad(got, anchors, allow_unused=True)[0] is None
    assert gram_anchoring(patches, 3 * patches) < 1e-12


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z, anchors = random_features(2, 6, 4).to(dtype), random_features(2, 6, 3).to(dtype)
    many = random_features(60, 3).to(dtype)  # neighbours that rounded products would mix up
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = koleo(many), gram_anchoring(z, anchors)
    assert got[0].equal(koleo(many.float())) and got[1].equal(gram_anchoring(z.float(), anchors.float()))


def one_rank(rank, world_size):
    results = {}
    for size in (3, 1):
        z = random_features(2 * size, 4)[rank * size:(rank + 1) * size].requires_grad_()
        loss = koleo(z)
        results[size] = loss.detach(), torch.autograd.grad(loss, z)[0], koleo(
            z.detach(), per_process=True) if size > 1 else None
    return results


def test_two_processes_equal_one(run_distributed):
    ranks = run_distributed(one_rank)
    for size in (3, 1):
        z = random_features(2 * size, 4).requires_grad_()
        loss = koleo(z)
        torch.testing.assert_close(sum(rank[size][0] for rank in ranks) / 2, loss.detach())
        # each process has the gradient of the sum of both losses, of which DDP takes the mean
        got = torch.cat([rank[size][1] for rank in ranks]) / 2
        torch.testing.assert_close(got, torch.autograd.grad(loss, z)[0])
    for half, rank in zip(random_features(6, 4).split(3), ranks):  # as published, each process for itself
        torch.testing.assert_close(rank[3][2], koleo(half))


def naive_sinkhorn(scores, temperature):
    mass = (scores / temperature).exp()
    for _ in range(3):
        mass = mass / mass.sum(0)
        mass = mass / mass.sum(1, keepdim=True)
    return mass


def cross_entropy(targets, scores):
    return -(targets * (scores / 0.1).log_softmax(-1)).sum()


def naive_losses(model, views, masks, anchors):
    """The losses as the paper and the authors' code have them, image by image.

    Args:
        views (list[Tensor]): B x C x H x W each, two large ones first.
        masks (Tensor): 2 x B x h x w, bool.
        anchors (nn.Module): The backbone that Gram anchoring compares with.
    """
    teacher, teacher_neck, teacher_patch_neck = model.teacher
    size, pairs = len(views[0]), [(g, v) for g in range(2) for v in range(len(views)) if v != g]

    def features(backbone, image, *mask):
        maps, token = backbone(image[None], *(m[None] for m in mask))[-1]
        return maps[0].flatten(1).T, token[0]

    def scores(neck, vector):
        x = neck.fc1(torch.nn.functional.gelu(neck.fc0(vector)))
        v = neck.last_layer.weight_v
        return neck.last_layer.weight_g[:, 0] * (v @ (x / x.norm())) / v.norm(dim=1)

    student = [[features(model.backbone, image, *([masks[v, b]] if v < 2 else [])) for b, image in enumerate(view)]
               for v, view in enumerate(views)]
    whole = [[features(teacher, image) for image in view] for view in views[:2]]
    targets = naive_sinkhorn(
        torch.stack([scores(teacher_neck, token) for row in whole for _, token in row]), model.head.teacher_temp)
    targets = targets.view(2, size, -1)
    local, large = [
        sum(
            cross_entropy(targets[g, b], scores(model.neck, student[v][b][1])) / size for g, v in pairs
            if (v < 2) == both for b in range(size)) for both in (False, True)
    ]
    class_loss = (local + large) / (2 + 2 * (len(views) - 2))
    hidden = [(v, b, i) for v in range(2) for b in range(size) for i in masks[v, b].flatten().nonzero()[:, 0]]
    patch_targets = naive_sinkhorn(
        torch.stack([scores(teacher_patch_neck, whole[v][b][0][i]) for v, b, i in hidden]),
        model.head.patch_teacher_temp)
    patch_loss = sum(
        cross_entropy(t, scores(model.patch_neck, student[v][b][0][i])) / masks[v, b].sum() / (2 * size)
        for t, (v, b, i) in zip(patch_targets, hidden))
    spread = sum(naive_koleo(torch.stack([token for _, token in row])) for row in student[:2])
    patches, earlier = [
        torch.stack([image for image in images])
        for images in ([row[0] for view in student[:2]
                        for row in view], [features(anchors, image)[0] for view in views[:2] for image in view])
    ]
    return dict(
        class_loss=class_loss,
        patch_loss=patch_loss,
        koleo_loss=0.1 * spread,
        gram_loss=0.5 * naive_gram(patches, earlier.detach()))


def prepared():
    """A model whose teachers are not its student, and a batch."""
    model = tiny.build('DINOv2', gram=dict(weight=0.5, interval=5)).double()
    for part in model.teacher:
        for p in part.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model, [view.double() for view in tiny.batch('DINOv2', 3)['img']]


def test_losses_and_gradients():
    model, views = prepared()
    masks = copy.deepcopy(model.masks)(3, 2, (4, 4)).unflatten(0, (2, 3))
    assert 0 < masks.any((2, 3)).sum() < 6
    want = naive_losses(model, views, masks, model.teacher[0])
    got = model(views)
    parameters = dict(p for p in model.named_parameters() if p[1].requires_grad)
    for name in model.loss_names:
        torch.testing.assert_close(got[name], want[name])
        gradients = [
            torch.autograd.grad(x[name], parameters.values(), retain_graph=True, allow_unused=True) for x in (got, want)
        ]
        for key, a, b in zip(parameters, *gradients):
            if a is not None or b is not None:
                none = torch.zeros_like(parameters[key])
                torch.testing.assert_close(none if a is None else a, none if b is None else b, msg=f'{name}, {key}')
    torch.testing.assert_close(model.parse_losses(got)[0], sum(want.values()))


def test_earlier_teacher():
    """A copy of the teacher, at iterations 1, 3 and 5 here, that stands still otherwise, also in evaluation."""
    model, views = prepared()
    model.gram_teacher.start, model.gram_teacher.interval = 1, 2
    mark, seen = model.teacher[0].cls_token, []
    for i in range(8):
        mark.fill_(i + 10)
        model(views) if i != 6 else model.eval()(views)
        model.train()
        seen.append(model.gram_teacher.network[0].cls_token.mean().item())
    assert seen[0] < 1 and seen[1:] == [11, 11, 13, 13, 15, 15, 15]
    assert model.gram_teacher.iterations.done == 7 and not model.gram_teacher.network.training
    assert {'gram_teacher.iterations.number', 'gram_teacher.network.0.cls_token'} <= set(model.state_dict())
    assert not any(p.requires_grad for p in model.gram_teacher.parameters())


def test_teacher_follows_both_projectors():
    model = tiny.build('DINOv2')
    with torch.no_grad():
        for p in model.patch_neck.parameters():
            p.add_(1.)
    before = [p.clone() for p in model.teacher[2].parameters()]
    model.momentum = 0.75
    model.momentum_update()
    for old, new, own in zip(before, model.teacher[2].parameters(), model.patch_neck.parameters()):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * own)


def test_one_projector_for_both():
    """The centre of the patches is that of masked ones."""
    model = tiny.build(
        'DINOv2',
        neck=dict(type='IBOTNeck', channels=[32, 16], out_channels=12),
        patch_neck=None,
        gram=None,
        head=dict(type='IBOTHead', center_momentum=0.))
    data = tiny.batch('DINOv2')
    masks = copy.deepcopy(model.masks)(8, 2, (4, 4))
    out = model(data['img'])
    assert set(model.loss_names) == {'class_loss', 'patch_loss', 'koleo_loss'} <= set(out)
    with torch.no_grad():
        backbone, neck = model.teacher
        maps, tokens = backbone(torch.cat(data['img'][:2]))[-1]
        scores = neck([(maps, tokens)], maps.flatten(2).mT[masks.flatten(1)])[1]
    torch.testing.assert_close(model.head.patch_targets.center, scores.mean(0, keepdim=True))


@pytest.mark.parametrize('changes, message', [
    (dict(koleo_weight=-1.), 'koleo_weight=-1.0'),
    (dict(koleo_eps=0.), 'koleo_eps=0.0'),
    (dict(gram=dict(interval=0)), 'interval=0'),
    (dict(gram=dict(interwal=0)), "no argument 'interwal'"),
    (dict(patch_neck=dict(type='DINONeck', out_channels=9), head=dict(
        type='IBOTHead', patch_channels=8)), 'IBOTHead takes 8 channels and gets 9'),
])
def test_settings_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.build('DINOv2', **changes)(tiny.batch('DINOv2')['img'])


def load_from(model, path):
    runner = build_runner(dict(type='EpochBasedRunner', max_epochs=1), dict(model=model, logger=get_root_logger()))
    return runner.load_checkpoint(path)


def test_high_resolution_phase(tmp_path):
    """A training with larger crops begins with all of the one before: nothing is random, and positions are spread."""
    model = tiny.build('DINOv2', head=dict(type='IBOTHead'))
    for part in (*model.teacher, model.patch_neck, model.neck):
        for p in part.parameters():
            p.data.add_(0.1 * torch.randn_like(p))
    model(tiny.batch('DINOv2')['img'])  # centres
    state = {k: v.clone() for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    later = tiny.build(
        'DINOv2', seed=1, head=dict(type='IBOTHead'), backbone=dict(tiny.CONFIGS['DINOv2']['backbone'], img_size=64))
    report = load_from(later, tmp_path / 'a.pth')
    assert set(report.matched) == set(state) and not (report.missing or report.unexpected or report.mismatched)
    assert state['head.targets.center'].any() and state['head.patch_targets.center'].any()
    for key, value in later.state_dict().items():
        if key.endswith('pos_embed'):
            assert value.shape == (1, 65, 16)
            torch.testing.assert_close(value, resize_pos_embed(state[key], (4, 4), (8, 8), 'bicubic', 1))
        else:
            assert value.equal(state[key]), key
    views = [torch.randn(2, 3, side, side) for side in (64, 64, 24, 24)]
    assert later.parse_losses(later(views))[0].isfinite()


@pytest.mark.parametrize('way', ['init_cfg', 'load_from'])
def test_continued_from_a_backbone(way, tmp_path, warnings_of_data):
    """Student and teacher begin with the backbone of a file, which lacks mask token, registers and projectors."""
    lacking = ('mask_token', 'register_tokens')
    source = tiny.build('DINOv2', seed=1).backbone
    prefix = '' if way == 'init_cfg' else 'backbone.'
    weights = {prefix + k: torch.randn_like(v) for k, v in source.state_dict().items() if k not in lacking}
    torch.save(weights, tmp_path / 'vit.pth')
    backbone = tiny.CONFIGS['DINOv2']['backbone']
    if way == 'init_cfg':
        backbone = dict(backbone, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth')))
    model = tiny.build('DINOv2', backbone=backbone)
    if way == 'load_from':
        load_from(model, tmp_path / 'vit.pth')
    for key, value in read_checkpoint(tmp_path / 'vit.pth').items():
        key = key.removeprefix(prefix)
        assert model.backbone.state_dict()[key].equal(value) and model.teacher[0].state_dict()[key].equal(value)
    for part, follower in zip(model.followed, model.teacher):
        assert all(a.equal(b) for a, b in zip(part.state_dict().values(), follower.state_dict().values()))
    said = ' '.join(warnings_of_data)
    assert 'missing, initial values are kept: ' in said and 'mask_token' in said
    assert ('projectors and prototypes begin at random' if way == 'init_cfg' else 'no weights of neck, ') in said


def test_a_teacher_that_is_in_the_file_stays(tmp_path):
    """iBOT's teacher begins DINOv2's; only the projector that it had not is a copy of the student's."""
    shared = dict(type='IBOTNeck', channels=[32, 16], out_channels=12)
    model = tiny.build('DINOv2', neck=shared, patch_neck=None, gram=None)
    for p in model.teacher.parameters():
        p.data.normal_()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    later = tiny.build('DINOv2', seed=1, gram=None)
    report = load_from(later, tmp_path / 'a.pth')
    for key in report.matched:
        assert later.state_dict()[key].equal(state[key]), key
    assert all(a.equal(b) for a, b in zip(later.patch_neck.parameters(), later.teacher[2].parameters()))


def test_no_patch_is_masked():
    """The losses stay numbers, and every parameter has a gradient, which DDP waits for."""
    model = tiny.build('DINOv2', masks=dict(probability=0.))
    out = model.train_step(tiny.batch('DINOv2'))
    out['loss'].backward()
    assert out['loss'].isfinite() and out['log_vars']['patch_loss'] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)

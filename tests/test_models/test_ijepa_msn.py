"""I-JEPA and MSN against loops in float64: what is masked, predicted, assigned to prototypes."""
import copy
import math

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import MSNHead, build_algorithm, build_backbone, build_neck
from mmssl.models.losses import latent_smooth_l1, masked_siamese
from mmssl.models.utils import multiblock_masks
from mmssl.models.utils.multiblock_masks import MultiBlockMasks
from mmssl.utils.errors import ConfigError


def random(*shape, seed=4):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize('grid', [(14, 14), (8, 12)])
def test_blocks(grid):
    """Rectangles of one size for the batch and within the grid; the context has no patch of a target."""
    masks = MultiBlockMasks()
    sizes, area = set(), grid[0] * grid[1]
    for _ in range(6):
        context, targets = masks(5, grid)
        assert len(context) == 5 and targets.shape[:2] == (5, 4) and context.shape[1] >= 10
        assert (context.diff() > 0).all() and context.min() >= 0 and context.max() < area
        rows, columns = targets // grid[1], targets % grid[1]
        sides = {(int(r.max() - r.min()) + 1, int(c.max() - c.min()) + 1)
                 for r, c in zip(rows.flatten(0, 1), columns.flatten(0, 1))}
        (height, width), = sides
        sizes |= sides
        assert height * width == targets.shape[2] and rows.max() < grid[0] and (targets.diff() > 0).all()
        assert 0.1 < height * width / area < 0.26 and 0.5 < height / width < 2
        for image, blocks in zip(context.tolist(), targets):
            assert not {*image} & {*blocks.flatten().tolist()}
    assert len(sizes) > 1 and masks.iterations.done == 6


def test_all_rows_and_columns_are_seen_and_predicted():
    """The published code never reaches the last ones, and loses bottom rows where contexts are cut."""
    masks, seen, asked = MultiBlockMasks(), np.zeros(196), np.zeros(196)
    for _ in range(12):
        context, targets = masks(40, (14, 14))
        seen += np.bincount(context.flatten(), minlength=196)
        asked += np.bincount(targets.flatten(), minlength=196)
    for counts in (seen, asked):
        counts = counts.reshape(14, 14)
        assert counts.min() > 0
        # top and bottom, left and right alike
        for ends in ((counts[:3].sum(), counts[-3:].sum()), (counts[:, :3].sum(), counts[:, -3:].sum())):
            assert 0.8 < ends[0] / ends[1] < 1.25


def test_masks_are_those_of_one_process(monkeypatch):
    masks = MultiBlockMasks()
    masks.iterations.step()
    context, targets = copy.deepcopy(masks)(6, (9, 9))
    parts = []
    for rank in range(3):
        monkeypatch.setattr(multiblock_masks, 'get_dist_info', lambda: (rank, 3))  # noqa: B023
        parts.append(copy.deepcopy(masks)(2, (9, 9)))
    assert torch.cat([part[0] for part in parts]).equal(context)
    assert torch.cat([part[1] for part in parts]).equal(targets)


def test_masks_depend_on_seed_and_iteration_alone():
    first, again, other = MultiBlockMasks(), MultiBlockMasks(), MultiBlockMasks(seed=1)
    drawn = [first(4, (9, 9))[1] for _ in range(3)]
    assert not drawn[0][..., 0].equal(drawn[1][..., 0])
    again(4, (9, 9))
    resumed = MultiBlockMasks()
    resumed.load_state_dict(again.state_dict())
    torch.manual_seed(3)
    for expected in drawn[1:]:
        assert resumed(4, (9, 9))[1].equal(expected)
    assert not other(4, (9, 9))[1][..., 0].equal(drawn[0][..., 0])
    resumed.eval()  # a validation draws, and changes nothing
    before = resumed.state_dict()['iterations.number'].clone()
    assert all(a.equal(b) for a, b in zip(resumed(4, (9, 9)), resumed(4, (9, 9))))
    assert resumed.iterations.done == before == 3


def test_small_grids():
    """Images of 32 pixels in patches of 16 ran for ever; here the error names what to change."""
    with pytest.raises(ConfigError, match=r'a grid of 2 x 2 patches has a context of 1 x 1, fewer than masks.min_keep'):
        MultiBlockMasks()(4, (2, 2))
    context, targets = MultiBlockMasks(min_keep=1)(50, (2, 2))
    assert context.shape == (50, 1) and targets.shape == (50, 4, 1)
    # half of the context block would be left at most: targets are given up, the last one first
    context, targets = MultiBlockMasks(num_targets=3, target_share=[.5, .5], min_keep=12)(20, (5, 5))
    assert context.shape[1] >= 12
    for arguments in (dict(num_targets=0), dict(min_keep=0), dict(target_share=[.2, .1]), dict(context_share=[.5, 1.1]),
                      dict(target_aspect=[0, 1])):
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            MultiBlockMasks(**arguments)


def test_latent_regression():
    pred, target = random(2, 3, 4, 5).requires_grad_(), 3 * random(2, 3, 4, 5, seed=5).requires_grad_()
    expected = []
    for p, t in zip(pred.flatten(0, 2), target.detach().flatten(0, 2)):
        t = (t - t.mean()) / (t.var(unbiased=False) + 1e-5).sqrt()
        for difference in (p - t).abs():
            expected.append(difference**2 / 1.4 if difference < 0.7 else difference - 0.35)
    expected = sum(expected) / len(expected)
    loss = latent_smooth_l1(pred, target, beta=0.7)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, pred)[0] for value in (loss, expected)))
    half = pred.detach().half(), target.detach().half()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert latent_smooth_l1(*half).equal(latent_smooth_l1(*(x.float() for x in half)))


def naive_ijepa(model, img):
    """Image by image and block by block, with whole images cut into patches by the convolution."""
    visible, targets = copy.deepcopy(model.masks)(len(img), (4, 4))
    losses = []
    for i in range(len(img)):
        tokens = model.backbone.patch_embed(img[i:i + 1])[0] + model.backbone.pos_embed
        context = model.backbone.encode(tokens[:, visible[i]])
        with torch.no_grad():
            whole = model.teacher(img[i:i + 1])[-1].flatten(2).transpose(1, 2)[0]
        for block in targets[i]:
            queries = model.neck.mask_token[0] + model.neck.pos_embed[block]
            x = torch.cat((model.neck.embed(context)[0] + model.neck.pos_embed[visible[i]], queries))[None]
            for layer in model.neck.layers:
                x = layer(x)
            pred = model.neck.proj(model.neck.ln1(x))[0, len(visible[i]):]
            losses.append(F.smooth_l1_loss(pred, F.layer_norm(whole[block], whole.shape[1:])))
    return sum(losses) / len(losses)


def test_ijepa_step_by_step():
    model, img = tiny.build('IJEPA').double(), tiny.batch('IJEPA')['img'].double()
    model.neck.positions((4, 4))
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.mul_(1.1)
    naive = copy.deepcopy(model)
    expected = naive_ijepa(naive, img)
    loss = model(img)['loss']
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for (name, parameter), other in zip(model.named_parameters(), naive.parameters()):
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, other.grad)
    model.momentum = 0.8
    before = [parameter.clone() for parameter in model.teacher.parameters()]
    model.momentum_update()
    for slow, old, fast in zip(model.teacher.parameters(), before, model.backbone.parameters()):
        torch.testing.assert_close(slow, 0.8 * old + 0.2 * fast)


@torch.no_grad()
def test_context_does_not_see_targets():
    """What is in the patches of the targets alone changes no prediction, and the target of the loss."""
    model, img = tiny.build('IJEPA').eval(), tiny.batch('IJEPA')['img']
    visible, targets = model.masks(len(img), (4, 4))
    hidden = torch.ones(len(img), 16, dtype=torch.bool).scatter(1, visible, False).view(-1, 1, 4, 4)
    other = torch.where(hidden.repeat_interleave(8, 2).repeat_interleave(8, 3), -img, img)
    seen = []
    model.neck.register_forward_hook(lambda module, inputs, output: seen.append(output))
    losses = [model(x)['loss'] for x in (img, other)]
    assert seen[0].equal(seen[1]) and not losses[0].equal(losses[1])


def test_predictor_of_other_grids():
    neck = build_neck(dict(type='IJEPAPredictor', in_channels=6, embed_dims=8, num_layers=1, num_heads=2))
    neck.init_weights()
    for grid in ((2, 3), (4, 4)):
        numbers = torch.arange(grid[0] * grid[1])
        out = neck(torch.randn(2, 3, 6), numbers[:3].expand(2, -1), numbers[None, None, -2:].expand(2, 3, -1), grid)
        assert out.shape == (2, 6, 6) and neck.pos_embed.shape == (len(numbers), 8)
    assert 'pos_embed' not in neck.state_dict()
    with pytest.raises(ConfigError, match='IJEPAPredictor takes 6 channels and gets 5'):
        neck(torch.randn(2, 3, 5), numbers[:3].expand(2, -1), numbers[None, None, -2:].expand(2, 3, -1), grid)


def test_published_initialisation():
    vit = build_backbone(dict(type='IJEPAViT', arch='deit-tiny', img_size=32))
    vit.init_weights()
    assert vit.cls_token is None and not vit.pos_embed.requires_grad
    for number, layer in enumerate(vit.layers, 1):
        for weight in (layer.attn.proj.weight, layer.ffn.layers[1].weight):
            assert weight.std().item() == pytest.approx(0.0176 * math.sqrt(1.29 / (2 * number)), rel=0.1)
        assert layer.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)


def naive_msn(anchors, whole, prototypes, log_prior, temperature, sharpening, iterations):
    """Equation 1 of https://arxiv.org/abs/2204.07141 one by one; Sinkhorn on the matrix of probabilities."""
    unit = [q / q.norm() for q in prototypes]
    with torch.no_grad():
        targets = torch.stack(
            [torch.stack([z @ q / z.norm() / temperature for q in unit]).softmax(0)**(1 / sharpening) for z in whole])
        targets /= targets.sum(1, keepdim=True)
        for _ in range(iterations):
            targets = targets / targets.sum(0)
            targets = targets / targets.sum(1, keepdim=True)
    losses, mean = [], 0
    for view in anchors:
        for z, target in zip(view, targets):
            p = torch.stack([z @ q / z.norm() / temperature for q in unit]).softmax(0)
            losses.append(-(target * p.log()).sum())
            mean = mean + p / (len(anchors) * len(whole))
    return sum(losses) / len(losses) + 0.7 * (mean * (mean.log() - log_prior)).sum()


@pytest.mark.parametrize('iterations, power', [(3, 0.), (0, 0.25)])
def test_msn_loss(iterations, power):
    head = MSNHead(5, 7, 0.3, sharpening=0.5, sinkhorn_iterations=iterations, weight=0.7, power=power).double()
    prior = torch.arange(1, 8, dtype=torch.float64)**-power
    torch.testing.assert_close(head.log_prior.exp(), prior / prior.sum(), rtol=0, atol=1e-6)
    anchors, whole = random(3, 4, 5).requires_grad_(), random(4, 5, seed=9).requires_grad_()
    expected = naive_msn(anchors, whole, head.prototypes, head.log_prior, 0.3, 0.5, iterations)
    loss = head(anchors, whole)['loss']
    torch.testing.assert_close(loss, expected)
    got, wanted = (torch.autograd.grad(value, (anchors, head.prototypes)) for value in (loss, expected))
    for pair in zip(got, wanted):
        torch.testing.assert_close(*pair)
    assert torch.autograd.grad(head(anchors, whole)['loss'], whole, allow_unused=True) == (None, )


def test_collapse_shows_in_the_log():
    """Assignments that are all alike: ln K. One prototype that takes all: the divergence is ln K."""
    head = MSNHead(4, 32)
    with torch.no_grad():
        head.prototypes.copy_(torch.ones(32, 4))
    out = head(torch.randn(2, 3, 4), torch.randn(3, 4))
    for name in ('cross_entropy', 'teacher_entropy'):
        assert out[name].item() == pytest.approx(math.log(32), rel=1e-5)
    assert out['divergence'].abs() < 1e-5
    scores = torch.zeros(2, 3, 32)
    scores[..., 5] = 9.
    divergence = masked_siamese(scores, torch.full((3, 32), 1 / 32), head.log_prior)[1]
    assert divergence.item() == pytest.approx(math.log(32), rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_msn_in_half_precision(dtype):
    head = MSNHead(5, 7)
    anchors, whole = random(3, 4, 5).to(dtype), random(4, 5, seed=9).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = head(anchors, whole)
    expected = head(anchors.float(), whole.float())
    assert all(out[name].dtype == torch.float32 and out[name].equal(expected[name]) for name in expected)
    scores, targets = random(2, 3, 7).to(dtype), head.targets(whole[:3])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = masked_siamese(scores, targets, head.log_prior)
    assert all(a.equal(b) for a, b in zip(got, masked_siamese(scores.float(), targets, head.log_prior)))


def test_msn_step_by_step():
    """Masked views one by one, small views as they are, the teacher on the whole view."""
    model, data = tiny.build('MSN').double(), [view.double() for view in tiny.batch('MSN')['img']]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.mul_(1.1)  # the student is no longer the teacher
    hidden = copy.deepcopy(model.masks)(8, 2, (4, 4)).view(2, 8, -1)
    assert hidden.sum(2).eq(4).all()
    tokens = []
    for views, numbers in zip(data[1:3], hidden):
        for view, own in zip(views, ~numbers):
            x = model.backbone.patch_embed(view[None])[0] + model.backbone.pos_embed[:, 1:]
            x = torch.cat((model.backbone.cls_token + model.backbone.pos_embed[:, :1], x[:, own]), 1)
            tokens.append(model.backbone.encode(x)[:, 0])
    tokens += [model.backbone(view)[-1][1] for view in data[3:]]
    anchors = model.neck.project(torch.cat(tokens)).unflatten(0, (len(data) - 1, 8))
    backbone, neck = model.teacher
    whole = neck.project(backbone(data[0])[-1][1])
    torch.testing.assert_close(model(data)['loss'], model.head(anchors, whole)['loss'])


def test_errors():
    with pytest.raises(ConfigError, match='IJEPA needs a backbone that leaves out patches, .* ResNet cannot'):
        tiny.build('IJEPA', backbone=tiny.BACKBONE, neck=dict(tiny.CONFIGS['IJEPA']['neck'], in_channels=64))
    with pytest.raises(ConfigError, match='MSN projects the class token: backbone.with_cls_token must be True'):
        tiny.build('MSN', backbone=dict(tiny.VIT, type='IJEPAViT'))
    with pytest.raises(ConfigError, match="MultiBlockMasks takes no argument 'num_target'"):
        build_algorithm(dict(tiny.CONFIGS['IJEPA'], masks=dict(num_target=4)))
    with pytest.raises(ValueError, match='student_temp and sharpening must be positive'):
        MSNHead(4, sharpening=0.)
    with pytest.raises(ConfigError, match='MSNHead takes 4 channels and gets 5'):
        MSNHead(4)(torch.zeros(1, 2, 5), torch.zeros(2, 5))

# Copyright (c) mmssl contributors. All rights reserved.
"""DINO against loops in float64: loss, centre, weight norm, teacher."""
import copy
import math

import pytest
import tiny
import torch
from torch import nn

from mmssl.models import DINOHead, WeightNormLinear, build_backbone, build_neck
from mmssl.models.utils.momentum_encoder import MomentumEncoder
from mmssl.utils.distributed_sinkhorn import distributed_sinkhorn


def random_scores(*shape):
    generator = torch.Generator().manual_seed(4)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def naive_loss(student, teacher, center, teacher_temp, student_temp):
    """Algorithm 1 of https://arxiv.org/abs/2104.14294: each pair of a large view and another view, image by image."""
    pairs = []
    for g in range(len(teacher)):
        for v in range(len(student)):
            if v == g:
                continue
            for t, s in zip(teacher[g], student[v]):
                t = ((t - center[0]) / teacher_temp).exp()
                s = (s / student_temp).exp()
                pairs.append(-(t / t.sum() * (s / s.sum()).log()).sum())
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize('views, large', [(5, 2), (2, 2), (3, 1)])
def test_loss(views, large):
    head = DINOHead(6, teacher_temp=0.5, student_temp=0.7).double()
    head.targets.center.normal_(generator=torch.Generator().manual_seed(1))
    student, teacher = random_scores(views, 3, 6).requires_grad_(), random_scores(large, 3, 6).requires_grad_()
    expected = naive_loss(student, teacher.detach(), head.targets.center.clone(), 0.5, 0.7)
    out = head(student, teacher)
    torch.testing.assert_close(out['loss'], expected)
    got, none = torch.autograd.grad(out['loss'], (student, teacher), allow_unused=True)
    torch.testing.assert_close(got, torch.autograd.grad(expected, student)[0])
    assert none is None


def test_the_centre_is_used_first_and_moves_after():
    head = DINOHead(6, center_momentum=0.8).double()
    student, teacher = random_scores(3, 4, 6), random_scores(2, 4, 6)
    head.targets.center.fill_(1.)
    first = head(student, teacher)['loss']
    torch.testing.assert_close(first, naive_loss(student, teacher, torch.ones(1, 6), 0.04, 0.1))
    torch.testing.assert_close(head.targets.center, 0.8 + 0.2 * teacher.mean((0, 1))[None])
    assert 'targets.center' in head.state_dict()
    head.eval()
    before = head.targets.center.clone()
    head(student, teacher)
    assert head.targets.center.equal(before)


def test_centre_of_the_first_checkpoints():
    head = DINOHead(6)
    assert not any(head.load_state_dict({'center': torch.full((1, 6), 3.)}))
    assert head.targets.center.eq(3).all()


def test_targets_by_sinkhorn():
    """The images and large views of the batch share the prototypes together."""
    head = DINOHead(6, teacher_temp=0.5, student_temp=0.7, targets='sinkhorn').double()
    student, teacher = random_scores(5, 3, 6), random_scores(2, 3, 6)
    out = head(student, teacher)
    codes = distributed_sinkhorn(teacher.reshape(6, 6), 3, 1, 0.5).reshape(2, 3, 6)
    pairs = [(g, v) for g in range(2) for v in range(5) if v != g]
    expected = sum(-(codes[g] * (student[v] / 0.7).log_softmax(1)).sum(1).mean() for g, v in pairs) / len(pairs)
    torch.testing.assert_close(out['loss'], expected)
    torch.testing.assert_close(out['teacher_entropy'], -(codes * codes.log()).sum(2).mean())
    assert not head.state_dict()
    with pytest.raises(ValueError, match="targets is 'centering' or 'sinkhorn', got 'softmax'"):
        DINOHead(6, targets='softmax')
    with pytest.raises(ValueError, match="'sinkhorn' has no centre: leave center_momentum out, got 0.5"):
        DINOHead(6, targets='sinkhorn', center_momentum=0.5)


def test_collapse_shows_as_entropy():
    """Equal scores: loss and entropy are ln K. One prototype that wins everywhere: the entropy is 0."""
    head = DINOHead(64)
    out = head(torch.zeros(4, 3, 64), torch.zeros(2, 3, 64))
    assert out['loss'].item() == pytest.approx(math.log(64)) and out['teacher_entropy'].item() == \
        pytest.approx(math.log(64))
    scores = torch.zeros(4, 3, 64)
    scores[..., 5] = 9.
    assert DINOHead(64)(scores, scores[:2])['teacher_entropy'] < 1e-6


def test_values_of_uniform_scores():
    """What heads declare, by which UniformScoresHook knows a collapse, is what equal scores give."""
    names = ('DINO', 'IBOT', 'MSN', 'SwAV', 'SwAVMomentum', 'SimCLR', 'DCLW', 'SupCon', 'MoCo', 'MoCoV3', 'NNCLR',
             'BYOL', 'SimSiam', 'DenseCL', 'RotationPred', 'Jigsaw')
    for name in names:
        model = tiny.build(name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        model.eval()  # SwAV gives its prototypes the length 1 in training
        batch = tiny.batch(name)
        out = model(batch.pop('img'), **{k: v for k, v in batch.items() if k != 'idx' or name == 'MoCo'})
        out = dict(out, loss=sum(v for k, v in out.items() if 'loss' in k)) if 'loss' not in out else out
        assert model.head.uniform_values and all(hasattr(model.head, knob) for knob in model.head.sharpness)
        for key, value in model.head.uniform_values.items():
            assert out[key].item() == pytest.approx(float(value), rel=1e-5, abs=1e-6), f'{name}: {key}'


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Softmax, entropy and centre are computed in float32, where differences of hundreds in a temperature count."""
    head, wide = DINOHead(6), DINOHead(6)
    student, teacher = random_scores(3, 4, 6).to(dtype), 5 * random_scores(2, 4, 6).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = head(student, teacher)
    expected = wide(student.float(), teacher.float())
    assert out['loss'].dtype == torch.float32 and out['loss'].equal(expected['loss'])
    assert head.targets.center.equal(wide.targets.center)


@pytest.mark.parametrize('train_length', [False, True])
def test_weight_norm(train_length):
    """The same as torch's weight norm, whose checkpoints it reads; it can be copied, which that could not."""
    layer = WeightNormLinear(5, 7, train_length=train_length).double()
    reference = nn.utils.parametrizations.weight_norm(nn.Linear(5, 7, bias=False).double())
    with torch.no_grad():
        reference.parametrizations.weight.original1.copy_(layer.weight_v)
        reference.parametrizations.weight.original0.fill_(1.)
    x = random_scores(4, 5)
    weights = random_scores(4, 7)
    for module in (layer, copy.deepcopy(layer), reference):
        (module(x) * weights).sum().backward()
    torch.testing.assert_close(layer(x), reference(x))
    torch.testing.assert_close(layer.weight_v.grad, reference.parametrizations.weight.original1.grad)
    if train_length:
        torch.testing.assert_close(layer.weight_g.grad, reference.parametrizations.weight.original0.grad)
    else:
        assert layer.weight_g.grad is None
    assert list(layer.state_dict()) == ['weight_v', 'weight_g']


def test_projector():
    """GELU between the layers, unit vectors, prototypes of unit length."""
    neck = build_neck(dict(type='DINONeck', in_channels=6, channels=[9, 5], out_channels=7)).double()
    neck.init_weights()
    x = random_scores(4, 6)
    hidden = nn.functional.gelu(neck.fc0(x))
    unit = nn.functional.normalize(neck.fc1(hidden), dim=1)
    torch.testing.assert_close(neck([x])[0], unit @ nn.functional.normalize(neck.last_layer.weight_v, dim=1).T)
    assert 0.01 < neck.fc0.weight.std() < 0.03 and neck.fc0.bias.abs().max() == 0
    assert 0.01 < neck.last_layer.weight_v.std() < 0.03  # others had 0.2


def test_step_by_step():
    """The student sees all views, the teacher, which is another network by then, the large ones."""
    model = tiny.build(
        'DINO',
        backbone=dict(tiny.VIT, type='DINOViT'),
        neck=dict(tiny.CONFIGS['DINO']['neck'], vit_backbone=True, with_avg_pool=False)).double()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    img = [view.double() for view in tiny.batch('DINO', 3)['img']]
    large = sum(view.shape == img[0].shape for view in img)
    assert 1 < large < len(img)
    backbone, neck = model.teacher
    student = torch.stack([model.neck(model.backbone(view))[0] for view in img])
    teacher = torch.stack([neck(backbone(view))[0] for view in img[:large]])
    expected = naive_loss(student, teacher.detach(), torch.zeros(1, 12), 0.04, 0.1)
    loss = model(img)['loss']
    torch.testing.assert_close(loss, expected)
    parameters = [*model.backbone.parameters(), *model.neck.parameters()]
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    for got, want in zip(*(torch.autograd.grad(value, parameters) for value in (loss, expected))):
        torch.testing.assert_close(got, want)


def test_teacher_drops_no_paths_and_keeps_its_statistics():
    vit = build_backbone(dict(tiny.VIT, type='DINOViT', drop_path_rate=0.5))
    rates = [m.drop_prob for m in vit.modules() if type(m).__name__ == 'DropPath']
    teacher = MomentumEncoder(vit, drop_path=False)
    assert max(rates) == 0.5 and [m.drop_prob for m in vit.modules() if type(m).__name__ == 'DropPath'] == rates
    assert [m.drop_prob for m in teacher.modules() if type(m).__name__ == 'DropPath'] == [0.] * len(rates)

    model, data = tiny.build('DINO'), tiny.batch('DINO')
    model.momentum = 0.7
    student = {n: p.clone() for n, p in model.backbone.named_parameters()}
    model.train_step(data)
    buffers = {n: b.clone() for n, b in model.teacher[0].named_buffers()}
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(1.)
    model.momentum_update()
    for name, parameter in model.teacher[0].named_parameters():
        torch.testing.assert_close(parameter, 0.7 * student[name] + 0.3 * (student[name] + 1))
    for name, buffer in model.teacher[0].named_buffers():
        assert buffer.equal(buffers[name])


@pytest.mark.parametrize('cfg, size', [
    (dict(
        type='SwinTransformer',
        img_size=32,
        drop_path_rate=.9,
        out_indices=(2, ),
        arch=dict(embed_dims=8, depths=[1, 2, 2], num_heads=[1, 2, 2])), 32),
    (dict(type='TIMMBackbone', model_name='xcit_nano_12_p16_224', drop_path_rate=.9), 32),
    (dict(type='TorchvisionBackbone', model_name='efficientnet_b0', stochastic_depth_prob=.9), 32),
])
@torch.no_grad()
def test_no_teacher_drops_paths(cfg, size):
    """Fault of VISSL: those of XCiT and Swin did, as it looked for the paths of its own ViT alone."""
    student = build_backbone(cfg)
    for name, parameter in student.named_parameters():
        if 'gamma' in name:
            parameter.fill_(1.)  # XCiT's branches begin next to nothing
    teacher = MomentumEncoder(student, drop_path=False).train()
    for module in (*student.train().modules(), *teacher.modules()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    x = torch.randn(4, 3, size, size)
    assert not student(x)[-1].equal(student(x)[-1])
    assert teacher(x)[-1].equal(teacher(x)[-1])


@pytest.mark.parametrize('name', ['DINO', 'IBOT', 'DINOv2', 'MSN', 'IJEPA'])
def test_each_teacher_is_built_without_dropped_paths(name):
    vit = dict(tiny.CONFIGS[name]['backbone'])
    if vit['type'] == 'ResNet':
        vit = dict(tiny.VIT, type='DINOViT')
    model = tiny.build(name, backbone=dict(vit, drop_path_rate=0.5))
    rates = {
        part: [m.drop_prob for m in module.modules() if type(m).__name__ == 'DropPath']
        for part, module in model.named_children()
    }
    assert max(rates['backbone']) == 0.5 and rates['teacher'] and not any(rates['teacher'])
    assert not any(rates.get('gram_teacher', []))


def test_published_initialisation():
    vit = build_backbone(dict(type='DINOViT', arch='deit-tiny', img_size=32))
    vit.init_weights()
    assert vit.pos_embed.requires_grad
    for weight in (vit.cls_token, vit.pos_embed, vit.layers[3].attn.qkv.weight, vit.layers[0].ffn.layers[1].weight):
        assert 0.015 < weight.std() < 0.025

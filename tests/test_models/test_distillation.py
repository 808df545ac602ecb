# Copyright (c) mmssl contributors. All rights reserved.
"""Students of a frozen teacher: losses in float64, where the teacher's weights are, and that a student learns."""
import copy

import pytest
import tiny
import torch
from torch.nn.functional import normalize

from mmssl.models import build_algorithm, map_regression, patch_relations, similarity_distillation
from mmssl.models.utils.frozen_teacher import FrozenTeacher
from mmssl.models.utils.maps import spatial_maps
from mmssl.utils.checkpoint import CheckpointError
from mmssl.utils.errors import ConfigError

TEACHER = dict(type='ResNet', depth=18, base_channels=16, stem_channels=8, norm_cfg=dict(type='BN'))  # 128 channels
SMALL = dict(tiny.BACKBONE, norm_cfg=dict(type='BN'))
SEED = dict(
    type='SEED',
    backbone=SMALL,
    neck=dict(type='MLPNeck', channels=[32, 128]),
    head=dict(type='SEEDHead'),
    queue_len=20)
SIMREG = dict(
    type='SimReg',
    backbone=SMALL,
    neck=dict(type='MLPNeck', channels=[128, 64, 128], norm_cfg=dict(type='BN')),
    head=dict(type='SimRegHead'))


@pytest.fixture
def teacher(tmp_path):
    """A teacher, and the file of a training that it comes from."""
    torch.manual_seed(3)
    model = build_algorithm(dict(type='Classification', backbone=TEACHER))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'teacher.pth')
    return model.eval(), dict(backbone=TEACHER, checkpoint=str(tmp_path / 'teacher.pth'))


def images(size=6, seed=0):
    return torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('teacher_temp', [0.3, 1e-4])
def test_seed_against_loops(teacher_temp, own):
    generator = torch.Generator().manual_seed(1)
    student, target, queue = (normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=dim)
                              for shape, dim in (((4, 5), 1), ((4, 5), 1), ((5, 7), 0)))
    student.requires_grad_()
    expected = relations(student, target, queue, 0.2, teacher_temp, own)
    got = similarity_distillation(student, target, queue, 0.2, teacher_temp, own)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (got, expected)))


def relations(student, teacher, queue, student_temp, teacher_temp, own=False):
    """The loss of SEED and of ReSSL image by image, without a softmax of torch's."""
    terms = []
    for s, t in zip(student, teacher):
        others = torch.stack([*[t] * own, *queue.T])
        p = ((others @ t - (others @ t).max()) / teacher_temp).exp()
        q = (others @ s / student_temp).exp()
        terms.append(-(p / p.sum() * (q / q.sum()).log()).sum())
    return sum(terms) / len(terms)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_ressl_against_loops(dtype):
    """The first view is the teacher's, each other one is compared with it; the queue is read before it is written."""
    model = tiny.build('ReSSL').double()
    views = [view.double() for view in tiny.batch('ReSSL')['img']]
    queue = model.queue.clone()
    for parameter in model.encoder_k.parameters():  # a teacher that is not the student
        parameter.data.mul_(1.1)
    keys = copy.deepcopy(model.encoder_k)
    keys.follow(model.backbone, model.neck, momentum=model.momentum)
    with torch.no_grad():
        teacher = normalize(keys(views[0])[0], dim=1)
    student = [torch.cat(views[1:3]), views[3]]
    rows = normalize(torch.cat([model.neck(model.backbone(crops))[0] for crops in student]), dim=1)
    expected = relations(rows, torch.cat([teacher] * 3), queue, 0.1, 0.04)
    model = model.to(dtype) if dtype == torch.float64 else model.float()
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype != torch.float64):
        loss = model([view.to(model.queue.dtype) for view in views])['loss']
    assert loss.dtype == model.queue.dtype
    torch.testing.assert_close(loss.double(), expected, rtol=1e-9 if dtype == torch.float64 else 0.02, atol=0)
    if dtype == torch.float64:
        torch.testing.assert_close(model.queue[:, :8], teacher.T)
        wanted = torch.autograd.grad(expected, [*model.neck.parameters(), *model.backbone.parameters()])
        got = torch.autograd.grad(loss, [*model.neck.parameters(), *model.backbone.parameters()])
        torch.testing.assert_close(got, wanted)


def patch_relations_by_loops(student, teacher, temperature):
    total, count = 0, 0
    for own, other in zip(student, teacher):
        own, other = ([x[:, i, j] / x[:, i, j].norm() for i in range(x.shape[1]) for j in range(x.shape[2])]
                      for x in (own, other))
        for a, b in zip(own, other):
            p, q = (torch.stack([(x @ y / temperature).exp() for y in all_of]) for x, all_of in ((b, other), (a, own)))
            p, q = p / p.sum(), q / q.sum()
            total, count = total + (p * (p / q).log()).sum(), count + 1
    return total / count


def test_patch_relations_against_loops():
    generator = torch.Generator().manual_seed(2)
    student = torch.randn(2, 5, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 4, 3, 2, generator=generator, dtype=torch.float64)
    got, expected = patch_relations(student, teacher, 0.3), patch_relations_by_loops(student, teacher, 0.3)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (got, expected)))
    turned = torch.einsum('nchw,cd->ndhw', teacher, torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0])
    assert patch_relations(3 * turned, teacher, 0.07).abs() < 1e-12  # what counts are angles between places


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_maps_in_half_precision(dtype):
    student, teacher = (50 * torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(i)).to(dtype)
                        for i in range(2))
    for loss in (patch_relations, map_regression, lambda a, b: map_regression(a, b, 'cosine')):
        got = loss(student, teacher)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, loss(student.float(), teacher.float()))


@pytest.mark.parametrize('kind', ['mse', 'cosine'])
def test_dense_distillation_by_places(kind):
    """All maps of the teacher as one, of the size of the last; the student's projections are brought to that size."""
    model = tiny.build('DenseDistillation', head=dict(type='DenseDistillationHead', kind=kind)).double()
    img = tiny.batch('DenseDistillation')['img'].double()
    loss = model(img)['loss']
    model.eval()  # batch norms have other statistics
    model.neck.train(), model.backbone.train()
    with torch.no_grad():
        third, fourth = model.teacher.network['backbone'](img)
        assert third.shape[1:] == (32, 2, 2) and fourth.shape[1:] == (64, 2, 2)
        student = model.neck(model.backbone(img))[0]
        assert student.shape == (8, 96, 1, 1)
    terms = []
    for n in range(8):
        for i in range(2):
            for j in range(2):
                own, other = student[n, :, 0, 0], torch.cat([third[n, :, i, j], fourth[n, :, i, j]])
                if kind == 'mse':
                    terms.append((own - other).square().mean())
                else:
                    terms.append(2 - 2 * own @ other / own.norm() / other.norm())
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    assert not any('teacher' in name for name in model.state_dict())


def test_relational_distillation_is_seed_and_places():
    model = tiny.build('RelationalDistillation').double()
    data = tiny.batch('RelationalDistillation')
    img = data['img'].double()
    queue = model.queue.clone()
    out = model(img)
    with torch.no_grad():
        teacher, student = model.teacher.network['backbone'](img)[-1], model.backbone(img)[-1]
        rows = normalize(model.neck([student])[0], dim=1)
        images = relations(rows, normalize(teacher.mean((2, 3)), dim=1), queue, 0.07, 0.07, own=True)
    torch.testing.assert_close(out['loss_images'], images)
    torch.testing.assert_close(out['loss_patches'], 0.5 * patch_relations_by_loops(student, teacher, 0.07))
    torch.testing.assert_close(model.queue[:, :8], normalize(teacher.mean((2, 3)), dim=1).T)
    torch.testing.assert_close(model.parse_losses(out)[0], out['loss_images'] + out['loss_patches'])


VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8)
NETWORKS = dict(
    resnet=SMALL,
    registers=dict(VIT, num_registers=4),
    no_class_token=dict(VIT, with_cls_token=False, output_cls_token=False),
    two_layers=dict(VIT, num_registers=1, out_indices=[0, 1]),
    timm=dict(type='TIMMBackbone', model_name='resnet10t'),
    timm_vit=dict(type='TIMMBackbone', model_name='test_vit', dynamic_img_size=True),
    torchvision=dict(type='TorchvisionBackbone', model_name='squeezenet1_1'))


@pytest.mark.parametrize('kind', ['SimReg', 'SEED', 'DenseDistillation', 'RelationalDistillation'])
@pytest.mark.parametrize('teacher, student', [('registers', 'resnet'), ('no_class_token', 'timm'),
                                              ('timm', 'registers'), ('timm_vit', 'torchvision'),
                                              ('torchvision', 'two_layers'), ('two_layers', 'timm_vit'),
                                              ('resnet', 'no_class_token')])
def test_any_teacher_and_any_student(kind, teacher, student):
    """Widths follow from the networks, and everything but the teacher learns."""
    cfg = copy.deepcopy(tiny.CONFIGS[kind])
    network = FrozenTeacher(copy.deepcopy(NETWORKS[teacher]))
    dense = kind == 'DenseDistillation'
    width = network.map_channels if dense else network.out_channels
    cfg['neck'] = dict(type='MapNeck', channels=[width]) if dense else dict(type='MLPNeck', channels=[width])
    if not dense:
        cfg['neck']['vit_backbone'] = student in ('registers', 'two_layers')
    model = build_algorithm(dict(cfg, backbone=NETWORKS[student], teacher=dict(backbone=NETWORKS[teacher])))
    model.init_weights()
    model.teacher.load()
    frozen = [p.clone() for p in model.teacher.network.parameters()]
    loss = model.train_step(dict(img=torch.randn(2, 3, 64, 64), idx=torch.arange(2)))['loss']
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None for p in model.teacher.network.parameters())
    unused = [name for name, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert unused == []
    assert all(a.equal(b) for a, b in zip(frozen, model.teacher.network.parameters()))


@pytest.mark.parametrize('kind', ['DenseDistillation', 'RelationalDistillation'])
def test_places_want_the_teacher_itself(kind):
    with pytest.raises(ConfigError, match=f'{kind} compares places of a view, which stored features .*features'):
        build_algorithm(dict(copy.deepcopy(tiny.CONFIGS[kind]), teacher=dict(features='folder')))


def test_a_teacher_without_places():
    with pytest.raises(ConfigError, match='output 0 of the backbone has none: it is of shape'):
        spatial_maps([torch.zeros(2, 5)])


def test_published_temperature_in_half_precision():
    """Similarities over 1e-4 are thousands apart: float32, whatever the input."""
    x = normalize(torch.randn(4, 8), dim=1).half()
    queue = normalize(torch.randn(8, 6), dim=0).half()
    got = similarity_distillation(x, x, queue)
    assert got.dtype == torch.float32 and got.isfinite()
    torch.testing.assert_close(got, similarity_distillation(x.float(), x.float(), queue.float()))


def test_the_teacher_is_frozen_and_stays_in_its_file(teacher):
    network, cfg = teacher
    model = build_algorithm(dict(copy.deepcopy(SIMREG), teacher=copy.deepcopy(cfg)))
    model.init_weights()
    model.train()
    img = images()
    with torch.no_grad():
        features = network.backbone(img)[-1].mean((2, 3))
    torch.testing.assert_close(model.teacher(img), features)  # by its running statistics
    expected = 2 - 2 * torch.nn.functional.cosine_similarity(model.neck(model.backbone(img))[0], features).mean()
    out = model.train_step(dict(img=img))
    torch.testing.assert_close(out['loss'], expected)
    out['loss'].backward()
    assert not any('teacher' in name for name in model.state_dict())
    assert not any('teacher' in name for name, _ in model.named_parameters())
    for own, given in zip(model.teacher.network.parameters(), network.backbone.parameters()):
        assert own.grad is None and own.equal(given)
    model.double()
    assert model.teacher(img.double()).dtype == torch.float64


def test_seed_queue_holds_teacher_features(teacher):
    network, cfg = teacher
    model = build_algorithm(dict(copy.deepcopy(SEED), teacher=copy.deepcopy(cfg)))
    model.train_step(dict(img=images()))
    with torch.no_grad():
        features = normalize(network.backbone(images())[-1].mean((2, 3)))
    torch.testing.assert_close(model.queue[:, :6], features.T)
    assert {'queue', 'queue_ptr'} <= set(model.state_dict())


def test_what_is_wrong_is_said(teacher, tmp_path):
    _, cfg = teacher
    with pytest.raises(ConfigError, match='features of 128 dimensions, the neck projections of 64: set .* to 128'):
        build_algorithm(dict(copy.deepcopy(SEED), neck=dict(type='MLPNeck', channels=[32, 64]), teacher=cfg))
    with pytest.raises(
            ConfigError, match='model.teacher is a dict with backbone and checkpoint, or with features, got None'):
        build_algorithm(copy.deepcopy(SIMREG))
    model = build_algorithm(dict(copy.deepcopy(SIMREG), teacher=dict(cfg, backbone=dict(TEACHER, depth=34))))
    with pytest.raises(CheckpointError):  # a teacher that is random in parts
        model(images())


@pytest.mark.parametrize('cfg', [SEED, SIMREG], ids=['SEED', 'SimReg'])
def test_a_student_learns(teacher, cfg):
    """Its features tell images apart as the teacher's do, more and more."""
    cfg = copy.deepcopy(cfg)
    if cfg['type'] == 'SEED':  # a random teacher finds all images much alike: at 0.2 so does any student
        cfg['head']['student_temp'] = 0.01
    model = build_algorithm(dict(cfg, teacher=copy.deepcopy(teacher[1])))
    torch.manual_seed(0)
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model.train_step(dict(img=images(16)))['loss']
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[3] - 0.3 * abs(losses[3])


def test_the_teachers_own_normalisation(teacher):
    network, cfg = teacher
    own, data = dict(mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7]), dict(mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
    model = build_algorithm(
        dict(copy.deepcopy(SIMREG), teacher=dict(copy.deepcopy(cfg), img_norm_cfg=own, data_norm_cfg=data)))
    plain = torch.rand(2, 3, 32, 32)

    def normalised(norm):
        mean, std = (torch.tensor(norm[name]).view(3, 1, 1) for name in ('mean', 'std'))
        return (plain - mean) / std

    with torch.no_grad():
        wanted = network.backbone(normalised(own))[-1].mean((2, 3))
    torch.testing.assert_close(model.teacher(normalised(data)), wanted)
    with pytest.raises(ConfigError, match='img_norm_cfg is what the teacher wants, .* give both or none'):
        build_algorithm(dict(copy.deepcopy(SIMREG), teacher=dict(copy.deepcopy(cfg), img_norm_cfg=own)))

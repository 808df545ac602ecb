"""Checkpoints of the authors of DINO, iBOT, DINOv2, MSN and I-JEPA go on here: student, teacher, all else."""
import re

import pytest
import tiny
import torch

from mmssl.interop.conversion import check_conversion, convert_file, convert_weights
from mmssl.interop.reference_models import dino_vit, our_features, photographs
from mmssl.models import build_backbone
from mmssl.models.utils.frozen_teacher import FrozenTeacher
from mmssl.utils.checkpoint import load_weights, read_checkpoint


def replaced(name, *pairs):
    for pattern, by in pairs:
        name = re.sub(pattern, by, name)
    return name


def in_vit(key):
    """The authors' name of a tensor of a ViT."""
    return replaced(key, (r'^ln1', 'norm'), (r'\.ln(\d)', r'.norm\1'), (r'^layers', 'blocks'),
                    (r'ffn\.layers\.0\.0', 'mlp.fc1'), (r'ffn\.layers\.1', 'mlp.fc2'), (r'ffn\.w', 'mlp.w'),
                    (r'gamma_(\d)', r'ls\1.gamma'), (r'patch_embed\.projection', 'patch_embed.proj'))  # yapf: disable


def in_head(key):
    return replaced(key, (r'^fc(\d)', lambda m: f'mlp.{2 * int(m[1])}'))


def under(prefix, module, rename):
    return {prefix + rename(key): value for key, value in module.state_dict().items()}


def dino(model, backbone=lambda key: key):
    return dict(
        student={
            **under('module.backbone.', model.backbone, backbone),
            **under('module.head.', model.neck, in_head)
        },
        teacher={
            **under('backbone.', model.teacher[0], backbone),
            **under('head.', model.teacher[1], in_head)
        },
        optimizer=dict(state={0: dict(exp_avg=torch.rand(2))}),
        dino_loss=dict(center=model.head.targets.center),
        epoch=3)


def ibot(model):
    content = dino(model, lambda key: in_vit(key).replace('mask_token', 'masked_embed'))
    for part in (content['student'], content['teacher']):
        for key in [key for key in part if 'patch_last_layer' in key]:
            part[key.replace('patch_last_layer', 'last_layer2')] = part.pop(key)
        for key in part:
            if key.endswith('masked_embed'):
                part[key] = part[key][0]
    content['ibot_loss'] = dict(center=model.head.targets.center, center2=model.head.patch_targets.center[None])
    del content['dino_loss']
    return content


def dinov2(model):
    weights = {}
    for part, networks in (('student', (model.backbone, model.neck, model.patch_neck)), ('teacher', model.teacher)):
        weights.update(
            under(f'{part}.backbone.', networks[0], lambda key: re.sub(r'blocks\.(\d)', r'blocks.0.\1', in_vit(key))))
        weights.update(under(f'{part}.dino_head.', networks[1], in_head))
        weights.update(under(f'{part}.ibot_head.', networks[2], in_head))
        weights[f'{part}.backbone.mask_token'] = weights[f'{part}.backbone.mask_token'][0]
    return dict(model=weights, iteration=3)


def msn(model):

    def in_fc(key):
        return replaced(key, (r'^(fc|bn)(\d)', lambda m: f'fc.{m[1]}{int(m[2]) + 1}'))

    networks = dict(encoder=(model.backbone, model.neck), target_encoder=model.teacher)
    return dict({
        name: {
            **under('module.', parts[0], in_vit),
            **under('module.', parts[1], in_fc)
        }
        for name, parts in networks.items()
    }, prototypes=model.head.prototypes.data, opt=dict(state={}))  # yapf: disable


def ijepa(model):

    def in_predictor(key):
        return replaced(in_vit(key), (r'^blocks', 'predictor_blocks'), (r'^norm', 'predictor_norm'),
                        (r'^(embed|proj)\.', r'predictor_\1.'))  # yapf: disable

    return dict(
        encoder=under('module.', model.backbone, in_vit),
        target_encoder=under('module.', model.teacher[0], in_vit),
        predictor={
            'module.predictor_pos_embed': torch.rand(1, 16, 8),
            **under('module.', model.neck, in_predictor)
        },
        opt=dict(state={}))


@pytest.mark.parametrize('name, write', [('DINO', dino), ('IBOT', ibot), ('DINOv2', dinov2), ('MSN', msn),
                                         ('IJEPA', ijepa)])
def test_a_whole_training(name, write, tmp_path, capsys):
    model = tiny.build(name)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + .1)
    torch.save(write(model), tmp_path / 'theirs.pth')
    vit = name != 'DINO'  # whose ResNet is narrower than torchvision's
    heads = 2 if vit else None
    convert_file(tmp_path / 'theirs.pth', tmp_path / 'ours.pth', 'training', num_heads=heads, check=vit)
    assert ('largest difference' in capsys.readouterr().out) == vit
    mine = tiny.build(name, seed=1)
    report = load_weights(mine, str(tmp_path / 'ours.pth'))
    assert not report.unexpected and not report.mismatched
    assert all(re.match('masks|gram_teacher', key) for key in report.missing), report.missing
    expected, found = model.state_dict(), mine.state_dict()
    for key in report.matched:
        assert torch.equal(found[key], expected[key]), key
    assert {'backbone', 'teacher', 'neck'} <= {key.partition('.')[0] for key in report.matched}
    if name == 'DINOv2':
        assert {'patch_neck'} <= {key.partition('.')[0] for key in report.matched}
    # without asking, it is the teacher alone, whose weights its student begins with too
    convert_file(tmp_path / 'theirs.pth', tmp_path / 'teacher.pth', num_heads=heads)
    weights = read_checkpoint(tmp_path / 'teacher.pth')['state_dict']
    assert not any(key.startswith('teacher') for key in weights)
    assert all(torch.equal(weights[f'backbone.{key}'], value) for key, value in model.teacher[0].state_dict().items())


@pytest.mark.parametrize('registers', [0, 2])
def test_positions_for_images_of_another_size(registers):
    """The authors' rules for them: at the size of the training outputs are equal, at others nearly so.

    Without registers they interpolate by factors with a tenth of a patch more, with registers smoothed ones; here it is
    bicubic to the size itself.
    """
    cfg = dict(tiny.VIT, type='VisionTransformer', img_size=48, num_registers=registers, init_values=.5)
    network = build_backbone(cfg)
    network.init_weights()
    weights = {in_vit(key): value for key, value in network.state_dict().items()}
    done = convert_weights(weights, 'dino', num_heads=2)
    assert done.cfg.get('num_registers', 0) == registers
    check, = check_conversion(done)[0]
    assert check.relative <= 1e-5
    forward = dino_vit(done.cfg, weights)[1]
    for size, allowed in ((48, 1e-5), (96, .1), (32, .2)):
        images = photographs(size)
        expected, found = forward(images), our_features(network, images)
        assert (expected - found).abs().max() <= allowed * expected.abs().max(), size


def test_dinov2_teaches_a_student(tmp_path):
    """Weights of the authors, with registers, as a frozen teacher; its class token is what is taught."""
    cfg = dict(tiny.VIT, type='VisionTransformer', num_registers=2, init_values=.5)
    network = build_backbone(cfg)
    network.init_weights()
    torch.save({in_vit(key): value for key, value in network.state_dict().items()}, tmp_path / 'dinov2.pth')
    convert_file(tmp_path / 'dinov2.pth', tmp_path / 'ours.pth', num_heads=2)
    teacher = FrozenTeacher(cfg, str(tmp_path / 'ours.pth'))
    images = photographs(32)
    assert torch.equal(teacher(images), our_features(network, images)[:, 0])

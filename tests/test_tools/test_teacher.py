"""--teacher: evaluations of the moving average that a training keeps, such as DINO's teacher."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl.apis.inference import pretrained_model
from mmssl.evaluation.stored_features import load_features
from mmssl.interop.conversion import convert_file
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from mmssl.utils.config import load_config

DATA = 'configs/benchmarks/classification/digits.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a DINO whose teacher has moved away from the student, dino.py and dino.pth; and the model."""
    folder = tmp_path_factory.mktemp('teacher')
    (folder / 'dino.py').write_text("""
model = dict(
    type='DINO',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='DINONeck', channels=[16, 8], out_channels=12),
    head=dict(type='DINOHead'))
img_norm_cfg = dict(mean=[0.3], std=[0.35])
""")
    torch.manual_seed(2)
    model = build_algorithm(load_config(folder / 'dino.py').model)
    model.init_weights()
    for parameter in model.teacher.parameters():
        parameter.mul_(1 + torch.rand_like(parameter))
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'dino.pth')
    return folder, model.eval()


def test_features_of_the_teacher(trained, call_tool):
    folder, model = trained
    found = {}
    for option in ((), ('--teacher', )):
        out = folder / ''.join(option or 's')
        call_tool('tools/extract_features.py', folder / 'dino.py', folder / 'dino.pth', *option, '--dataset-config',
                  DATA, '--layers', 'pooled,neck', '--out-dir', out)  # yapf: disable
        found[option], _ = load_features(out, 'val')
    assert np.abs(found[()]['pooled'] - found[
        '--teacher',
    ]['pooled']).max() > .1
    cfg = load_config(folder / 'dino.py')
    for teacher, features in ((False, found[()]), (True, found[
            '--teacher',
    ])):
        evaluated = pretrained_model(cfg, str(folder / 'dino.pth'), ('backbone', 'neck'), teacher=teacher).cpu().eval()
        images = torch.rand(2, 1, 32, 32)
        parts = model.teacher if teacher else (model.backbone, model.neck)
        with torch.no_grad():
            expected = parts[1](parts[0](images))[0]
            assert torch.equal(evaluated.neck(evaluated.backbone(images))[0], expected)
        assert features['neck'].shape[1] == 12
    # stored features say whose they are
    for option, stored in (((), '--teacher'), (('--teacher', ), 's')):
        with pytest.raises(AssertionError, match='teacher is (True|None) there, (True|None) here'):
            call_tool('tools/benchmarks/small_models/knn.py', folder / 'dino.py', folder / 'dino.pth', *option,
                      '--dataset-config', DATA, '--layers', 'pooled', '--features', folder / stored)  # yapf: disable


def test_log_says_whose_weights_are_evaluated(trained):
    folder, _ = trained
    cfg, lines = load_config(folder / 'dino.py'), []
    logger = SimpleNamespace(info=lines.append, warning=lines.append, debug=lambda *args: None)
    pretrained_model(cfg, str(folder / 'dino.pth'), teacher=True, logger=logger)
    assert 'evaluated is the moving average, teacher' in lines
    # nothing that sounds as if the teacher had random weights
    assert any(' 0 missing' in line for line in lines) and not any('initial values' in line for line in lines)


def test_what_has_no_teacher(trained, tmp_path):
    folder, model = trained
    cfg = load_config(folder / 'dino.py')
    with pytest.raises(CheckpointError, match='a part of a checkpoint, and none is given'):
        pretrained_model(cfg, teacher=True)
    student = {key: value for key, value in model.state_dict().items() if not key.startswith('teacher.')}
    save_checkpoint(dict(state_dict=student), tmp_path / 'student.pth')
    with pytest.raises(CheckpointError, match='student.pth has no moving average .* parts are backbone, neck, head'):
        pretrained_model(cfg, str(tmp_path / 'student.pth'), teacher=True)


def test_backbone_file_of_the_teacher(trained, tmp_path, call_tool):
    folder, model = trained
    call_tool('tools/model_converters/extract_backbone_weights.py', folder / 'dino.pth', tmp_path / 'teacher.pth',
              '--prefix', 'teacher.0')  # yapf: disable
    found = read_checkpoint(tmp_path / 'teacher.pth')['state_dict']
    expected = model.teacher[0].state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_conversion_of_the_teacher(trained, tmp_path):
    folder, model = trained
    convert_file(folder / 'dino.pth', tmp_path / 'ours.pth', teacher=True)
    found = read_checkpoint(tmp_path / 'ours.pth')['state_dict']
    for name, part in zip(('backbone', 'neck'), model.teacher):
        assert all(torch.equal(found[f'{name}.{key}'], value) for key, value in part.state_dict().items())
    assert not any(key.startswith('teacher.') for key in found)

"""SEED's checkpoints in other layouts, key by key and value by value."""
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import CheckpointError
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

TOOL = 'tools/model_converters/seed_to_moco.py'
MOCO = """
model = dict(
    type='MoCo',
    queue_len=16,
    feat_dim=8,
    backbone=dict(type='ResNet', depth=10, base_channels=4, stem_channels=4),
    neck=dict(type='{neck}', in_channels=32, {hidden}out_channels=8),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def seed_checkpoint(tmp_path_factory):
    """A SEED checkpoint with an MLP on the student, its config here, and the student by torchvision's names."""
    folder = tmp_path_factory.mktemp('seed')
    (folder / 'moco.py').write_text(MOCO.format(neck='MoCoV2Neck', hidden='hid_channels=32, '))
    (folder / 'linear.py').write_text(MOCO.format(neck='LinearNeck', hidden=''))
    model = build_algorithm(load_config(folder / 'moco.py').model)
    model.init_weights()
    student = {key: torch.rand_like(value.float()).to(value) for key, value in model.backbone.state_dict().items()}
    student |= {
        'fc.0.weight': torch.rand(32, 32),
        'fc.0.bias': torch.rand(32),
        'fc.2.weight': torch.rand(8, 32),
        'fc.2.bias': torch.rand(8)
    }
    weights = {f'module.student.{key}': value for key, value in student.items()}
    weights |= {f'module.teacher.{key}': value + 1 for key, value in student.items()}
    weights |= {'module.queue': torch.rand(8, 16), 'module.queue_ptr': torch.tensor([4])}
    torch.save(dict(epoch=3, arch='resnet10', state_dict=weights), folder / 'seed.pth')
    return folder, student, weights


@pytest.fixture
def convert(monkeypatch):
    """The tool, called in this process."""
    main = runpy.run_path(str(Path(__file__).resolve().parents[2] / TOOL))['main']

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        main()

    return run


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_seed_to_moco(seed_checkpoint, run_tool, convert):
    folder, student, weights = seed_checkpoint
    done = run_tool(TOOL, folder / 'seed.pth', folder / 'moco.pth')
    assert f'matched {len(student)} weights of the student; left out {len(student)} of the teacher; unexpected 0' \
        in done.stdout
    found = torch.load(folder / 'moco.pth')
    assert found['epoch'] == 3 and found['arch'] == 'resnet10'
    check_equal(
        found['state_dict'], {
            **{
                f'module.encoder_{part}.{key}': value
                for part in 'qk'
                for key, value in student.items()
            }, 'module.queue': weights['module.queue'],
            'module.queue_ptr': weights['module.queue_ptr']
        })

    convert(folder / 'seed.pth', folder / 'ours.pth', '--to', 'mmssl', '--config', folder / 'moco.py')
    names = {
        key: f'neck.mlp.{key.removeprefix("fc.")}' if key.startswith('fc.') else f'backbone.{key}'
        for key in student
    }
    found = torch.load(folder / 'ours.pth')['state_dict']
    model = build_algorithm(load_config(folder / 'moco.py').model)
    assert model.load_state_dict(found, strict=False).missing_keys == ['queue', 'queue_ptr']
    own = model.state_dict()
    check_equal({key: own[key] for key in names.values()}, {names[key]: value for key, value in student.items()})
    for part, prefix in (('encoder_k.0.', 'backbone.'), ('encoder_k.1.', 'neck.')):
        check_equal({
            k.removeprefix(part): v
            for k, v in own.items() if k.startswith(part)
        }, {
            k.removeprefix(prefix): v
            for k, v in own.items() if k.startswith(prefix)
        })

    convert(folder / 'seed.pth', folder / 'backbone.pth', '--to', 'backbone', '--config', folder / 'linear.py')
    check_equal(
        torch.load(folder / 'backbone.pth')['state_dict'], {
            key: value
            for key, value in student.items() if not key.startswith('fc.')
        })


def test_seed_that_does_not_match(seed_checkpoint, convert, tmp_path):
    folder, student, weights = seed_checkpoint
    torch.save(
        dict(state_dict={
            f'module.encoder_q.{key}': value
            for key, value in student.items()
        }), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='nothing in .*a.pth matches: no key begins with student'):
        convert(tmp_path / 'a.pth', tmp_path / 'no.pth')
    wide = (folder / 'moco.py').read_text().replace('base_channels=4', 'base_channels=8')
    (tmp_path / 'wide.py').write_text(wide.replace('in_channels=32', 'in_channels=64'))
    for to in ('backbone', 'mmssl'):
        with pytest.raises(CheckpointError, match='the student lacks .* such as .*layer1.* another network'):
            convert(folder / 'seed.pth', tmp_path / 'no.pth', '--to', to, '--config', tmp_path / 'wide.py')
    # a projector of another shape is left out, and said; the network is what matters
    convert(folder / 'seed.pth', tmp_path / 'part.pth', '--to', 'mmssl', '--config', folder / 'linear.py')
    found = torch.load(tmp_path / 'part.pth')['state_dict']
    assert 'backbone.conv1.weight' in found and not [key for key in found if key.startswith('neck.')]
    (tmp_path / 'simclr.py').write_text(
        wide.replace("type='MoCo',", "type='SimCLR',").replace('queue_len=16,', '').replace('feat_dim=8,', ''))
    with pytest.raises(ConfigError, match='SimCLR, which has no key encoder'):
        convert(folder / 'seed.pth', tmp_path / 'no.pth', '--to', 'mmssl', '--config', tmp_path / 'simclr.py')
    assert not (tmp_path / 'no.pth').exists()
    for arguments in (['--to', 'mmssl'], ['--config', 'x.py']):
        with pytest.raises(SystemExit):
            convert('a.pth', 'b.pth', *arguments)

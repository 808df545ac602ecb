"""Tools around configs and checkpoints."""
import hashlib
import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import mmcv
import pytest
import torch
import torchvision

from mmssl.utils.config import load_config
from mmssl.utils.config_names import TOP_LEVEL

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/selfsup/byol/byol_resnet50_8xb32-accum16-coslr-100e_in1k.py'
# As the ResNet of torchvision has it without its last layer, and as torchvision's own page gives the multiply-adds
RESNET50_PARAMETERS = 25_557_032 - 2_049_000
RESNET50_MULTIPLY_ADDS = '4.09 G multiply-adds'


@pytest.fixture(scope='module')
def resnet50():
    torch.manual_seed(1)
    return torchvision.models.resnet50(weights=None).state_dict()


def test_print_config_prints_a_config(run_tool, tmp_path):
    printed = run_tool('tools/misc/print_config.py', CONFIG, '--cfg-options', 'optimizer.lr=0.5',
                       'data.train.pipelines.1.0.size=32').stdout
    expected = mmcv.Config.fromfile(CONFIG)
    expected.merge_from_dict({'optimizer.lr': 0.5, 'data.train.pipelines.1.0.size': 32})
    (tmp_path / 'printed.py').write_text(printed)
    settings = {name: value for name, value in expected._cfg_dict.items() if name in TOP_LEVEL}
    assert mmcv.Config.fromfile(str(tmp_path / 'printed.py'))._cfg_dict == settings
    # without the variables of the files, one of which is no longer what stands in the pipelines
    assert {*settings} < {*expected} and load_config(tmp_path / 'printed.py')._cfg_dict == settings
    assert max(map(len, printed.splitlines())) <= 120


def test_print_config_says_in_one_line_what_is_wrong(call_tool, tmp_path):
    for args, words in [(['no/such.py'], 'no/such.py does not exist'),
                        ([CONFIG, '--cfg-options', 'optimzer.lr=1'], "did you mean 'optimizer'")]:
        done = call_tool('tools/misc/print_config.py', *args, check=False)
        assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr


def test_count_parameters(run_tool):
    printed = run_tool('tools/analysis_tools/count_parameters.py',
                       'configs/selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', '--cfg-options',
                       'model.queue_len=64').stdout
    counts = {
        name: (int(trained.replace(',', '')), int(total.replace(',', '')))
        for name, trained, total in re.findall(r'^(\w+) +([\d,]+) +([\d,]+)$', printed, re.M)
    }
    neck = 2048 * 2048 + 2048 + 2048 * 128 + 128
    assert counts['backbone'] == (RESNET50_PARAMETERS, RESNET50_PARAMETERS)
    assert counts['neck'] == (neck, neck)
    # the momentum encoder doubles the total and is not trained
    assert counts['model'] == (RESNET50_PARAMETERS + neck, 2 * (RESNET50_PARAMETERS + neck))
    assert RESNET50_MULTIPLY_ADDS in printed and ', 11.1 M activations' in printed


@pytest.mark.long
def test_count_parameters_of_networks_that_memory_does_not_hold(call_tool):
    """RegNetY-10B, of 37 GB, and Jigsaw's AlexNet, on shapes alone."""
    tool = 'tools/analysis_tools/count_parameters.py'
    config = 'simclr/vissl-simclr_regnety-400mf_64xb64-coslr-100e_in1k.py'
    printed = call_tool(tool, f'configs/selfsup/{config}', '--cfg-options', 'model.backbone.arch=y-10b',
                        'model.neck.in_channels=28280').stdout  # yapf: disable
    assert re.search(r'^backbone +9,323,\d{3},\d{3}', printed, re.M)
    config = 'rotation_pred/rotation-pred-one_alexnet_8xb32-steplr-105e_in1k.py'
    printed = call_tool(tool, f'configs/selfsup/{config}', '--cfg-options',
                        'model.backbone.variant=deepcluster').stdout  # yapf: disable
    assert re.search(r'^backbone +3,[67]\d\d,\d{3}', printed, re.M)


@pytest.mark.long
@pytest.mark.parametrize(
    'layout', ['backbone.', 'module.backbone.', 'encoder_q.0.', 'online_net.0.', 'encoder.0.', 'other.trunk.'])
def test_extracted_backbone_fits_torchvision(layout, resnet50, run_main, tmp_path):
    """Pitfall: a conversion that silently loads nothing. All layouts of old checkpoints are known, counts are told."""
    weights = {layout + key: value for key, value in resnet50.items() if not key.startswith('fc.')}
    weights['neck.fc.weight'] = torch.zeros(2, 2)
    torch.save(dict(state_dict=weights, optimizer=dict(lr=1.)), tmp_path / 'in.pth')
    prefix = ['--prefix', 'other.trunk'] if layout.startswith('other') else []
    printed = run_main('model_converters/extract_backbone_weights.py', tmp_path / 'in.pth', tmp_path / 'out.pth',
                       *prefix)
    assert f'{len(weights) - 1} of {len(weights)} tensors' in printed
    taken = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    model = torchvision.models.resnet50(weights=None)
    report = model.load_state_dict(taken, strict=False)
    assert report.missing_keys == ['fc.weight', 'fc.bias'] and not report.unexpected_keys
    for key, value in taken.items():
        assert torch.equal(model.state_dict()[key], resnet50[key]), key
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in.pth', 'out.pth']


@pytest.mark.parametrize('tool, more', [('extract_backbone_weights.py', []), ('convert.py', ['--to', 'mmcls']),
                                        ('seed_to_moco.py', [])])
def test_a_checkpoint_is_not_written_over_by_what_comes_of_it(tool, more, run_main, tmp_path, capsys):
    (tmp_path / 'epoch_2.pth').write_bytes(b'a training')
    (tmp_path / 'latest.pth').symlink_to('epoch_2.pth')
    for output in ('epoch_2.pth', 'latest.pth'):
        with pytest.raises(SystemExit):
            run_main(f'model_converters/{tool}', tmp_path / 'epoch_2.pth', tmp_path / output, *more)
        assert f'{output} is the checkpoint itself' in capsys.readouterr().err
    assert (tmp_path / 'latest.pth').is_symlink() and (tmp_path / 'epoch_2.pth').read_bytes() == b'a training'


def test_extraction_fails_when_nothing_matches(run_tool, tmp_path):
    torch.save(
        dict(state_dict={
            'encoder.conv.weight': torch.zeros(1),
            'head.fc.bias': torch.zeros(1)
        }), tmp_path / 'in.pth')
    done = run_tool(
        'tools/model_converters/extract_backbone_weights.py', tmp_path / 'in.pth', tmp_path / 'out.pth', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert "'backbone.'" in done.stderr and 'encoder, head' in done.stderr and '--prefix' in done.stderr
    assert not (tmp_path / 'out.pth').exists()


def test_published_model_is_small_and_named_by_its_hash(run_main, tmp_path):
    large = torch.arange(1e6)
    weights = {'module.backbone.w': large[:10], 'module.head.w': torch.ones(3, dtype=torch.bfloat16)}
    torch.save(
        dict(meta=dict(epoch=3), state_dict=weights, optimizer=dict(state=large), amp_scaler=dict(scale=1.)),
        tmp_path / 'in.pth')
    printed = run_main('model_converters/publish_model.py', tmp_path / 'in.pth', tmp_path / 'model.pth')
    published, = tmp_path.glob('model-*.pth')
    assert published.stem.removeprefix('model-') == hashlib.sha256(published.read_bytes()).hexdigest()[:8]
    assert published.stat().st_size < 10_000
    assert 'left out: optimizer, amp_scaler' in printed
    content = torch.load(published, weights_only=True)
    assert content['meta'] == dict(epoch=3)
    assert set(content) == {'meta', 'state_dict'}
    assert torch.equal(content['state_dict']['backbone.w'], large[:10])
    assert content['state_dict']['head.w'].dtype == torch.bfloat16


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Run a tool in this process, which saves the seconds of importing torch; returns what it prints."""

    def run(script, *args):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
        runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_jobs_on_one_machine_take_different_ports(run_tool):
    """torchrun takes a free port for each; a given one is taken, and several nodes need one they all know."""

    def words(**env):
        return run_tool('tools/dist_run.sh', 2, 'script.py', env=dict(env, PYTHON='echo')).stdout.split()

    alone = words(PORT='')
    assert '--standalone' in alone and not any('port' in word for word in alone)
    for several in words(PORT='29400'), words(PORT='29400', NNODES='2'):
        assert '--master_port=29400' in several and '--standalone' not in several
    assert '--master_port=29500' in words(PORT='', NNODES='2')


def test_find_broken_images(photo_folder, tmp_path, call_tool):
    """Those of a folder with any bytes in its names, and of all sections of a config; the exit status tells."""
    folder = tmp_path / "John's photos"
    shutil.copytree(photo_folder, folder)
    done = call_tool('tools/analysis_tools/find_broken_images.py', folder, '--workers', 0)
    assert done.stdout == f'{folder}: 0 of 24 images cannot be read\n'
    names = [f'{folder}/china/03.jpg', os.fsdecode(f'{folder}/china/'.encode() + b'\xe4\n.jpg')]
    for name in names:
        Path(name).write_bytes(b'no image')
    done = call_tool('tools/analysis_tools/find_broken_images.py', folder, '--out', tmp_path / 'a.json', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stdout.splitlines() == [
        f'{names[0]}: no known kind of image', f'{folder}/china/\\xe4\\n.jpg: no known kind of image',
        f'{folder}: 2 of 25 images cannot be read'
    ]
    assert [entry['file'] for entry in json.loads((tmp_path / 'a.json').read_text())] == names
    part = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(type='SingleViewDataset', pipeline=[], data_source=dict(type='ImageNet', data_prefix=str(folder))))
    whole = dict(type='SingleViewDataset', pipeline=[], data_source=dict(type='Digits'))
    (tmp_path / 'config.py').write_text(f'data = dict(train={part}, val={whole})')
    done = call_tool('tools/analysis_tools/find_broken_images.py', tmp_path / 'config.py', '--workers', 0, check=False)
    assert done.returncode == 1 and [line for line in done.stdout.splitlines() if line.startswith('data.')] == [
        'data.train: 2 of 25 images cannot be read', 'data.val: 0 of 1437 images cannot be read'
    ]

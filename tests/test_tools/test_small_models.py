"""The small-models evaluation as a user runs it, on digits."""
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.datasets import build_dataset, build_datasource
from mmssl.evaluation import extract_features, instance_discrimination, view_statistics
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

CONFIGS = 'configs/benchmarks/classification/transfer'
ROOT = Path(__file__).resolve().parents[2]
TOOLS = 'tools/benchmarks/small_models'
STATIC = 'configs/benchmarks/small_models/static_digits.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels={channels}, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Configs and checkpoints of a tiny model for grey and for coloured images."""
    folder = tmp_path_factory.mktemp('small')
    for name, channels in (('grey', 1), ('colour', 3)):
        (folder / f'{name}.py').write_text(MODEL.format(channels=channels))
        torch.manual_seed(7)
        model = build_algorithm(load_config(folder / f'{name}.py').model)
        model.init_weights()
        save_checkpoint(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder


@pytest.fixture(scope='module')
def static(folder, run_tool):
    """A static set of digits, and the features of its originals and views."""
    arguments = ('tools/data_converters/sample_augmentations.py', 'configs/benchmarks/classification/digits.py',
                 folder / 'static', '--config', 'configs/demo/simclr_digits.py', '--images-per-class', 12, '-j', 2)
    assert '120 images in 10 classes, with 2 views each; 120 written' in run_tool(*arguments).stdout
    done = run_tool(*arguments, '--seed', 3, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr and 'seed 0, now 3' in done.stderr

    cfg = load_config(STATIC)
    model = build_algorithm(load_config(folder / 'grey.py').model)
    model.load_state_dict(torch.load(folder / 'grey.pth')['state_dict'])
    features = []
    for section in ('original', 'view1', 'view2'):
        dataset = dict(cfg.data[section], data_source=dict(cfg.data[section].data_source))
        dataset['data_source']['data_prefix'] = str(folder / 'static')
        features.append(extract_features(model, build_dataset(dataset), img_norm_cfg=cfg.img_norm_cfg))
    return features


def arguments(folder):
    return [
        folder / 'grey.py', '--checkpoint', folder / 'grey.pth', '--dataset-config', STATIC, '--data-root',
        folder / 'static'
    ]


def test_view_statistics(folder, static, run_tool):
    original, *views = static
    done = run_tool(f'{TOOLS}/view_statistics.py', *arguments(folder), '--out', folder / 'statistics.json', '--layers',
                    'pooled', 'pixels')
    found = json.loads((folder / 'statistics.json').read_text())
    expected = view_statistics.run(original['pooled'], [view['pooled'] for view in views], original.labels)
    assert found['pooled'] == pytest.approx(expected, rel=1e-4) and expected['num_classes'] == 10
    line = next(line for line in (done.stdout + done.stderr).splitlines() if ' pooled ' in line)
    assert line.split()[-6:] == [f'{value:.4f}' for value in list(found['pooled'].values())[:6]]
    assert found['pixels']['d_sd_alignment'] > found['pooled']['d_sd_alignment']


def test_instance_discrimination(folder, static, run_tool):
    original, *views = static
    found = {}
    for mode, negatives in (('d-sd', 'views'), ('sd-sd', 'queries')):
        done = run_tool(f'{TOOLS}/instance_discrimination.py', *arguments(folder), '--mode', mode, '--negatives',
                        negatives, '--topk', 3, '--out', folder / 'accuracy.json')
        found = json.loads((folder / 'accuracy.json').read_text())
        expected = instance_discrimination.run(original['pooled'], [view['pooled'] for view in views], mode, (1, 2, 3),
                                               negatives)
        assert found == pytest.approx(expected, abs=1 / 120) and 0 < found['top1'] < found['top3'] < 1
        line = f'Mode: {mode}; Negatives: {negatives}; Layer: pooled; Top1-3: [{100 * found["top1"]:.3f}, '
        assert f'Masked: normal; {line}' in done.stdout + done.stderr


def test_two_processes_equal_one(folder, static, run_tool):
    """And samples per class."""
    env = {**os.environ, 'PORT': '29641', 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    command = [*map(str, arguments(folder)), '-s', '7', '--out']
    subprocess.run(
        ['bash', ROOT / 'tools/dist_run.sh', '2', f'{TOOLS}/view_statistics.py', *command, folder / 'two.json'],
        cwd=ROOT,
        env=env,
        check=True,
        capture_output=True)
    run_tool(f'{TOOLS}/view_statistics.py', *command, folder / 'one.json')
    found = [json.loads((folder / f'{name}.json').read_text()) for name in ('one', 'two')]
    assert found[0]['num_images'] == 70
    assert found[0] == found[1]


def test_errors_of_users_are_one_line(folder, static, run_tool):
    for words, tool, options in [
        ('the class 0 of .* has 12 images', 'view_statistics', ['-s', 13]),
        ('k must be 1 to 238, the number of negatives', 'instance_discrimination', ['--topk', 500]),
    ]:
        done = run_tool(f'{TOOLS}/{tool}.py', *arguments(folder), *options, check=False)
        assert done.returncode == 1 and 'Traceback' not in done.stderr
        assert re.search(words, done.stderr), done.stderr[-300:]


@pytest.fixture(scope='module')
def cifar(tmp_path_factory):
    """Digits, enlarged, as the files of CIFAR-10."""
    folder = tmp_path_factory.mktemp('cifar')
    parts = [(f'data_batch_{i}', slice(150 * (i - 1), 150 * i)) for i in range(1, 6)] + [('test_batch', slice(150))]
    for name, part in parts:
        digits = build_datasource(dict(type='Digits', test_mode=name == 'test_batch'))
        images = np.stack([np.kron(digits.get_img(i), np.ones((4, 4, 1), np.uint8)) for i in range(len(digits))[part]])
        data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        with open(folder / name, 'wb') as file:
            pickle.dump({b'data': data, b'labels': digits.labels[part].tolist()}, file)
    return folder


def transfer(folder, cifar, run_tool, name, *options, processes=1):
    command = [f'{TOOLS}/transfer.py'] if processes == 1 else ['tools/dist_run.sh', processes, f'{TOOLS}/transfer.py']
    done = run_tool(
        *command,
        folder / 'colour.py',
        '--checkpoint',
        folder / 'colour.pth',
        '--data-root',
        cifar,
        '--out',
        folder / f'{name}.json',
        '--work-dir',
        folder / name,
        *options,
        '--cfg-options',
        'data.train.pipeline.0.size=32',
        'data.val.pipeline.0.size=32',
        'data.train.pipeline.0.scale=0.8,1.0',
        'data.train.pipeline.1.p=0.',
        'data.workers_per_gpu=0',
        env=dict(PORT='29642', PYTHON=sys.executable))
    return done, json.loads((folder / f'{name}.json').read_text()), torch.load(folder / name / 'latest.pth')


@pytest.mark.parametrize('mode', ['linear', 'finetune'])
def test_transfer(folder, cifar, run_tool, mode):
    """Frozen is frozen, to the last statistic of a norm; fine-tuning changes everything; the accuracy is that of the
    checkpoint."""
    options = dict(linear=['--lr', 20], finetune=['--finetune', '--lr', 3])[mode]
    done, found, checkpoint = transfer(folder, cifar, run_tool, mode, *options, '--epochs', 6, '--batch-size', 50)
    before, after = torch.load(folder / 'colour.pth')['state_dict'], checkpoint['state_dict']
    same = [torch.equal(value, before[key]) for key, value in after.items() if key.startswith('backbone.')]
    assert all(same) if mode == 'linear' else not any(same)
    assert found['top1'] > dict(linear=0.3, finetune=0.6)[mode] and found['top1'] < found['top5'] <= 1
    assert {
        key: found[key]
        for key in ('num_classes', 'num_train', 'num_test', 'epochs', 'batch_size', 'lr')
    } == dict(
        num_classes=10, num_train=750, num_test=150, epochs=6, batch_size=50, lr=options[-1])
    assert f'top1 {100 * found["top1"]:.2f} %' in done.stdout + done.stderr

    cfg = load_config(folder / mode / 'transfer.py')
    model = build_algorithm(cfg.model).eval()
    model.load_state_dict(after)
    dataset = build_dataset(cfg.data.val)
    mean, std = (torch.tensor(cfg.img_norm_cfg[key])[:, None, None] for key in ('mean', 'std'))
    images = torch.stack([torch.from_numpy(dataset[i]['img']).permute(2, 0, 1) for i in range(150)])
    with torch.no_grad():
        predicted = model((images / 255 - mean) / std, mode='test')['head4'].argmax(1)
    right = (predicted == torch.from_numpy(dataset.gt_labels)).double()
    assert found['top1'] == pytest.approx(right.mean().item(), abs=1.5 / 150)
    classes = [right[torch.from_numpy(dataset.gt_labels == c)].mean().item() for c in range(10)]
    assert found['mean_per_class'] == pytest.approx(np.mean(classes), abs=0.015)


def test_transfer_by_two_processes(folder, cifar, run_tool):
    """The batch is that of both together, so that they learn what one learns."""
    options = '--epochs', 1, '--batch-size', 50
    one, two = (transfer(folder, cifar, run_tool, f'by{n}', *options, processes=n)[2]['state_dict'] for n in (1, 2))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=1e-4, atol=1e-5)


def test_transfer_to_folders_and_errors(folder, cifar, photo_folder, run_tool, tmp_path):
    for part in ('train', 'test'):
        (tmp_path / part).symlink_to(photo_folder)
    command = [f'{TOOLS}/transfer.py', folder / 'colour.py', '--checkpoint', folder / 'colour.pth', '--epochs', 1]
    size = [f'data.{split}.pipeline.{i}.size=32' for split, i in (('train', 0), ('val', 0), ('val', 1))]
    run_tool(*command, '--dataset', tmp_path, '--batch-size', 8, '--work-dir', tmp_path / 'w', '--out',
             tmp_path / 'out.json', '--cfg-options', *size, 'data.workers_per_gpu=0')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert (found['num_classes'], found['num_train'], found['num_test'], found['top5']) == (2, 24, 24, 1)
    done = run_tool(*command, '--dataset', 'cifar11', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'cifar11 is no folder, no config, and none of caltech101, cifar10, cifar100, folder' in done.stderr


@pytest.mark.parametrize('path', sorted((ROOT / CONFIGS).glob('*.py')), ids=lambda path: path.stem)
def test_transfer_recipes(path):
    """The authors' scripts: linear with rate 1.5, 60 epochs, a step at 40; fine-tuned 0.01, 100 epochs, 40 and 70."""
    cfg = load_config(path)
    name, mode = path.stem.split('_')
    lr, epochs, steps, scale = dict(linear=(1.5, 60, [40], 0.6), finetune=(0.01, 100, [40, 70], 0.2))[mode]
    assert cfg.optimizer == dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.)
    assert (cfg.runner.max_epochs, cfg.lr_config.step, cfg.data.samples_per_gpu) == (epochs, steps, 256)
    assert cfg.data.train.pipeline[0] == dict(
        type='RandomResizedCrop', size=224, scale=(scale, 1.), interpolation='bicubic')
    model = build_algorithm(cfg.model)
    trained = {key.split('.')[0] for key, value in model.named_parameters() if value.requires_grad}
    assert trained == ({'head'} if mode == 'linear' else {'backbone', 'head'})
    assert model.train().backbone.training == (mode == 'finetune') and model.head.training
    assert model.head.num_classes == dict(cifar10=10, cifar100=100, caltech101=101, folder=1000)[name]
    # unit features: their scale changes nothing
    maps = torch.rand(2, 2048, 3, 3)
    torch.testing.assert_close(model.head([maps])[0], model.head([7 * maps])[0])


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


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_seed_to_moco(seed_checkpoint, run_tool):
    folder, student, weights = seed_checkpoint
    tool = 'tools/model_converters/seed_to_moco.py'
    done = run_tool(tool, folder / 'seed.pth', folder / 'moco.pth')
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

    done = run_tool(tool, folder / 'seed.pth', folder / 'ours.pth', '--to', 'mmssl', '--config', folder / 'moco.py')
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

    run_tool(tool, folder / 'seed.pth', folder / 'backbone.pth', '--to', 'backbone', '--config', folder / 'linear.py')
    check_equal(
        torch.load(folder / 'backbone.pth')['state_dict'], {
            key: value
            for key, value in student.items() if not key.startswith('fc.')
        })


def test_seed_that_does_not_match(seed_checkpoint, folder, run_tool):
    source, _, _ = seed_checkpoint
    tool = 'tools/model_converters/seed_to_moco.py'
    done = run_tool(tool, folder / 'grey.pth', folder / 'no.pth', check=False)
    assert done.returncode == 1 and 'nothing in' in done.stderr and 'student.' in done.stderr
    done = run_tool(
        tool, source / 'seed.pth', folder / 'no.pth', '--to', 'backbone', '--config', folder / 'colour.py', check=False)
    assert done.returncode == 1 and 'another network' in done.stderr and 'Traceback' not in done.stderr
    assert not (folder / 'no.pth').exists()

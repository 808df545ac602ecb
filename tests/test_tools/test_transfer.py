"""Transfer of a pre-trained network, on digits in the files of CIFAR-10 and on folders of photographs."""
import argparse
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.apis.transfer import transfer_config
from mmssl.datasets import build_dataset, build_datasource
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

RECIPES = Path(__file__).resolve().parents[2] / 'configs/benchmarks/classification/transfer'
TOOL = 'tools/benchmarks/small_models/transfer.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Config and checkpoint of a tiny model."""
    folder = tmp_path_factory.mktemp('transfer')
    (folder / 'colour.py').write_text(MODEL)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'colour.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'colour.pth')
    return folder


@pytest.fixture(scope='module')
def cifar(tmp_path_factory):
    """Digits, enlarged, as the files of CIFAR-10."""
    folder = tmp_path_factory.mktemp('cifar')
    parts = [(f'data_batch_{i}', slice(150 * (i - 1), 150 * i)) for i in range(1, 6)] + [('test_batch', slice(150))]
    for name, part in parts:
        digits = build_datasource(dict(type='Digits', test_mode=name == 'test_batch'))
        images = np.stack([np.kron(digits.read(i), np.ones((4, 4, 1), np.uint8)) for i in range(len(digits))[part]])
        data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        with open(folder / name, 'wb') as file:
            pickle.dump({b'data': data, b'labels': digits.labels[part].tolist()}, file)
    return folder


def transfer(folder, cifar, call_tool, name, *options, processes=1):
    done = call_tool(
        TOOL,
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
        processes=processes)
    return done, json.loads((folder / f'{name}.json').read_text()), torch.load(folder / name / 'latest.pth')


@pytest.mark.parametrize('mode', ['linear', 'finetune'])
def test_transfer(folder, cifar, call_tool, mode):
    """Frozen is frozen, to the last statistic of a norm; fine-tuning changes everything; the accuracy is that of the
    checkpoint."""
    options = dict(linear=['--lr', 5], finetune=['--finetune', '--lr', 3])[mode]
    done, found, checkpoint = transfer(folder, cifar, call_tool, mode, *options, '--epochs', 6, '--batch-size', 50)
    before, after = torch.load(folder / 'colour.pth')['state_dict'], checkpoint['state_dict']
    same = [torch.equal(value, before[key]) for key, value in after.items() if key.startswith('backbone.')]
    assert all(same) if mode == 'linear' else not any(same)
    assert found['top1'] > dict(linear=0.25, finetune=0.6)[mode] and found['top1'] < found['top5'] <= 1
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

    if mode == 'linear':  # the batch is that of both processes together, so that they learn what one learns
        _, two, checkpoint = transfer(
            folder, cifar, call_tool, 'two', *options, '--epochs', 6, '--batch-size', 50, processes=2)
        for key, value in after.items():
            torch.testing.assert_close(checkpoint['state_dict'][key], value, rtol=1e-3, atol=1e-3)
        assert two['top1'] == pytest.approx(found['top1'], abs=1.5 / 150) and two['batch_size'] == 50


def options(dataset, **changes):
    arguments = dict(config='a.py', finetune=False, data_root=None, epochs=None, lr=None, work_dir=None, cfg_options={})
    return argparse.Namespace(dataset=str(dataset), **{**arguments, **changes})


def test_transfer_to_folders(folder, photo_folder, run_tool, tmp_path):
    for part in ('train', 'test'):
        (tmp_path / part).symlink_to(photo_folder)
    size = [f'data.{split}.pipeline.{i}.size=32' for split, i in (('train', 0), ('val', 0), ('val', 1))]
    command = (TOOL, folder / 'colour.py', '--checkpoint', folder / 'colour.pth', '--epochs', 1, '--dataset', tmp_path,
               '--batch-size', 8, '--work-dir', tmp_path / 'w', '--out', tmp_path / 'out.json', '--cfg-options', *size,
               'data.workers_per_gpu=0')
    run_tool(*command)
    found = json.loads((tmp_path / 'out.json').read_text())
    assert (found['num_classes'], found['num_train'], found['num_test'], found['top5']) == (2, 24, 24, 1)
    done = run_tool(*command, check=False)  # it cannot go on with a run, and does not say so
    assert done.returncode == 1 and '--auto-resume' not in done.stderr and 'by --overwrite' in done.stderr


def test_options(tmp_path):
    cfg = transfer_config(options('cifar100', finetune=True, epochs=10, data_root='x', lr=0.5), RECIPES)
    assert (cfg.runner.max_epochs, cfg.lr_config.step, cfg.optimizer.lr) == (10, [4, 7], 0.5)
    assert cfg.data.train.data_source.data_prefix == cfg.data.val.data_source.data_prefix == 'x'
    assert cfg.work_dir == 'work_dirs/transfer/a_cifar100_finetune'
    own = transfer_config(options(RECIPES / 'caltech101_linear.py', cfg_options={'optimizer.lr': 3}), RECIPES)
    assert own.optimizer.lr == 3 and own.data.train.data_source.type == 'Caltech101'
    with pytest.raises(ConfigError, match='caltech101_linear.py freezes the backbone .* leave --finetune out'):
        transfer_config(options(RECIPES / 'caltech101_linear.py', finetune=True), RECIPES)
    with pytest.raises(ConfigError, match='cifar10_finetune.py trains the backbone too .* give --finetune'):
        transfer_config(options(RECIPES / 'cifar10_finetune.py'), RECIPES)
    with pytest.raises(ConfigError, match='cifar11 is no folder, no config, and none of caltech101, cifar10, cifar100'):
        transfer_config(options('cifar11'), RECIPES)
    with pytest.raises(FileNotFoundError, match=r'train and val \(or test\)'):
        transfer_config(options(tmp_path), RECIPES)


@pytest.mark.parametrize('path', sorted(RECIPES.glob('*.py')), ids=lambda path: path.stem)
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


def test_frozen_network_of_another_library():
    """A network without `frozen_stages`, such as the small ones of timm."""
    model = build_algorithm(
        dict(
            type='Classification',
            freeze_backbone=True,
            backbone=dict(type='TIMMBackbone', model_name='mobilenetv3_small_050'),
            head=dict(type='ClsHead', with_avg_pool=True, with_l2_norm=True, in_channels=1024, num_classes=3)))
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    model.train()
    found = model(torch.rand(4, 3, 32, 32), label=torch.tensor([0, 1, 2, 0]))
    found['loss'].backward()
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    assert {key for key, value in model.named_parameters() if value.grad is not None} == \
        {'head.fc_cls.weight', 'head.fc_cls.bias'}

"""The small-models evaluation as a user runs it, on digits."""
import json

import numpy as np
import pytest
import torch

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, instance_discrimination, view_statistics
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

TOOLS = 'tools/benchmarks/small_models'
STATIC = 'configs/benchmarks/small_models/static_digits.py'
MODEL = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead'))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Config and checkpoint of a tiny model."""
    folder = tmp_path_factory.mktemp('small')
    (folder / 'grey.py').write_text(MODEL)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'grey.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'grey.pth')
    return folder


@pytest.fixture(scope='module')
def static(folder, run_tool):
    """A static set of digits, and the features of its originals and views."""
    arguments = ('tools/data_converters/sample_augmentations.py', 'configs/benchmarks/classification/digits.py',
                 folder / 'static', '--config', 'configs/demo/simclr_digits.py', '--images-per-class', 12, '-j', 2)
    assert '120 images in 10 classes, with 2 views each; 120 written' in run_tool(*arguments).stdout

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


def test_view_statistics(folder, static, run_tool, call_tool):
    """Also that two processes equal one, to the bit."""
    original, *views = static
    command = [f'{TOOLS}/view_statistics.py', *arguments(folder), '--layers', 'pooled', 'pixels', '--out']
    done = run_tool(*command, folder / 'statistics.json')
    found = json.loads((folder / 'statistics.json').read_text())
    expected = view_statistics.run(original['pooled'], [view['pooled'] for view in views], original.labels)
    assert found['pooled'] == pytest.approx(expected, rel=1e-4) and expected['num_classes'] == 10
    line = next(line for line in (done.stdout + done.stderr).splitlines() if ' pooled ' in line)
    assert line.split()[-6:] == [f'{value:.4f}' for value in list(found['pooled'].values())[:6]]
    assert found['pixels']['d_sd_alignment'] > found['pooled']['d_sd_alignment']

    call_tool(*command, folder / 'two.json', processes=2)
    assert json.loads((folder / 'two.json').read_text()) == found


def test_instance_discrimination(folder, static, run_tool):
    """The first 7 images of each class."""
    original, *views = static
    first = np.concatenate([np.flatnonzero(original.labels == c)[:7] for c in range(10)])
    done = run_tool(f'{TOOLS}/instance_discrimination.py', *arguments(folder), '--mode', 'sd-sd', '--negatives',
                    'queries', '--topk', 3, '-s', 7, '--out', folder / 'accuracy.json')
    found = json.loads((folder / 'accuracy.json').read_text())
    expected = instance_discrimination.run(original['pooled'][first], [view['pooled'][first] for view in views],
                                           'sd-sd', (1, 2, 3), 'queries')
    assert found == pytest.approx(expected, abs=1.5 / 70) and 0 < found['top1'] < found['top3'] < 1
    line = f'Mode: sd-sd; Negatives: queries; Layer: pooled; Top1-3: [{100 * found["top1"]:.3f}, '
    assert f'Masked: normal; {line}' in done.stdout + done.stderr


def test_errors_of_users_are_one_line(folder, static, call_tool):
    done = call_tool(f'{TOOLS}/instance_discrimination.py', *arguments(folder), '--topk', 500, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert '--topk 500 --mode d-sd: k must be 1 to 238, the number of negatives' in done.stderr


@pytest.mark.parametrize('name, channels', [('mobilenetv3_large_100', 1280), ('mobilenetv3_small_100', 1024),
                                            ('efficientnet_b0', 1280), ('resnet18', 512),
                                            ('deit_tiny_patch16_224', 192)])
def test_recipe_of_small_networks(name, channels):
    """The figures of the authors' command, and the channels that the recipe's head names for each network."""
    path = 'configs/benchmarks/small_models/moco_mobilenetv3-large_8xb64-coslr-800e_in1k.py'
    cfg = load_config(
        path, {
            'model.backbone.model_name': name,
            'model.neck.in_channels': channels,
            'model.neck.hid_channels': 2 * channels,
            'model.queue_len': 64
        })
    model = build_algorithm(cfg.model).eval()
    assert model.neck(model.backbone(torch.zeros(1, 3, 224, 224)))[0].shape == (1, 128)
    if name == 'mobilenetv3_large_100':
        cfg = load_config(path)
        assert (cfg.model.neck.in_channels, cfg.model.neck.hid_channels, cfg.model.queue_len) == (1280, 2560, 65536)
        assert (cfg.model.head.temperature, cfg.optimizer.lr, cfg.runner.max_epochs) == (0.1, 0.06, 800)
        assert 8 * cfg.data.samples_per_gpu == 512 and cfg.lr_config.policy == 'CosineAnnealing'
        jitter, grey, blur = cfg.data.train.pipelines[0][1:4]
        assert jitter.p == 0.8 and list(jitter.transforms[0].values())[1:] == [0.8, 0.8, 0.8, 0.4]
        assert grey.p == blur.p == 0.5

"""Training on several labels an image, as a user does it: pairs of digits in the layout of VOC 2007."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import ConfigDict
from sklearn.metrics import average_precision_score
from test_svm_tool import CLASSES, write_voc

from mmssl.core import EvalHook
from mmssl.core.evaluation import Outputs, build_meters, evaluate_outputs
from mmssl.core.training import build_loader
from mmssl.datasets import SingleViewDataset, build_dataset
from mmssl.datasets.data_sources import VOC, ImageNet21k
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

RECIPES = Path(__file__).resolve().parents[2] / 'configs/benchmarks/classification'
CONFIG = """
_base_ = {recipe!r}
model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=8, base_channels=8,
                  out_indices=[4], norm_cfg=dict(type='BN')),
    head=dict(in_channels=64, num_classes=3))
img_norm_cfg = dict(_delete_=True, mean=[0.3], std=[0.35])
source = dict(data_prefix={voc!r}, classes={classes!r}, color_type='grayscale')
data = dict(
    samples_per_gpu=30, workers_per_gpu=0,
    train=dict(data_source=source, pipeline=[dict(type='RandomCrop', size=(8, 16), padding=1)]),
    val=dict(data_source=source, pipeline=[]))
optimizer = dict(lr=0.03)
lr_config = dict(_delete_=True, policy='fixed')
runner = dict(max_epochs=30)
evaluation = dict(interval=30, save_best='head4_mAP')
checkpoint_config = dict(interval=30)
seed = 0
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('multi_label')
    write_voc(folder / 'VOC2007')
    recipe = str(RECIPES / 'voc07/resnet50_8xb32-steplr-105e_voc07.py')
    (folder / 'voc.py').write_text(CONFIG.format(recipe=recipe, voc=str(folder / 'VOC2007'), classes=CLASSES))
    return folder


@pytest.mark.long
def test_train_and_test(folder, call_tool):
    """The recipe at reduced size learns; tools/test.py measures the same in one process and in two."""
    call_tool('tools/train.py', folder / 'voc.py', '--work-dir', folder / 'run')
    lines = [json.loads(line) for line in next((folder / 'run').glob('*.log.json')).read_text().splitlines()]
    trained = [line for line in lines if line.get('mode') == 'val'][-1]['head4_mAP']
    found = {}
    for processes in (1, 2):
        out = folder / f'{processes}.json'
        done = call_tool(
            'tools/test.py', folder / 'voc.py', folder / 'run/epoch_30.pth', '--out', out, processes=processes)
        found[processes] = json.loads(out.read_text())
        assert f'head4_mAP: {found[processes]["head4_mAP"]:.4f}' in done.stdout and 'head4_AP bicycle: ' in done.stdout
    assert found[1]['head4_mAP'] == pytest.approx(trained, abs=1e-3) and list(found[1]['head4_AP']) == CLASSES
    assert found[2]['head4_AP'] == pytest.approx(found[1]['head4_AP'], abs=1e-3)
    assert found[1]['head4_mAP'] > 80  # about 45 % of the images have a class
    assert (folder / 'run/best_head4_mAP_epoch_30.pth').exists()


def loader_of(folder, **changes):
    cfg = load_config(folder / 'voc.py')
    for key, value in changes.items():
        cfg.data.val.data_source[key] = value
    return build_loader(build_dataset(cfg.data.val), cfg, testing=True)


def test_labels_of_voc(folder):
    """1, 0 and -1 reach the batch, and a change of a sample's label stays its own."""
    source = VOC(str(folder / 'VOC2007'), split='test', classes=CLASSES, multi_label=True)
    data = SingleViewDataset(source, [])
    assert data.num_classes == 3 and not hasattr(data, 'gt_labels')
    labels = np.concatenate([batch['label'].numpy() for batch in loader_of(folder)])
    np.testing.assert_array_equal(labels, source.targets)
    assert (labels == -1).any() and labels.dtype == np.int8
    data[0]['label'][:] = 7
    np.testing.assert_array_equal(labels, source.targets)
    assert [source.get_cat_ids(i) for i in range(60)] == [np.flatnonzero(row == 1).tolist() for row in labels]
    with pytest.raises(ConfigError, match='VOC.multi_label=True. has several labels an image'):
        data.gt_labels
    plain = VOC(str(folder / 'VOC2007'), split='test', classes=CLASSES)
    assert SingleViewDataset(plain, [])[0]['label'] == -1 and plain.get_cat_ids(0) == -1


def test_what_fits_not_is_said_before_the_training(folder):
    with pytest.raises(ConfigError, match="several labels.*set evaluation.metric='mean_average_precision'"):
        EvalHook(loader_of(folder))
    loader = loader_of(folder)
    for options, message in (
        (dict(metric='mAP'), "'accuracy' or 'mean_average_precision', got 'mAP'"),
        (dict(meter=dict(type='MeanAPListMeters')), "did you mean 'MeanAPListMeter'"),
        (dict(meter=dict(type='MeanAPListMeter', ap='voc')), "ap must be one of .*, got 'voc'"),
        (dict(metric='mean_average_precision', meter=dict(type='MeanAPMeter')), 'both metric=.* and a meter'),
        (dict(metric='mean_average_precision', topk=(1, )), "a meter takes its own settings, got 'topk'"),
    ):
        with pytest.raises(ConfigError, match=message):
            EvalHook(loader, **options)


@pytest.mark.parametrize('meter, names', [
    (dict(type='AccuracyListMeter', topk_values=[1, 3]), ['head4_top1', 'head4_top3']),
    ([dict(type='AccuracyListMeter', topk_values=[2])], ['head4_top2']),
])
def test_meters_of_one_label(meter, names):
    """What a data set's accuracy does not count: other k; unlabelled samples are left out, names are the outputs'."""
    outputs = Outputs(head4=torch.randn(20, 5))
    outputs.labels = torch.arange(20) % 6 - 1
    found = evaluate_outputs(outputs, None, build_meters(meter=ConfigDict(m=meter).m), logger='silent')
    assert list(found) == names
    known = outputs.labels >= 0
    for name, value in found.items():
        order = outputs['head4'][known].argsort(1, descending=True)[:, :int(name[-1])]
        assert value == pytest.approx(100 * (order == outputs.labels[known, None]).any(1).float().mean().item())


def test_imagenet21k_with_several_labels_reaches_the_batch(photo_folder, tmp_path):
    """The openimages recipe with a list of two classes: labels, scores and mean average precision."""
    lines = [
        f'{path.relative_to(photo_folder)} {"0,2" if "china" in path.parts else "1"}\n'
        for path in sorted(photo_folder.glob('*/*.jpg'))
    ]
    (tmp_path / 'list.txt').write_text(''.join(lines))
    cfg = load_config(RECIPES / 'openimages/resnet50_bn-linear-8xb16-steplr-16e_openimages.py')
    source = cfg.data.train.data_source
    assert cfg.data.val.data_source.multi_label and source.type == 'ImageNet21k' and 'topk' not in cfg.evaluation
    assert (cfg.optimizer.lr, cfg.lr_config.step, cfg.runner.max_epochs) == (0.003, [2, 4, 6], 16)
    data = SingleViewDataset(ImageNet21k(str(photo_folder), ann_file=str(tmp_path / 'list.txt'), multi_label=True), [])
    labels = np.stack([data[i]['label'] for i in range(len(data))])
    assert labels.shape == (24, 3) and labels[0].tolist() == [1, 0, 1] and labels[-1].tolist() == [0, 1, 0]
    scores = np.random.default_rng(0).normal(size=(24, 3))
    expected = np.mean([average_precision_score(labels[:, c], scores[:, c]) for c in range(3)])
    outputs = Outputs(head4=torch.from_numpy(scores))
    outputs.labels = torch.from_numpy(labels)
    found = evaluate_outputs(outputs, data, build_meters('mean_average_precision'), logger='silent', per_class=True)
    single = evaluate_outputs(outputs, data, build_meters(meter=dict(type='MeanAPMeter')), logger='silent')
    assert single == {'head4_mAP': found['head4_mAP']} and list(found['head4_AP']) == ['0', '1', '2']
    assert found['head4_mAP'] == pytest.approx(100 * expected)

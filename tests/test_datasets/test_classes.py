"""Classes are matched by name wherever two splits meet."""
import argparse
import json
import logging
import runpy
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.apis import train_model
from mmssl.apis.evaluation import EvaluationRun
from mmssl.core import EvalHook
from mmssl.core.hooks import KNNEvalHook
from mmssl.datasets import build_dataset
from mmssl.datasets.classes import match_labels
from mmssl.datasets.data_sources import ImageNet
from mmssl.evaluation import knn, linear, svm
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError
from mmssl.utils.evaluation_options import add_evaluation_options

COLORS = dict(ant=(220, 30, 30), bee=(30, 220, 30), cat=(30, 30, 220), dog=(200, 200, 30))
MODEL = dict(
    type='Classification',
    backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=3))


def write(folder, **counts):
    """Class folders with images of one colour a class, and noise; a class of 0 images is an empty folder."""
    rng = np.random.default_rng(len(str(folder)))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = np.clip(rng.normal(COLORS[name], 20, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / name / f'{i}.png')
    return folder


def single(folder, **source):
    return dict(
        type='SingleViewDataset',
        data_source=dict(type='ImageNet', data_prefix=str(folder), **source),
        pipeline=[],
        prefetch=True)


SPLITS = {
    'a class without validation images': (dict(ant=6, bee=6, cat=6), dict(ant=4, cat=4), {}),
    'a class folder without training images': (dict(ant=0, bee=6, cat=6), dict(bee=4, cat=4), {}),
    'a class of validation alone': (dict(bee=6, cat=6), dict(ant=3, bee=4, cat=4), dict(ant=3)),
    'a class whose training folder is empty': (dict(ant=0, bee=6, cat=6), dict(ant=2, bee=4, cat=4), dict(ant=2)),
}


@pytest.mark.parametrize('case', SPLITS)
def test_evaluations_match_by_name(tmp_path, case, caplog):
    """Classes of one colour are told apart without an error, whatever folders the other split has."""
    train, val, left_out = SPLITS[case]
    write(tmp_path / "it's data" / 'train', **train), write(tmp_path / "it's data" / 'val', **val)
    config = tmp_path / 'data.py'
    config.write_text('model = dict(type="none")\n'
                      'img_norm_cfg = dict(mean=[0.5] * 3, std=[0.25] * 3)\n'
                      'split = dict(type="SingleViewDataset", pipeline=[], prefetch=True, data_source=dict())\n'
                      'data = dict(samples_per_gpu=4, train=split, val=split)\n')
    parser = argparse.ArgumentParser()
    add_evaluation_options(parser, str(config))
    out = tmp_path / 'out.json'
    args = parser.parse_args(
        [str(config), '--layers', 'pixels', '--data-root',
         str(tmp_path / "it's data"), '--out',
         str(out)])
    run = EvaluationRun(args)
    with caplog.at_level(logging.INFO, logger='mmssl'):
        run.logger.addHandler(caplog.handler)
        val, train = run.extract('val'), run.extract('train')
        run.logger.removeHandler(caplog.handler)
    arrays = train['pixels'], train.labels, val['pixels'], val.labels
    assert knn.run(*arrays, k=3)['k3_T0.07_top1'] == 1
    assert linear.run(*arrays, lrs=[0.1], val_fraction=0, epochs=10)['top1'] == 1
    assert svm.run(*arrays, costs=[1.])['accuracy'] == 1
    names = [train.classes[label] if label >= 0 else None for label in val.labels]
    folders = [run.dataset('val').data_source.samples[i].split('/')[0] for i in val.index]
    assert names == [None if name in left_out else name for name in folders] and val.classes == train.classes
    run.write(dict(top1=1.))
    assert json.loads(out.read_text()) == dict(top1=1., **(dict(left_out_classes=left_out) if left_out else {}))
    for name, count in left_out.items():
        assert f'{count} images of classes without a training image are left out: {name} ({count})' in caplog.text
    if case == 'a class without validation images':
        assert 'data.val: classes of training without an image here (1): bee' in caplog.text
    if 'folder' in case:
        assert 'classes without a training image (1): ant' in caplog.text


def test_numbers_without_names_and_what_cannot_be_matched():
    labels, report = match_labels([0, 3, 3, -1], None, [0, 1], ['a', 'b'])
    assert labels.tolist() == [0, 3, 3, -1] and report.unknown == {3: 2} and report.unnamed
    labels, report = match_labels([1, 0, 2], ['b', 'a', 'c'], [0, 1, 3], ['a', 'b', 'c', 'd'], 'test')
    assert labels.tolist() == [0, 1, -1]
    assert (report.left_out, report.empty, report.absent) == ({'c': 1}, ['c'], ['d'])
    labels, report = match_labels([1, 0], ['b', 'a'], None, ['a', 'b'])
    assert labels.tolist() == [0, 1]
    assert match_labels([0, 1], ['x', 'x'], [0, 1], ['x', 'x'])[0].tolist() == [0, 1]  # 'crane' of ImageNet
    with pytest.raises(ConfigError, match='no class of val has a training image: val has c; training has a, b'):
        match_labels([0, 0], ['c'], [0, 1], ['a', 'b'])
    with pytest.raises(ConfigError, match="'x' names two classes"):
        match_labels([0, 0], ['y'], [0, 1], ['x', 'x'])


def test_classes_select_and_order_by_name(tmp_path):
    write(tmp_path, ant=2, bee=3, cat=1)
    source = ImageNet(str(tmp_path), classes=['cat', 'ant'])
    assert source.CLASSES == ('cat', 'ant') and source.folder_to_idx == dict(cat=0, ant=1)
    assert list(zip(source.samples, source.labels.tolist())) == [('ant/0.png', 1), ('ant/1.png', 1), ('cat/0.png', 0)]
    assert source.get_img(2).size == (12, 12)
    with pytest.raises(ConfigError, match="classes names 'bees', but .* has no such class; did you mean 'bee'"):
        ImageNet(str(tmp_path), classes=['ant', 'bees'])
    digits = dict(type='Digits', num_images=30, classes=['7', '1'])
    dataset = build_dataset(dict(type='SingleViewDataset', data_source=digits, pipeline=[]))
    whole = build_dataset(dict(type='SingleViewDataset', data_source=dict(digits, classes=None), pipeline=[]))
    kept = [i for i, label in enumerate(whole.gt_labels) if label in (7, 1)]
    assert [('7', '1')[label] for label in dataset.gt_labels] == [str(whole.gt_labels[i]) for i in kept]
    np.testing.assert_array_equal(dataset.data_source.samples, whole.data_source.samples[kept])


def test_several_sets(tmp_path):
    """A class that several parts have is one class; a balanced share and the accuracy are of all parts together."""
    parts = [single(write(tmp_path / 'a', bee=5, cat=3)), single(write(tmp_path / 'b', ant=4, cat=6))]
    dataset = build_dataset(parts)
    assert dataset.CLASSES == ('bee', 'cat', 'ant')
    assert [dataset[i]['label'] for i in range(18)] == [0] * 5 + [1] * 3 + [2] * 4 + [1] * 6
    assert dataset.gt_labels.tolist() == [dataset[i]['label'] for i in range(18)]
    few = build_dataset(dict(type='ClassBalancedSubset', dataset=parts, per_class=4))
    assert np.bincount(few.gt_labels).tolist() == [4, 4, 4]
    assert [few[i]['label'] for i in range(12)] == few.gt_labels.tolist()
    with pytest.raises(ConfigError, match='class ant has 4 samples, fewer than per_class=5'):
        build_dataset(dict(type='ClassBalancedSubset', dataset=parts, per_class=5))
    scores = np.eye(3)[dataset.gt_labels]
    scores[:2] = [0, 0, 1]  # two of the eight of the first set are wrong
    found = dataset.evaluate(dict(head0=scores), logger='silent', topk=(1, ))
    assert found == pytest.approx(dict(head0_top1=100 * 16 / 18, set0_head0_top1=75., set1_head0_top1=100.))
    scores[5] = np.nan
    with pytest.raises(FloatingPointError, match='head0: the scores of 1 of 8 samples are NaN, the first is sample 5'):
        dataset.evaluate(dict(head0=scores), logger='silent')


def config(tmp_path, train, val, **changes):
    return mmcv.Config(
        dict(
            model=MODEL,
            img_norm_cfg=dict(mean=[0.5] * 3, std=[0.25] * 3),
            data=dict(samples_per_gpu=6, workers_per_gpu=0, train=train, val=val),
            optimizer=dict(type='SGD', lr=0.01),
            runner=dict(type='EpochBasedRunner', max_epochs=1),
            evaluation=dict(interval=1, topk=(1, )),
            work_dir=str(tmp_path / 'work'),
            **changes))


def test_evaluation_while_training(tmp_path):
    """EvalHook, on one set and on a list of sets, KNNEvalHook and a phase val count the classes of data.train."""
    train = single(write(tmp_path / 'train', ant=4, bee=4, cat=4))
    val = single(write(tmp_path / 'val', bee=2, cat=3, dog=2)), single(write(tmp_path / 'more', ant=1, cat=1))
    expected = [1, 1, 2, 2, 2, -1, -1]
    for section, wanted in ((val[0], expected), (list(val), [*expected, 0, 2])):
        cfg = config(tmp_path, train, section, workflow=[('train', 1), ('val', 1)])
        datasets = [build_dataset(train), build_dataset(section)]
        runner = train_model(build_algorithm(MODEL), datasets, cfg)
        hook = next(hook for hook in runner.hooks if isinstance(hook, EvalHook))
        for dataset in (hook.dataloader.dataset, datasets[1]):
            assert dataset.gt_labels.tolist() == wanted and list(dataset.CLASSES) == ['ant', 'bee', 'cat']
            assert [dataset[i]['label'] for i in range(len(dataset))] == wanted
    assert KNNEvalHook(train, val[0], max_train=5).val_dataset.gt_labels.tolist() == expected


def test_the_metrics_of_a_checkpoint_tell_what_is_left_out(tmp_path, monkeypatch):
    """tools/test.py; the classes are those in the checkpoint."""
    cfg = config(tmp_path, single(tmp_path), single(write(tmp_path / 'val', bee=2, cat=3, dog=2)))
    cfg.dump(str(tmp_path / 'config.py'))
    torch.save(
        dict(meta=dict(CLASSES=['ant', 'bee', 'cat']), state_dict=build_algorithm(MODEL).state_dict()),
        tmp_path / 'a.pth')
    monkeypatch.setattr(
        sys, 'argv',
        ['test.py', *(str(tmp_path / name) for name in ('config.py', 'a.pth')), '--out', f'{tmp_path}/metrics.json'])
    runpy.run_path(str(Path(__file__).parents[2] / 'tools/test.py'), run_name='__main__')
    assert json.loads((tmp_path / 'metrics.json').read_text())['left_out_classes'] == dict(dog=2)


def test_the_classifier_has_an_output_for_each_label(tmp_path):
    write(tmp_path / 'train', ant=2, bee=2, cat=1)
    (tmp_path / 'val.txt').write_text('ant/0.png 0\nbee/0.png 4\n')
    train, val = single(tmp_path / 'train'), single(tmp_path / 'train', ann_file=str(tmp_path / 'val.txt'))
    model = build_algorithm(dict(MODEL, head=dict(MODEL['head'], num_classes=2)))
    with pytest.raises(ConfigError, match=r"num_classes is 2, but 1 images of data.train have .* up to 2 \('cat'\)"):
        train_model(model, build_dataset(train), config(tmp_path, train, val))
    with pytest.raises(ConfigError, match='num_classes is 3, but 1 images of data.val .* up to 4; .*num_classes=5'):
        train_model(build_algorithm(MODEL), build_dataset(train), config(tmp_path, train, val))
    with pytest.raises(ConfigError, match='evaluation: Subset has no evaluate'):
        subset = torch.utils.data.Subset(build_dataset(train), [0])
        EvalHook(argparse.Namespace(dataset=subset))

"""ReportHook: training does not notice it, what it shows is right, and its faults end no training."""
import atexit
import functools
import json
import logging

import numpy as np
import pytest
import torch

from mmssl.core.hooks import ReportHook, TextLoggerHook
from mmssl.core.hooks.any_runner import defer
from mmssl.core.runner import EpochBasedRunner
from mmssl.datasets import build_dataset
from mmssl.datasets.loader import EpochLoader, PrefetchLoader
from mmssl.evaluation import extract_features
from mmssl.evaluation.run_report import load_pictures
from mmssl.models import build_algorithm
from mmssl.utils.errors import ConfigError

NORM = dict(mean=[0.3], std=[0.35])
SOURCE = dict(type='Digits', color_type='grayscale', num_images=120)
MODEL = dict(
    type='SimCLR',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4),
    neck=dict(type='NonLinearNeck', in_channels=32, hid_channels=16, out_channels=8, norm_cfg=dict(type='BN')),
    head=dict(type='ContrastiveHead', temperature=0.2))
VIEWS = dict(
    type='MultiViewDataset',
    data_source=SOURCE,
    num_views=[2],
    pipelines=[[dict(type='RandomResizedCrop', size=12, scale=(0.5, 1.))]],
    prefetch=True)


def train(work_dir, hook=None, epochs=2, resume=None, views=VIEWS, lr=0.05):
    torch.manual_seed(5)
    model = build_algorithm(MODEL)
    model.init_weights()
    dataset = build_dataset(views)
    loader = PrefetchLoader(EpochLoader(dataset, range(len(dataset)), 40, drop_last=True, seed=1), **NORM)
    runner = EpochBasedRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr),
        work_dir=str(work_dir),
        logger=logging.getLogger('test_report_hook'),
        meta={},
        max_epochs=epochs)
    runner.register_optimizer_hook(dict())
    runner.register_checkpoint_hook(dict(interval=1))
    runner.register_hook(TextLoggerHook(interval=1))
    if hook:
        runner.register_hook(hook)
    if resume:
        runner.resume(resume)
    runner.run([loader], [('train', 1)])
    state = dict(torch=torch.get_rng_state(), numpy=np.random.get_state()[1].tolist())
    return model, runner, state


class Eager(ReportHook):
    """Takes pictures after each iteration, whatever the time."""

    def after_train_iter(self, runner):
        defer(runner, functools.partial(self._renew, runner, runner.iter + 1, True), 'report')


def eager(**options):
    return Eager(img_norm_cfg=NORM, **options)


def data_of(folder):
    return json.loads((folder / 'report.html').read_text().split('id="data">')[1].split('</script>')[0])


def test_training_does_not_notice(tmp_path):
    np.random.seed(0)
    plain, _, state = train(tmp_path / 'plain')
    np.random.seed(0)
    model, _, after = train(tmp_path / 'hook', eager())
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert all(torch.equal(*pair) if torch.is_tensor(pair[0]) else pair[0] == pair[1]
               for pair in zip(state.values(), after.values()))  # yapf: disable
    assert model.training

    # exact where it is resumed, and the start is that of the training
    _, _, _ = train(tmp_path / 'cut', eager(), epochs=1)
    first = load_pictures(tmp_path / 'cut')['first']
    resumed, _, _ = train(tmp_path / 'cut', eager(), resume=str(tmp_path / 'cut/epoch_1.pth'))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    pictures = load_pictures(tmp_path / 'cut')
    assert pictures['first'] == first and first['iteration'] == 0 and pictures['now']['iteration'] == 6


def test_what_it_shows(tmp_path):
    model, _, _ = train(tmp_path / 'run', eager(max_images=40))
    data = data_of(tmp_path / 'run')
    pictures = load_pictures(tmp_path / 'run')
    gallery, now = pictures['gallery'], pictures['now']
    assert data['state'] == 'finished' and data['map']['points'] == now['points']
    single = dict(type='SingleViewDataset', data_source=SOURCE, pipeline=[dict(type='Resize', size=12)], prefetch=True)
    dataset = build_dataset(single)
    index = [int(name.split()[1]) for name in gallery['names']]
    assert len(index) == 16 and np.ptp(np.diff(index)) <= 2  # 2 views of 120 images twice: few pictures
    assert [gallery['classes'][k] for k in gallery['labels']] == [str(dataset.gt_labels[i]) for i in index]
    x = extract_features(model, dataset, img_norm_cfg=NORM)['pooled'][index].astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        naive = sorted(others, key=lambda j: -sum(x[i] * x[j]))[:6]
        assert [x[i] @ x[j] for j in now['neighbours'][i]] == pytest.approx([x[i] @ x[j] for j in naive], abs=1e-5)
    hits = [dataset.gt_labels[index[i]] == dataset.gt_labels[index[j]]
            for i, near in enumerate(now['neighbours']) for j in near]  # yapf: disable
    assert now['agreement'] == pytest.approx(np.mean(hits))
    assert len(pictures['views']) == 6 and len(pictures['views'][0]['rows'][0]) == 2


def test_a_training_that_stops_says_so(tmp_path, monkeypatch):
    """At once; with a runner that closes no hooks, such as mmcv's, when the process ends."""
    ends = []
    monkeypatch.setattr(atexit, 'register', lambda *call: ends.append(call) if 'Report' in repr(call) else None)
    monkeypatch.setattr(TextLoggerHook, 'before_train_epoch', lambda self, runner: 1 / (runner.epoch < 1))
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / 'run', eager())
    assert data_of(tmp_path / 'run')['state'] == 'stopped' and ends
    assert 'Stopped before its end' in (tmp_path / 'run/report.html').read_text()

    hook = eager()
    close, hook.close = hook.close, lambda: None
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / 'other', hook)
    assert data_of(tmp_path / 'other')['state'] == 'running'
    hook.close = close
    end, *args = ends[-1]
    end(*args)
    assert data_of(tmp_path / 'other')['state'] == 'stopped'


def test_faults_end_no_training(tmp_path, caplog, monkeypatch):
    model, _, _ = train(tmp_path / 'run', eager(layer='stage9', views=0), epochs=1)
    page = (tmp_path / 'run/report.html').read_text()
    assert 'There are no pictures: ' in page and 'data-chart="0"' in page
    assert sum('the report goes on without pictures' in record.getMessage() for record in caplog.records) == 1
    # nor do those of the page, such as of a log that somebody has written into
    monkeypatch.setattr('mmssl.evaluation.run_report.run_page', lambda *_: 1 / 0)
    train(tmp_path / 'other', eager(max_images=0, views=0), epochs=1)
    assert not (tmp_path / 'other/report.html').exists() and 'the page is not written: ZeroDivisionError' in caplog.text


def test_refused_settings():
    for options, words in ((dict(interval_seconds=0), 'interval_seconds is positive, got 0'),
                           (dict(share=2), 'above 0 and at most 1, got 2'), (dict(views=-1), 'views'),
                           (dict(max_images='all'), 'max_images is an integer')):  # yapf: disable
        with pytest.raises(ConfigError, match=words):
            ReportHook(**options)


def test_it_keeps_to_its_share(tmp_path, monkeypatch):
    """With time that is counted and not measured: at most 2 % of it while training."""
    clock = [0.]
    monkeypatch.setattr('mmssl.core.hooks.report_hook.time.monotonic', lambda: clock[0])
    hook, costs = ReportHook(interval_seconds=5, img_norm_cfg=NORM), dict(look=[], page=[])

    def renew(kind, seconds):

        def spend(*_):
            clock[0] += seconds
            costs[kind].append((clock[0], seconds))

        return spend

    hook._look, hook._write = renew('look', 3.), renew('page', 0.1)
    hook.gallery, hook.max_images = range(500), 0
    hook._try = lambda runner, action, *args: action(runner, *args)
    hook._open_pictures = lambda runner: None
    runner = type('Runner', (), dict(rank=0, iter=0, work_dir=str(tmp_path), model=torch.nn.Linear(1, 1)))
    runner.defer = staticmethod(lambda action, phase: action())
    hook.before_run(runner)
    hook.before_epoch(runner)
    begun, spent = clock[0], {kind: len(entries) for kind, entries in costs.items()}
    for _ in range(40000):
        clock[0] += 0.1
        hook.after_train_iter(runner)
    taken = sum(seconds for kind, entries in costs.items() for _, seconds in entries[spent[kind]:])
    assert 0.01 < taken / (clock[0] - begun) <= 0.02, costs
    assert len(costs['page']) > 20 and len(costs['look']) > 3

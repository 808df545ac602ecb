"""Curves and times from the logs of real trainings, of resumed ones, and of one that is still under way."""
import json
import math
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmssl.evaluation import plots
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.training_log import TrainingLog

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/analysis_tools/analyze_logs.py'


def train(work_dir, timestamp, **settings):
    """MoCo on 200 digits, 3 iterations an epoch."""
    from mmssl.apis import set_random_seed, train_model
    from mmssl.datasets import build_dataset
    from mmssl.models import build_algorithm
    cfg = load_config(
        ROOT / 'tests/configs/digits_moco.py', {
            'data.train.data_source.num_images': 200,
            'data.workers_per_gpu': 0,
            'log_config.interval': 1,
            'checkpoint_config.interval': 1,
            'checkpoint_config.by_epoch': True,
            **settings
        })
    cfg.work_dir = str(work_dir)
    work_dir.mkdir(exist_ok=True)
    set_random_seed(1)
    model = build_algorithm(cfg.model)
    model.init_weights()
    train_model(model, build_dataset(cfg.data.train), cfg, timestamp=timestamp, meta=dict(config=cfg.pretty_text))
    return work_dir / f'{timestamp}.log.json'


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """A run of two epochs, resumed after the first one of them and trained up to the fourth."""
    folder = tmp_path_factory.mktemp('logs') / 'run'
    train(folder, '20260101_000000', **{'runner.max_epochs': 2})
    train(folder, '20260101_000100', **{'runner.max_epochs': 4, 'resume_from': str(folder / 'epoch_1.pth')})
    return folder


def read(path):
    return [row for row in map(json.loads, path.read_text().splitlines()) if 'mode' in row]


def test_resumed_run_is_one_curve(work_dir):
    """A work_dir: lines of the second epoch come from the log that went on, not from the one that was given up."""
    first, second = (read(path) for path in sorted(work_dir.glob('*.json')))
    log = TrainingLog(work_dir)
    assert log.name == 'run' and len(log.files) == 2 and log.by_epoch and log.epoch_length == 3
    x, y = log.curve('loss')
    assert np.allclose(x, np.arange(1, 13) / 3)
    assert y == [row['loss'] for row in first[:3] + second] and len(second) == 9
    assert log.curve('loss', 'iter')[0] == list(range(1, 13))
    # a file alone is what it is, and a later run in the same folder that resumed nothing stands alone
    assert TrainingLog(sorted(work_dir.glob('*.json'))[1]).curve('loss')[0][0] == 4 / 3
    other = work_dir / '20260101_000200.log.json'
    other.write_text(sorted(work_dir.glob('*.json'))[0].read_text())
    assert len(TrainingLog(work_dir).curve('loss')[0]) == 6
    other.unlink()


def test_times(work_dir, run_tool):
    """Mean time an iteration, slowest and fastest epoch, share of waiting: computed here without the tool."""
    rows = read(sorted(work_dir.glob('*.json'))[0])[:3] + read(sorted(work_dir.glob('*.json'))[1])
    time, data = (np.array([row[key] for row in rows]).reshape(4, 3) for key in ('time', 'data_time'))
    done = run_tool(TOOL, 'cal_train_time', work_dir, sorted(work_dir.glob('*.json'))[0]).stdout
    kept = time[:, 1:].mean(1)  # without the first of each epoch
    assert f'slowest epoch {kept.argmax() + 1}, average time is {kept.max():.4f}\n' in done
    assert f'fastest epoch {kept.argmin() + 1}, average time is {kept.min():.4f}\n' in done
    assert f'time std over epochs is {kept.std():.4f}\naverage iter time: {kept.mean():.4f} s/iter\n' in done
    assert f'waiting for data: {data[:, 1:].sum() / time[:, 1:].sum():.1%} of it\n' in done
    assert f'images: {64 / time[:, 1:].mean():.1f} a second' in done
    assert done.count('Analyze train time') == 2
    every = TrainingLog(work_dir).times(include_outliers=True)
    assert every['mean'] == pytest.approx(time.mean()) and every['data_share'] == pytest.approx(data.sum() / time.sum())


def test_picture(work_dir, call_tool, tmp_path):
    out = tmp_path / 'new/curves.png'
    logs = sorted(work_dir.glob('*.json'))
    call_tool(TOOL, 'plot_curve', work_dir, logs[0], '--keys', 'loss', 'lr', '--legend', 'all of it', 'the beginning',
              '--title', 'MoCo', '--smooth', 0.5, '--style', 'whitegrid', '--backend', 'agg', '--out', out)
    assert Image.open(out).size == (975, 793)  # two panels, at 130 dots an inch
    call_tool(TOOL, 'plot_curve', logs[0])
    assert Image.open(work_dir / 'curves.png').size == (975, 455)


def test_curves_are_drawn_as_they_are(tmp_path):
    """An SVG holds the points: y as given, pale; and its moving average."""
    y = [4., 2., 3., 1.]
    mean, expected = 0., []
    for t, value in enumerate(y, 1):
        mean = 0.8 * mean + 0.2 * value
        expected.append(mean / (1 - 0.8**t))
    assert np.allclose(plots.smoothed(y, 0.8), expected) and plots.smoothed(y, 0.) == y
    assert plots.smoothed([2.5] * 5, 0.9) == pytest.approx([2.5] * 5)
    plots.plot_curves({'loss': [('a', [1, 2, 3, 4], y)]}, tmp_path / 'a.svg', smooth=0.8)
    lines = re.findall(r'<path d="(M [^"]*)" clip-path', (tmp_path / 'a.svg').read_text())
    points = [np.array(re.findall(r'[ML] (\S+) (\S+)', line), float) for line in lines]
    drawn = [x for x in points if len(x) == 4]
    assert len(drawn) == 2
    for x, values in zip(drawn, (y, expected)):  # in units of the picture, whose y counts downwards
        assert np.allclose(np.diff(x[:, 0]), x[1, 0] - x[0, 0])
        values = np.array(values)
        assert np.allclose((x[:, 1] - x[0, 1]) / (x[3, 1] - x[0, 1]), (values - values[0]) / (values[3] - values[0]))
        assert x[3, 1] > x[0, 1]


def test_last_values_are_not_written_over_each_other(tmp_path):
    curves = [(name, [1, 2], [4., y]) for name, y in (('a', 0.001), ('b', 0.002), ('c', math.nan))]
    plots.plot_curves({'lr': curves}, tmp_path / 'a.svg')
    text = (tmp_path / 'a.svg').read_text()
    places = [
        float(re.search(f'<!-- {value} -->.*?translate\\(\\S+ ([0-9.]+)\\)', text, re.S)[1]) for value in (0.001, 0.002)
    ]
    assert places[0] - places[1] > 8


def test_half_a_line(work_dir, tmp_path):
    """A training under way writes: the last line is no error, one in the middle is."""
    lines = sorted(work_dir.glob('*.json'))[0].read_text().splitlines()
    path = tmp_path / 'x.log.json'
    path.write_text('\n'.join(lines[:-1]) + '\n' + lines[-1][:40])
    assert len(TrainingLog(path).rows) == len(lines) - 2
    path.write_text('\n'.join([*lines[:2], lines[2][:40], *lines[3:]]))
    with pytest.raises(ConfigError, match=r'x.log.json, line 3 is no JSON: .\{"mode": "train"'):
        TrainingLog(path)
    path.write_text(lines[0])
    with pytest.raises(ConfigError, match=r'holds no lines of a training \(yet\)'):
        TrainingLog(path)


def test_the_learning_rate_is_that_of_training(tmp_path):
    """A line of an evaluation has one that nothing was trained by; before a warm-up it is the highest."""
    rows = [
        dict(mode='val', epoch=0, iter=0, lr=0.4, knn_top1=0.5),
        dict(mode='train', epoch=1, iter=5, lr=0.1, loss=2.),
        dict(mode='train', epoch=1, iter=10, lr=0.2, loss=1.),
        dict(mode='val', epoch=1, iter=5, lr=0.2, knn_top1=0.6)
    ]
    path = tmp_path / '20260101_000000.log.json'
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    log = TrainingLog(path)
    assert log.curve('lr') == ([0.5, 1], [0.1, 0.2]) and log.curve('knn_top1') == ([0, 1], [0.5, 0.6])


def test_logs_of_other_kinds(tmp_path):
    """Iteration-based runs count on; validation has a length of its own; several learning rates; no times."""
    path = tmp_path / '1.log.json'

    def write(*rows):
        path.write_text('\n'.join(json.dumps(row) for row in rows) + '\n')
        return TrainingLog(path)

    log = write(*(dict(mode='train', epoch=1 + i // 4, iter=5 * i + 5, loss=i, lr=dict(a=0.1, b=0.2))
                  for i in range(8)))
    assert not log.by_epoch and log.curve('loss', 'iter') == (list(range(5, 45, 5)), list(range(8)))
    assert log.curve('lr.b')[1] == [0.2] * 8 and log.curve('loss')[0][-1] == 2
    with pytest.raises(ConfigError, match='no times of training iterations'):
        log.times()
    log = write(*({
        'mode': mode,
        'epoch': epoch,
        'iter': 40 if mode == 'train' else 7,
        'memory': 12,
        'knn_top1' if mode == 'val' else 'loss': epoch / 10
    } for epoch in (1, 2) for mode in ('train', 'val')))
    assert log.keys() == ['memory', 'loss', 'knn_top1']
    assert log.curve('knn_top1') == ([1, 2], [0.1, 0.2]) and log.curve('knn_top1', 'iter')[0] == [40, 80]


@pytest.mark.parametrize('arguments, error, message', [
    (['plot_curve', 'LOG', '--keys', 'los'], ConfigError, "has no key 'los'; did you mean 'loss'"),
    (['plot_curve', 'LOG', '--legend', 'a', 'b'], ConfigError, '--legend takes one name a log: 2 names for 1 logs'),
    (['plot_curve', 'LOG', '--out', 'a.bmp'], ConfigError, '--out must end with .png, .pdf or .svg, got a.bmp'),
    (['plot_curve', 'LOG', '--style', 'drak'], ConfigError, "no style 'drak'; did you mean 'dark"),
    (['cal_train_time', 'nothing.log.json'], FileNotFoundError, 'no such log: nothing.log.json'),
    (['cal_train_time', 'tests'], FileNotFoundError, r'no \*.log.json in tests'),
])  # yapf: disable
def test_errors(work_dir, monkeypatch, arguments, error, message):
    log = str(sorted(work_dir.glob('*.json'))[0])
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [TOOL, *(log if a == 'LOG' else a for a in arguments)])
    with pytest.raises(error, match=message):
        runpy.run_path(str(ROOT / TOOL))['main']()

"""The report of a run: what is on the page, of any run; without a browser."""
import html
import json
import math
import os
import re
import socket

import numpy as np
import pytest

from mmssl.evaluation import run_charts
from mmssl.evaluation.run_page import run_page
from mmssl.evaluation.run_pictures import look
from mmssl.evaluation.run_record import read_run
from mmssl.utils.run_dir import LOCK
from mmssl.utils.training_log import TrainingLog

CONFIG = '''model = dict(type='SimCLR', backbone=dict(type='ResNet', depth=18))
data = dict(samples_per_gpu=32, train=dict(type='MultiViewDataset', data_source=dict(type='Digits')))
runner = dict(type='EpochBasedRunner', max_epochs={epochs})
optimizer = dict(type='SGD', lr=0.1)
choices = [dict(name='batch size', value='32', reason='fits <b>memory</b>', fixed=False),
           dict(name='seed', value='0', reason='given', fixed=True)]
'''
LOG = '''2026-11-29 19:42:00,283 - mmssl - INFO - begin
2026-11-29 19:42:01,283 - mmssl - WARNING - 3 images cannot be read: <script>alert(1)</script>
    second line
2026-11-29 19:42:02,283 - mmssl - INFO - go on
2026-11-29 19:43:02,283 - mmssl - WARNING - collapsed
2026-11-29 19:44:02,283 - mmssl - WARNING - collapsed
'''


def make_run(folder, epochs=4, of=None, changes=None):
    """Logs and config of a run, as they stand in its folder."""
    folder.mkdir(exist_ok=True)
    (folder / '20261129_194200_small.py').write_text(CONFIG.format(epochs=of or epochs))
    (folder / '20261129_194200.log').write_text(LOG)
    rows = [{'env_info': 'x', 'seed': 0}]
    for epoch in range(1, epochs + 1):
        for i in (5, 10):
            rows.append(dict(mode='train', epoch=epoch, iter=i, lr=0.1 / epoch, memory=500, loss=4 / epoch,
                             loss_part=1 / epoch, time=0.5, data_time=0.05, img_per_sec=64., data_share=0.1,
                             effective_rank=10. + epoch))  # yapf: disable
            rows[-1].update((changes or {}).get((epoch, i), {}))
        rows.append(dict(mode='val', epoch=epoch, iter=10, lr=0.1, knn_top1=0.5 + 0.01 * epoch, knn_best=0.6))
    (folder / '20261129_194200.log.json').write_text('\n'.join(map(json.dumps, rows)) + '\n')
    return folder


def make_pictures(count=30, name='{}/{:02d}.png', labelled=True):
    """Pictures as ReportHook takes them, of random features."""
    rng = np.random.default_rng(0)
    labels = 3 * np.arange(count) // count if labelled else np.full(count, -1)
    features = rng.normal(size=(count, 16)) + 3 * labels[:, None]
    present = sorted(set(labels.tolist()))
    uri = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5E'
    gallery = dict(
        sprite=uri,
        tile=8,
        columns=6,
        size=[8, 8],
        names=[name.format('abc'[label % 3], i) for i, label in enumerate(labels)],
        labels=[present.index(label) for label in labels],
        classes=['abc'[label] if label >= 0 else 'unlabelled' for label in present],
        labelled=[label >= 0 for label in present],
        of=3 * count,
        queries=[0, 12, 25])
    return dict(
        gallery=gallery,
        first=dict(look(rng.normal(size=(count, 16)), labels, 0, 0, quick=True), points=None),
        now=look(features, labels, 40, 4, quick=True))


def text_of(page):
    """The words of a page, without its style and script."""
    page = re.sub(r'<(style|script).*?</\1>', ' ', page, flags=re.S)
    return ' '.join(html.unescape(re.sub(r'<[^>]+>', ' ', page)).split())


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_a_finished_run_with_everything(tmp_path):
    record = read_run(make_run(tmp_path / 'run'))
    assert (record.state, record.done, record.total, record.iteration) == ('finished', 4, 4, 40)
    page = run_page(record, make_pictures())
    text = text_of(page)
    for words in ('kNN accuracy 54.0 %', 'best 54.0 %, at first 51.0 %', 'Loss 1', 'Epochs done 4 of 4, iteration 40',
                  'Images a second 64', '10.0 % of the time waits', '2 warnings', '(2 times)', 'second line',
                  'batch size 32 fits <b>memory</b>', 'seed 0 given by you', 'After epoch 4', 'Before training',
                  'method SimCLR', 'network ResNet 18', 'optimizer SGD, lr 0.1'):  # yapf: disable
        assert words in text, words
    assert '<script>alert' not in page and '<b>memory' not in page
    assert page.count('<circle') == 30 and page.count('class="query"') == 3
    data = data_of(page)
    assert data['state'] == 'finished' and len(data['map']['neighbours']) == 30
    assert 'http' not in re.sub(r'data:image[^"]*', '', page).replace("startsWith('http')", '')  # it loads nothing


@pytest.mark.parametrize('epochs, of', [(1, 1), (1, 100), (2, 2)])
def test_short_runs(tmp_path, epochs, of):
    record = read_run(make_run(tmp_path / 'run', epochs, of))
    assert (record.done, record.total) == (epochs, of)
    assert 'NaN' not in run_page(record, {})


def test_values_too_large_for_a_chart(tmp_path):
    """They count as infinite; the others are drawn."""
    folder = make_run(tmp_path / 'run', 2, 2)
    losses = [1., 1e308, -1.7e308, 4e300, float('nan'), 2.]
    rows = [dict(mode='train', epoch=1, iter=i + 1, lr=1e308, loss=loss) for i, loss in enumerate(losses)]
    (folder / '20261129_194200.log.json').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    page = run_page(read_run(folder), {})
    text = text_of(page)
    assert '4 values are not finite' in text and 'Loss 2' in text
    assert 'All values are NaN or infinite' in text  # the learning rate
    assert 'inf' not in ''.join(re.findall(r' d="([^"]*)"', page))


def test_how_far_a_run_is_and_whether_somebody_trains(tmp_path):
    """Epochs that are over, the time left by the last iterations; the lock of a process tells, else the age of logs."""
    folder = make_run(tmp_path / 'run', 2, 5)
    log, lock = folder / '20261129_194200.log.json', folder / LOCK
    log.write_text(log.read_text() + json.dumps(dict(mode='train', epoch=3, iter=5, lr=0.1, loss=1., time=0.5)) + '\n')
    record = read_run(folder)
    assert (record.state, record.done, record.total, record.iteration) == ('running', 2, 5, 25)
    assert record.seconds_left == pytest.approx(25 * 0.5)
    lock.write_text(f'process 4194999 on {socket.gethostname()}, started long ago')  # no process has such a number
    assert read_run(folder).state == 'stopped'
    for file in (log, folder / '20261129_194200.log'):
        os.utime(file, (1, 1))
    lock.unlink()
    record = read_run(folder)
    assert (record.state, record.done, record.seconds_left) == ('stopped', 2, None)


def test_losses_that_are_no_numbers(tmp_path):
    changes = {(2, 5): dict(loss=math.nan), (2, 10): dict(loss=math.inf), (3, 5): dict(lr=math.nan)}
    page = run_page(read_run(make_run(tmp_path / 'run', changes=changes)))
    assert '2 values are not finite' in text_of(page)
    chart = next(chart for chart in data_of(page)['charts'] if chart['y'][0] == 4)
    assert chart['y'][2:4] == [None, None]
    line = re.search(r'class="line l0" d="([^"]+)"', page)[1]
    assert line.count('M') == 2 and 'nan' not in page.lower().split('<body>')[1].split('"data">')[0].replace(
        'nan or', '').replace('finance', '')


def test_a_run_of_long_ago_has_its_curves_and_one_of_nothing_is_refused(tmp_path):
    folder = make_run(tmp_path / 'run')
    (folder / '20261129_194200_small.py').write_text('model = nonsense(')
    record = read_run(folder)
    text = text_of(run_page(record))
    assert record.cfg == {} and 'Loss 1' in text and '3 warnings 20261129_194200_small.py cannot be read' in text
    (folder / '20261129_194200.log.json').write_text('{"mode": 1}\nnonsense\n')
    assert 'line 2 is no JSON' in text_of(run_page(read_run(folder)))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='neither a .*log.json nor a config'):
        read_run(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match='no such folder'):
        read_run(tmp_path / 'absent')


def test_names_that_are_hard_to_print(tmp_path):
    name = '{}\udcff"\'</script><script>alert(1)</script>{}'
    page = run_page(read_run(make_run(tmp_path / 'run')), make_pictures(name=name))
    page.encode()  # it is text
    assert '<script>alert' not in page
    assert data_of(page)['map']['names'][3].endswith('alert(1)</script>3')


def test_without_labels_and_without_a_map(tmp_path):
    record = read_run(make_run(tmp_path / 'run'))
    page = run_page(record, make_pictures(labelled=False))
    assert 'of the same class' not in page and 'data-class="' not in page and page.count('class="plain"') == 1
    pictures = make_pictures(3)
    pictures['gallery'].update(queries=[0, 1])
    assert '3 images are too few for a map' in text_of(run_page(record, pictures))
    assert 'There are no pictures: gone' in text_of(run_page(record, dict(note='There are no pictures: gone')))


def test_a_network_that_has_diverged_or_collapsed(tmp_path):
    record, pictures = read_run(make_run(tmp_path / 'run')), make_pictures()
    labels = np.arange(30) // 10
    for features, words in ((np.full((30, 4), np.nan), 'has diverged'), (np.ones((30, 4)), 'has collapsed')):
        now = look(features, labels, 5, quick=True)
        assert now['points'] is None and words in now['note']
        assert words in text_of(run_page(record, dict(pictures, now=now)))


def test_ticks_are_round_and_within():
    rng = np.random.default_rng(0)
    for low, high in np.sort(rng.normal(size=(50, 2)) * 10.**rng.integers(-6, 6, (50, 1))):
        found = run_charts.ticks(low, high)
        assert 2 <= len(found) <= 11 and low <= found[0] and found[-1] <= high * (1 + 1e-9) + 1e-12
        words = [run_charts._tick(t, run_charts._digits(found)) for t in found]
        assert len(set(words)) == len(words), (found, words)


def test_a_long_curve_is_thinned_to_means(tmp_path):
    x, y = run_charts._thinned(list(range(1000)), [float(i % 3) for i in range(1000)])
    assert len(x) == 334 and x[0] == 1. and y[:3] == [1., 1., 1.]
    assert math.isnan(run_charts._thinned(list(range(1000)), [math.nan] + [0.] * 999)[1][0])


def test_colours_can_be_read():
    """WCAG AA: 4.5 : 1 for words, 3 : 1 for lines and dots, in the light and in the dark."""
    from pathlib import Path
    style = Path(run_charts.__file__).with_name('run_page.css').read_text()
    light, dark = (
        dict(re.findall(r'--([\w-]+): (#\w{6})', part)) for part in re.findall(r':root \{(.*?)\}', style, re.S))

    def luminance(color):
        parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055)**2.4 for v in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(a, b):
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for theme in (light, dark):
        for ink in ('ink', 'muted', 'accent', 'bad', 'good'):
            for back in ('back', 'card'):
                assert contrast(theme[ink], theme[back]) >= 4.5, (ink, back)
        assert contrast(theme['warn'], theme['warn-back']) >= 4.5
        assert contrast(theme['muted'], theme['warn-back']) >= 4.5
        for line in ('l1', 'l2', 'l3', 'l4', 'l5'):
            assert contrast(theme[line], theme['card']) >= 3, line


def test_the_log_tells_where_a_resumed_run_is(tmp_path):
    log = TrainingLog(make_run(tmp_path / 'run'))
    assert [log.curve_position(row) for row in log.rows[:3]] == [5, 10, 10]

# Copyright (c) mmssl contributors. All rights reserved.
"""tools/analysis_tools/benchmark_recipes.py: cells, their budget, the table, and images that are made."""
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmcv import Config

from mmssl.benchmarks import photograph_tiles, recipes
from mmssl.benchmarks.photograph_tiles import make_tiles, photographs
from mmssl.utils.cpu_time import cpu_seconds


def cell(setting='digits', kind='fitted', knn=0.98, **changes):
    figures = dict(raw_pixels=0.9, random_init=0.85, pretrained=knn)
    ways = {name: dict(pooled=dict(knn=value, few_label=value / 2)) for name, value in figures.items()}
    ways['pretrained']['run'] = ways['random_init']['run'] = dict(knn=0.99, few_label=0.7)
    return dict(
        setting=setting,
        budget=120.,
        kind=kind,
        seed=0,
        method='vicreg',
        network='small',
        epochs=7,
        cpu=239.6,
        wall=130.4,
        figures=ways,
        **changes)


def test_finished_cells_are_kept(call_tool, tmp_path):
    """Nothing is trained where all cells are there; the table has them, and what is below random weights is said."""
    for kind, knn in dict(fitted=0.98, fixed=0.8).items():
        (tmp_path / f'digits_120s-cpu_{kind}_seed0.json').write_text(json.dumps(cell(kind=kind, knn=knn)))
    done = call_tool('tools/analysis_tools/benchmark_recipes.py', '--settings', 'digits', '--out', tmp_path)
    row = '| digits | 2 min | fitted: vicreg, small | {} | 7 | 240 | 130 | {} | {} |'
    assert row.format('pooled', '90.0, 85.0, **98.0**', '45.0, 42.5, **49.0**') in done.stdout
    assert row.format('run', '90.0, 85.0, **99.0**',
                      '45.0, 42.5, **70.0**').replace('85.0', '99.0').replace('42.5', '70.0') in done.stdout
    below = [line for line in done.stdout.splitlines() if line.startswith('below')]
    assert below == [
        'below random weights: digits, fixed, 2 min, pooled: knn 80.0 < 85.0',
        'below random weights: digits, fixed, 2 min, pooled: few_label 40.0 < 42.5'
    ]
    kept = dict(color_jitter='false')
    (tmp_path / 'digits_120s-cpu_fitted_seed0_color_jitter=false.json').write_text(
        json.dumps(cell(knn=0.97, fixed=kept)))
    done = call_tool('tools/analysis_tools/benchmark_recipes.py', '--settings', 'digits', '--out', tmp_path, '--set',
                     'color_jitter=false')
    assert 'fitted, color_jitter=false: vicreg, small | pooled' in done.stdout and '**97.0**' in done.stdout
    assert 'digits | 2 min | fixed: vicreg' in done.stdout  # on which the settings have no bearing
    failed = call_tool(
        'tools/analysis_tools/benchmark_recipes.py', '--settings', 'clothes', '--out', tmp_path, check=False)
    assert failed.returncode == 1 and "there is no setting 'clothes'" in failed.stderr


def test_a_failed_cell_is_told():
    found = recipes.table([dict(setting='digits', budget=60., kind='fixed', seed=0, error='no memory'), cell()])
    assert '| digits | 1 min | fixed | failed: no memory |' in found and found.count('\n') == 4
    assert '| fitted, seed 2: vicreg' in recipes.table([dict(cell(), seed=2)])
    columns = {line.count('|') for line in found.splitlines()}
    assert len(columns) == 1  # it is a table


@pytest.mark.slow
def test_the_budget_is_kept(tmp_path):
    """Half a minute of processor time on digits, by the chosen recipe: within a fifth of it, and better than random."""
    found = recipes.run(['digits'], [15.], tmp_path, print, ['fitted'])[0]
    assert found['cpu'] == pytest.approx(30, rel=0.2)
    assert found['figures']['pretrained']['run']['knn'] > found['figures']['random_init']['run']['knn']


def test_epochs_of_a_budget(monkeypatch):
    """Two seconds of processor time for each second of the budget, or seconds by the clock."""
    monkeypatch.setattr('mmssl.recipes.measure.measure', lambda cfg: SimpleNamespace(cpu=0.5, iteration=0.4))
    monkeypatch.setattr('mmssl.datasets.build_dataset', lambda cfg: range(105))
    for budget_of, last, expected, warmup in (('cpu', True, (10, 24), 24), ('wall', True, (10, 15), 15),
                                              ('wall', False, (11, 14), 15)):
        data = dict(samples_per_gpu=10, drop_last=last, train={})
        cfg = Config(dict(data=data, lr_config=dict(warmup_iters=1000)))
        assert recipes._fit_epochs(cfg, 60, budget_of) == expected
        assert (cfg.runner.max_epochs, cfg.lr_config.warmup_iters) == (expected[1], warmup)


def test_processor_time():
    """It grows by what a child takes, and a child of it that has ended, and not while nothing is done."""
    busy = 'import time\nwhile time.process_time() < 0.15: pass\n'
    busy = f'import subprocess, sys\nsubprocess.run([sys.executable, "-S", "-c", {busy!r}])\n{busy}' \
        'print(flush=True)\ntime.sleep(60)'
    start = cpu_seconds()
    with subprocess.Popen([sys.executable, '-S', '-c', busy], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        lives = cpu_seconds() - start
        child.kill()
    ended = cpu_seconds() - start
    assert 0.25 < lives < 1 and 0.25 < ended < 1
    start = cpu_seconds()
    time.sleep(0.3)
    assert cpu_seconds() - start < 0.2


def test_photographs_in_tiles(tmp_path, monkeypatch):
    """Tiles of the test and of the training are different parts of the same photographs; bands are made of them."""
    pytest.importorskip('skimage')
    images = {name: image for name, image in photographs().items() if name in ('astronaut', 'rocket')}
    monkeypatch.setattr(photograph_tiles, 'photographs', lambda: images)
    folder = make_tiles(tmp_path / 'tiles')
    seen = {part: sorted((folder / part / 'astronaut').glob('*.png')) for part in ('train', 'test')}
    assert len(seen['train']) == 48 and len(seen['test']) == 16
    covered = np.zeros((8, 8), int)
    for paths in seen.values():
        for path in paths:
            row, column = map(int, path.stem.split('-'))
            covered[row, column] += 1
            tile = images['astronaut'][64 * row:64 * row + 64, 64 * column:64 * column + 64]
            np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], tile)
    assert (covered == 1).all()
    assert make_tiles(tmp_path / 'tiles') == folder
    tile = np.load(make_tiles(tmp_path / 'bands', bands=True) / 'train/rocket/00-01.npy')
    assert tile.shape == (64, 64, 13) and tile.dtype == np.uint16

"""The comparison of students, on digits that stand in the files of Fashion-MNIST."""
import json
import logging
import math
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl.benchmarks.distillation import ProcessorTimeHook
from mmssl.datasets.data_sources import Digits
from mmssl.models import build_algorithm
from mmssl.utils.config import load_config
from mmssl.utils.logger import get_root_logger

TOOL = 'tools/analysis_tools/compare_distillation.py'


@pytest.fixture
def clothes(tmp_path):
    """300 training images and 100 test images, enlarged to 28 x 28 pixels."""
    source = Digits(color_type='grayscale')
    images = np.kron(source.samples.reshape(-1, 8, 8)[:400, 1:, 1:], np.ones((1, 4, 4))).astype(np.uint8)
    for part, chosen in (('train', slice(300)), ('t10k', slice(300, 400))):
        for name, array in ((f'{part}-images-idx3-ubyte', images[chosen]),
                            (f'{part}-labels-idx1-ubyte', np.asarray(source.labels)[:400][chosen].astype(np.uint8))):
            header = np.array([0x800 + array.ndim, *array.shape], '>i4').tobytes()
            (tmp_path / name).write_bytes(header + array.tobytes())
    return tmp_path


@pytest.mark.long
def test_students_of_a_teacher(clothes, capsys, monkeypatch):
    few = {'demo.train.data_source.num_images': None, 'demo.test.data_source.num_images': None}
    monkeypatch.setattr('mmssl.benchmarks.distillation.load_config', lambda path: load_config(path, few))
    torch.manual_seed(0)
    teacher = build_algorithm(load_config('configs/demo/simclr_fashion-mnist.py').model)
    teacher.init_weights()
    torch.save(dict(state_dict=teacher.state_dict()), clothes / 'teacher.pth')
    out = clothes / 'table.json'
    # in this process, which has another load_config, and keeps its threads and its log as they are
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: None)
    for handler in [*get_root_logger().handlers, *logging.getLogger('mmcv').handlers]:
        monkeypatch.setattr(handler, 'level', handler.level)
    monkeypatch.setattr(sys, 'argv', [
        TOOL, *map(str, (clothes / 'teacher.pth', '--trainings', 'simreg-stored', 'seed', '--seconds', '0.3',
                         '--data-prefix', clothes, '--work-dir', clothes / 'work', '--out', out))
    ])
    runpy.run_path(TOOL)['main']()
    rows = json.loads(out.read_text())['rows']
    assert [row['name'] for row in rows] == ['teacher', 'random weights', 'simreg-stored', 'seed']
    assert rows[0]['parameters'] == pytest.approx(4 * rows[1]['parameters'], rel=0.01)
    assert len({row['parameters'] for row in rows[1:]}) == 1
    for row in rows:
        assert all(0.1 < row[key] < 1 for key in ('few_label', 'knn', 'linear'))
        assert (row['images'] >= 256 and row['seconds'] >= 0.3) == (row in rows[2:])
    printed = capsys.readouterr().out
    assert f'| seed | {rows[3]["parameters"]:,} | {rows[3]["images"]:,} | {rows[3]["seconds"]:.0f} | ' in printed
    # the features that were stored are those of the teacher, for each image of the training
    assert len(np.load(clothes / 'work' / 'features' / 'train_pooled.npy')) == 300


def test_the_time_ends_a_training(monkeypatch):
    now = [7.]
    monkeypatch.setattr('mmssl.benchmarks.distillation.time.process_time', lambda: now[0])
    runner = SimpleNamespace(
        optimizer=SimpleNamespace(param_groups=[dict(lr=0.4), dict(lr=0.2)]), iter=0, _max_iters=10**6)
    hook = ProcessorTimeHook(seconds=10)
    hook.before_run(runner)
    rates = []
    while runner.iter < runner._max_iters:
        hook.before_train_iter(runner)
        rates.append([group['lr'] for group in runner.optimizer.param_groups])
        now[0] += 2.5
        hook.after_train_iter(runner)
        runner.iter += 1
    assert len(rates) == 4
    for i, (first, second) in enumerate(rates):
        assert first == 2 * second
        assert first == pytest.approx(0.4 * (i > 0) * (1 + math.cos(math.pi * i / 4)) / 2)


def test_unknown_name(call_tool):
    done = call_tool(TOOL, 'teacher.pth', '--trainings', 'alchemy', check=False)
    assert done.returncode == 2
    assert "unknown training 'alchemy'; there are mocov2, seed, simclr, simreg, simreg-stored" in done.stderr

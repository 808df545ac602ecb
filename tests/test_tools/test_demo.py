"""The demo from end to end, shortened to one small epoch."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from mmssl.datasets.data_sources import Digits
from mmssl.evaluation import few_label, knn

ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    'configs/demo/simclr_digits.py', '--seed', '3', '--cfg-options', 'runner.max_epochs=2', 'data.samples_per_gpu=64',
    'data.train.data_source.num_images=128', 'model.backbone.stem_channels=4', 'model.backbone.base_channels=4',
    'model.neck.in_channels=32', 'custom_hooks.0.interval=1', 'log_config.interval=1', 'demo.test.pipeline=[]',
    'demo.train.pipeline=[]'
]


def test_interrupted_and_repeated(call_tool, tmp_path):
    """An interrupted demo leaves no result, also none of an earlier one; the next run starts afresh and ends."""
    for name in ('metrics.json', 'tsne.png'):
        (tmp_path / name).write_text('of an earlier run')
    process = subprocess.Popen(
        [sys.executable, 'tools/demo.py', *SHORT, 'runner.max_epochs=9999', '--work-dir', tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            **os.environ, 'PYTHONUNBUFFERED': '1'
        })
    for _ in range(600):
        logs = list(tmp_path.glob('*.log.json'))
        if logs and 'loss' in logs[0].read_text():
            break
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.1)
    process.terminate()
    process.wait(20)
    assert not list(tmp_path.glob('*.png')) and not (tmp_path / 'metrics.json').exists()

    done = call_tool('tools/demo.py', *SHORT, '--work-dir', tmp_path)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    kinds = {'raw_pixels', 'random_init', 'pretrained'}
    assert set(metrics) == {'few_label', 'knn', 'train_seconds'} and metrics['train_seconds'] > 0
    for task in ('few_label', 'knn'):
        assert set(metrics[task]) == kinds and all(0.1 < value <= 1 for value in metrics[task].values())
        for value in metrics[task].values():
            assert f'{100 * value:.1f} %' in done.stdout

    # raw pixels, computed without the demo
    bank, test = Digits(color_type='grayscale'), Digits(color_type='grayscale', test_mode=True)
    x, x_test = (source.samples.reshape(len(source), -1) / 255 for source in (bank, test))
    few = few_label.run(x, bank.labels, x_test, test.labels)['mean']
    assert metrics['few_label']['raw_pixels'] == pytest.approx(
        few, abs=2 / 360) and few == pytest.approx(
            0.90, abs=0.02)
    assert metrics['knn']['raw_pixels'] == knn.run(x, bank.labels, x_test, test.labels, k=20)['k20_T0.07_top1']

    for name in ('views', 'loss', 'tsne', 'neighbours'):
        with Image.open(tmp_path / f'{name}.png') as picture:
            assert picture.width > 600 and picture.height > 300
            assert len(picture.convert('RGB').getcolors(2**24)) > 50  # not blank

"""Schedules drawn from a config, and those of a training with it."""
import csv
import json
from pathlib import Path

import pytest
from PIL import Image

TOOL = 'tools/analysis_tools/plot_schedule.py'
CONFIG = """
_base_ = {base!r}
data = dict(samples_per_gpu=16, workers_per_gpu=0, train=dict(data_source=dict(num_images=384)))
auto_scale_lr = dict(base_batch_size=48)  # a step has 16 images x 2 processes x 3: all rates are doubled
lr_config = dict(
    _delete_=True,
    policy='CosineAnnealing',
    min_lr=0.03,
    by_epoch=False,
    warmup='linear',
    warmup_iters=1,
    warmup_by_epoch=True,
    schedules=dict(head=dict(policy='Composite', parts=[
        dict(type='step', values=[0.2, 0.1], milestones=[1], epochs='rest')])))
optimizer = dict(paramwise_options={{'head': dict(lr=0.2, schedule='head')}})
custom_hooks = [
    dict(type='BYOLHook', update_interval=3),
    dict(type='ScheduleHook', target='optimizer.weight_decay', start=1e-6, end=1e-5),
]
runner = dict(max_epochs=2)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook')])
"""


@pytest.mark.long
def test_a_training_does_what_is_drawn(call_tool, tmp_path):
    base = Path(__file__).resolve().parents[1] / 'configs' / 'digits_byol.py'
    config = tmp_path / 'schedules.py'
    config.write_text(CONFIG.format(base=str(base)))
    call_tool('tools/train.py', config, '--work-dir', tmp_path / 'run', processes=2)
    log, = (tmp_path / 'run').glob('*.log.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    trained = [line['lr'] for line in lines if line.get('mode') == 'train']
    drawn = call_tool(TOOL, config, '--out', tmp_path / 'x.json', '--world-size', 2).stdout
    found = json.loads((tmp_path / 'x.json').read_text())
    assert len(trained) == len(found['iterations']) == 2 * found['iterations_per_epoch'] > 10
    curves = {(curve['name'], *curve['parts']): curve['values'] for curve in found['curves']}
    assert curves['lr', 'backbone', 'neck'] == pytest.approx(trained, abs=1e-5)  # the log has five places
    length = found['iterations_per_epoch']
    assert curves['lr', 'head'] == pytest.approx([.4] * length + [.2] * length)
    assert curves['weight_decay', 'backbone', 'neck', 'head'][-1] == pytest.approx(1e-5, rel=.1)
    assert curves[
        'model.momentum',
    ][0] == .9
    # the log of the training says the same at its start
    said = next(tmp_path.glob('run/*.log')).read_text()
    assert all(line in said for line in drawn.splitlines()[1:-1]) and 'lr of head: 0.4 at first, 0.2 at last' in said
    assert '3 of them a step, which has 96 images' in said

    call_tool(TOOL, config, '--out', tmp_path / 'x.csv', '--world-size', 4, '--points', 7)
    with open(tmp_path / 'x.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) < length and rows[0]['epoch'] == '0.0'
    assert float(rows[0]['lr backbone neck']) == pytest.approx(2 * curves['lr', 'backbone', 'neck'][0])  # twice as many

    # no data: the length of an epoch is given, or assumed with a word
    call_tool(TOOL, config, '--out', tmp_path / 'x.png', '--iterations-per-epoch', 1000)
    assert min(Image.open(tmp_path / 'x.png').size) > 500
    recipe = 'configs/selfsup/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'
    out = call_tool(TOOL, recipe, '--out', tmp_path / 'y.json', '--points', 10, cwd=tmp_path).stdout
    assert '100 iterations an epoch are assumed' in out and 'lr of backbone, neck: 0.03 at first' in out
    assert '--out ends with' in call_tool(TOOL, recipe, '--out', 'y.txt', check=False).stderr

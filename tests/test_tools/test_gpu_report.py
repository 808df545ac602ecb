"""tools/analysis_tools/gpu_report.py on the CPU: all of its rows, and what it does without time or memory."""
import gzip
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mmssl.benchmarks import gpu_report
from mmssl.models import build_backbone
from mmssl.utils import recording
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

TOOL = 'tools/analysis_tools/gpu_report.py'
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def test_tool(run_tool, tmp_path):
    done = run_tool(
        TOOL, '--device', 'cpu', '--small', '--workers', 1, '--batch-size', 2, '--out', 'report', cwd=tmp_path)
    found = json.loads((tmp_path / 'report' / 'report.json').read_text())
    assert found['environment']['device'] == 'cpu' and found['skipped'] == []
    assert not any('error' in row for table in ('rows', 'recordings', 'data') for row in found[table])
    rows = {(row['algorithm'], row['variant']): row for row in found['rows']}
    assert set(rows) == {(name, variant)
                         for name in gpu_report.SMALL
                         for variant in ('the batch that fits', *gpu_report.VARIANTS[:-1])}
    for (_, variant), row in rows.items():
        if variant != 'the batch that fits':
            assert row['images_per_second'] == pytest.approx(2000 / row['milliseconds'])
    for row in found['recordings']:
        trace = json.loads(gzip.open(tmp_path / 'report' / row['trace']).read())
        steps = [e for e in trace['traceEvents'] if e.get('name', '').startswith('ProfilerStep#') and e['ph'] == 'X']
        assert len(steps) == 3
        assert row['milliseconds'] == pytest.approx(sum(step['dur'] for step in steps) / 3000, rel=0.05)
        parts = [row['shares'][part] for part in ('networks', 'ema', 'optimizer', 'logging', 'loss_and_rest')]
        assert sum(parts) == pytest.approx(1) and row['operations'][0]['share'] > 0
    assert [row['colour_steps'] for row in found['data']] == ['workers', 'device']
    assert all(0 <= row['share_of_data_wait'] < 1 for row in found['data'])
    for heading in gpu_report.HEADINGS.values():
        assert heading in done.stdout


def report(tmp_path, minutes=6., variants=('float32', 'bfloat16+channels_last+compile')):
    rows = []
    made = gpu_report.Report(CONFIGS, tmp_path, lambda found, table, row: rows.append(row), minutes, gpu_report.SMALL,
                             variants, (1, ), None, 8, 0.01)
    return made, rows


def test_without_time_and_without_memory(tmp_path, monkeypatch):
    made, rows = report(tmp_path, minutes=0.)
    found = made.run()
    assert found['rows'] == [] and rows == [None]
    assert [words.split(':')[0] for words in found['skipped']
            ] == [f'algorithm {name}, variant the batch that fits' for name in gpu_report.SMALL]
    assert all(words.endswith(': no time was left') for words in found['skipped'])

    class Small(gpu_report.Subject):  # room for four images, and for none in the variants behind the first

        def step(self, variant):
            if self.batch_size > 4 or 'compile' in variant:
                raise torch.OutOfMemoryError('CUDA out of memory')
            if variant == gpu_report.FASTEST:
                raise RuntimeError('no kernel')
            return super().step(variant)

    monkeypatch.setattr(gpu_report, 'Subject', Small)
    monkeypatch.setattr(gpu_report, '_COMPILING', 0)
    made, rows = report(tmp_path)
    found = made.run()
    assert [row['batch_size'] for row in found['rows']] == [4] * 6
    assert [row.get('error') for row in found['rows']] == [None] * 4 + ['out of memory'] * 2
    assert all('RuntimeError: no kernel' in row['error'] for row in found['recordings'])
    assert found['skipped'] == ['waits for data: there is no figure of MoCo v2 in bfloat16+channels_last']
    assert gpu_report.line('rows', found['rows'][-1]).endswith('out of memory')


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['gpu_report.py'])
    with pytest.raises(ConfigError, match='no GPU here that torch can use; --device cpu --small tries'):
        runpy.run_path(str(CONFIGS.parent / TOOL))['main']()


@pytest.mark.parametrize('name', gpu_report.ALGORITHMS)
def test_the_algorithms_of_the_report(name):
    file, changes = gpu_report.ALGORITHMS[name]
    cfg, plain = (load_config(CONFIGS / file, options) for options in (changes, {}))
    assert cfg.data.train.prefetch and (cfg.model != plain.model) == bool(changes)
    assert gpu_report.image_size(cfg) == 224
    if changes:  # the decoder fits the smaller encoder
        assert build_backbone(cfg.model.backbone).embed_dims == cfg.model.neck.embed_dim == 384


def test_lines_that_wait(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_sync_debug_mode', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)
    code = ("import warnings\ndef forward():\n    inner()\n\n\ndef other():\n    warnings.warn('no matter')\n")
    outside = "import warnings\ndef inner():\n    warnings.warn('called a synchronizing CUDA operation')\n"
    names = {}
    exec(compile(outside, '/site-packages/torch/functional.py', 'exec'), names)
    exec(compile(code, '/here/mmssl/models/part.py', 'exec'), names)
    with recording.waiting_lines() as found:
        names['forward']()
        names['forward']()
        names['other']()
    assert found == {('mmssl/models/part.py', 'forward', 3): 2} and modes == ['warn', 0]

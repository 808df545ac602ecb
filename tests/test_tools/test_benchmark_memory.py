"""tools/analysis_tools/benchmark_memory.py: both forms of a step do the same, and the figures are consistent."""
import json

import pytest
import torch

from mmssl.benchmarks.memory import measure_memory
from mmssl.utils.errors import ConfigError


def test_tool(call_tool, tmp_path):
    done = call_tool('tools/analysis_tools/benchmark_memory.py', '--length', 300, '--feat-dim', 8, '--batch-size', 4,
                     '--neg-num', 20, '--iters', 1, '--out', tmp_path / 'found.json')
    found = json.loads((tmp_path / 'found.json').read_text())
    assert list(found['steps']) == ['draw', 'score', 'update'] and 'length 300, feat_dim 8' in done.stdout
    for name, step in found['steps'].items():
        assert step['ratio'] == pytest.approx(step['plain'] / step['seconds'])
        assert f'\n{name} ' in done.stdout


@pytest.mark.parametrize('neg_num', [20, 200])
def test_both_forms_give_the_same(neg_num):
    """By the entries and by the whole bank; ours is as near to float64 as float32 goes."""
    found = measure_memory(300, 8, 4, neg_num, 1, torch.device('cpu'))
    assert found['score']['error'] < 1e-6 and found['score']['plain_error'] < 1e-4
    assert found['update']['error'] < 1e-6 and found['update']['plain_error'] < 1e-6


def test_a_batch_that_is_larger_than_the_bank():
    with pytest.raises(ConfigError, match='a batch of 32 different images needs a bank of as many entries, got 30'):
        measure_memory(30, 8, 32, 20, 1, torch.device('cpu'))

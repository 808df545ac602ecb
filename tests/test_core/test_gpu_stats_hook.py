"""Figures of GPUs from an nvidia-smi that answers as a real one does, fails, hangs, or is not there."""
import os
from types import SimpleNamespace

import pytest

from mmssl.core.hooks.gpu_stats_hook import GPUStatsHook, query
from mmssl.utils.errors import ConfigError

ANSWER = '''#!/bin/sh
echo "$*" > asked
echo "0, NVIDIA H200, 97, 61234, 143771, 54, 612.35, 1980"
echo "1, NVIDIA H200, 0, 4, 143771, [N/A], [Not Supported], 345"
'''


@pytest.fixture
def smi(tmp_path, monkeypatch):

    def install(script):
        path = tmp_path / 'nvidia-smi'
        path.write_text(script)
        path.chmod(0o755)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    return install


def _runner(lines, rank=0):
    logger = SimpleNamespace(info=lambda text, *args: lines.append(text % args))
    return SimpleNamespace(rank=rank, iter=0, hooks=[], logger=logger)


def test_what_nvidia_smi_tells(smi, tmp_path):
    smi(ANSWER)
    assert query() == {
        '0 NVIDIA H200': {'busy %': 97, 'memory MB': 61234, 'of MB': 143771, 'degrees C': 54, 'W': 612.35, 'MHz': 1980},
        '1 NVIDIA H200': {'busy %': 0, 'memory MB': 4, 'of MB': 143771, 'MHz': 345}
    }  # yapf: disable
    assert 'power.draw' in (tmp_path / 'asked').read_text()
    lines = []
    runner = _runner(lines)
    hook = GPUStatsHook(start=3, interval=5)
    hook.before_run(runner)
    for runner.iter in range(12):
        hook.after_train_iter(runner)
    assert [line.partition(': ')[0] for line in lines] == [
        f'GPU {i} NVIDIA H200 {when}'
        for when in ('at the start', 'in iteration 3', 'in iteration 5', 'in iteration 10') for i in (0, 1)
    ]
    assert 'busy % 97, memory MB 61234' in lines[0]


@pytest.mark.parametrize('script, message', [('#!/bin/sh\necho No devices were found; exit 6', 'No devices were found'),
                                             ('#!/bin/sh\nsleep 9', 'does not answer within 0.2 s')])
def test_without_answers(smi, script, message, monkeypatch):
    smi(script)
    with pytest.raises(OSError, match=message):
        query(timeout=0.2)


def test_without_a_gpu(monkeypatch, tmp_path):
    """Said once, and nothing is asked again; other processes say nothing."""
    monkeypatch.setenv('PATH', str(tmp_path))
    for rank, expected in ((0, ['No figures of GPUs: there is no nvidia-smi']), (1, [])):
        lines = []
        runner = _runner(lines, rank)
        hook = GPUStatsHook(start=1, interval=1)
        hook.before_run(runner)
        hook.after_train_iter(runner)
        assert lines == expected
    with pytest.raises(ConfigError, match='GPUStatsHook.start is at least 1, got 0'):
        GPUStatsHook(start=0)

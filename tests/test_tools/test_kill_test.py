"""The tool that hits trainings; what it hits is tested in test_stop.py and test_watchdog.py."""
import runpy
from pathlib import Path

import pytest

from mmssl.benchmarks.failures import KINDS, KillTest, summarize

CONFIG = Path(__file__).resolve().parents[2] / 'tests/configs/digits_moco.py'


def outcome(status, seconds=1., **more):
    return dict(
        dict(late=False, status=status, seconds=seconds, named=True, checkpoint=True, equal=True, left=0), **more)


def test_summary():
    rows, headings = summarize(dict(kill=[outcome(-9), outcome(-9, 3.), outcome(None, 2., equal=False, left=2)]))
    assert rows == [['kill', 3, 0, '2 x -9, 1 x hung', 2., 3., 3, 3, 2, 2]] and len(rows[0]) == len(headings)


def test_unknown_kind(call_tool):
    done = call_tool('tools/analysis_tools/kill_test.py', CONFIG, '--kinds', 'kil', check=False)
    assert done.returncode == 1 and "error: --kinds kil: did you mean 'kill'?" in done.stderr


def test_config_of_the_clone_from_another_folder(tmp_path, monkeypatch):
    configs = []

    class Noted(KillTest):

        def __init__(self, config, *args):
            configs.append(config)

        def one(self, kind, number):
            return outcome(-9)

    monkeypatch.setattr('mmssl.benchmarks.failures.KillTest', Noted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['kill_test.py', 'tests/configs/digits_moco.py', '--kinds', 'kill', '--times', '1'])
    runpy.run_path(str(CONFIG.parents[2] / 'tools/analysis_tools/kill_test.py'))['main']()
    assert configs == [CONFIG]


@pytest.mark.slow
def test_each_kind_once(tmp_path):
    """All but the restarts of torchrun, which need new interpreters."""
    test = KillTest(CONFIG, tmp_path, ['data.workers_per_gpu=0'], timeout=3.)
    for kind in set(KINDS) - {'restart'}:
        found = test.one(kind, 1)
        assert found['equal'] and found['left'] == 0 and found['status'] is not None, (kind, found)

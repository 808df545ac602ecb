"""The benchmark of SVMs compares like with like; its times are not tested."""
import json

import pytest


def test_same_precision(run_tool, tmp_path):
    done = run_tool('tools/analysis_tools/benchmark_svm.py', 'configs/demo/simclr_digits.py', '--layers', 'pixels',
                    '--out', tmp_path / 'out.json', '--cfg-options', 'data.train.data_source.num_images=300',
                    'data.val.data_source.num_images=150')  # yapf: disable
    found = json.loads((tmp_path / 'out.json').read_text())['layers']['pixels']
    assert found['mAP']['ours'] == pytest.approx(found['mAP']['one_after_another'], abs=0.01) and found['ratio'] > 0
    assert 'one after another' in done.stdout + done.stderr

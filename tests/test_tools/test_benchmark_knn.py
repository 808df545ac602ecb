"""The benchmark of nearest neighbours compares like with like; its times are not tested."""
import json

import numpy as np
from sklearn.datasets import load_digits


def test_same_neighbours(run_tool, call_tool, tmp_path):
    pixels = load_digits().data.astype(np.float32)
    np.save(tmp_path / 'train_pixels.npy', pixels[:1200])
    np.save(tmp_path / 'val_pixels.npy', pixels[1200:])
    tool = 'tools/analysis_tools/benchmark_knn.py'
    done = run_tool(tool, '--features', tmp_path, '--layer', 'pixels', '--k', 5, 50, '--repeat', 1, '--out',
                    tmp_path / 'out.json')  # yapf: disable
    found = json.loads((tmp_path / 'out.json').read_text())
    assert (found['bank'], found['queries'], found['dims']) == (1200, 597, 64)
    ways = [row['way'] for row in found['results']]
    assert ways.count('mmssl') == 2 and ways.count('scikit-learn, brute') == 2
    for row in found['results']:
        assert row['seconds'] > 0 and row['way'] in done.stdout
        if row['way'] != 'float32 product alone':
            assert row['same'] > 0.99 and row['difference'] < 1e-6
    done = call_tool(tool, '--features', tmp_path, '--layer', 'neck', check=False)
    assert done.returncode == 1 and 'there is no' in done.stderr and 'Traceback' not in done.stderr

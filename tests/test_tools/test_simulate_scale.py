import json


def test_simulated_samples(run_tool, tmp_path):
    """The whole way to batches, and what the tool tells of it."""
    out = run_tool('tools/analysis_tools/simulate_scale.py', '--samples', 30_000, '--shards', 7, '--workers', 1,
                   '--batches', 20, '--folder', tmp_path, '--out', tmp_path / 'out.json', '--window', 2)
    assert 'WARNING' not in out.stdout + out.stderr  # all that lies there is in the index
    out = out.stdout
    result = json.loads((tmp_path / 'out.json').read_text())
    assert result['samples'] == 30000 and 30000 * 34 < result['index_bytes'] < 30000 * 40
    assert 'The large index has 1 MB' in out and [p.name for p in tmp_path.iterdir()] == ['out.json']
    large, small = result['large'], result['small']
    assert large['start'] < 10 and large['middle'] < 10 and large['files'] <= small['files'] + 8
    # what is no part of a file: next to nothing, whatever the index
    assert abs(large['later']['own'] - small['later']['own']) < 30e6 < small['later']['all']

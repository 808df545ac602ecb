"""The comparison of algorithms, shortened."""
import json

import mmcv
import pytest

from mmssl.datasets.data_sources import Digits
from mmssl.evaluation import few_label

COLUMNS = {
    'algorithm', 'images_per_second', 'loss_first', 'loss_last', 'few_label_random', 'few_label_pretrained',
    'knn_random', 'knn_pretrained', 'feature_std', 'effective_rank', 'layer', 'seconds'
}


def test_every_algorithm_takes_part():
    """Each algorithm with recipes has a config; all share the budget, and those of a kind of network its settings.

    But ClusterFit and distillations have none: they learn from another network, which has to be trained before.
    """
    from pathlib import Path
    root = Path(__file__).resolve().parents[2] / 'configs'
    configs = {p.stem: mmcv.Config.fromfile(str(p)) for p in (root / 'demo' / 'compare').glob('[!_]*.py')}
    published = {p.name for p in (root / 'selfsup').glob('[!_]*')}
    named = {{'interclr-moco': 'interclr'}.get(n, n).replace('-', '_') for n in configs}
    assert named >= published - {'clusterfit', 'seed', 'simreg', 'dense_distillation', 'relational_distillation'}
    transformers = {name for name, cfg in configs.items() if 'arch' in cfg.model.backbone} - {'simmim'}
    assert transformers >= {'mae', 'cae', 'maskfeat', 'mocov3'}
    for kind in (set(configs) - transformers - {'simmim'}, transformers):
        size = ('depth', 'strides', 'stem_channels', 'base_channels', 'arch', 'img_size', 'patch_size', 'in_channels')
        shared = [{k: v for k, v in configs[name].model.backbone.items() if k in size} for name in kind]
        assert all(backbone == shared[0] for backbone in shared) and 'in_channels' in shared[0]
    assert {configs[name].model.backbone.type for name in set(configs) - transformers - {'simmim'}} == {'ResNet_CIFAR'}
    assert len({cfg.runner.max_epochs for cfg in configs.values()}) == 1


def test_from_the_command_line(run_tool, call_tool, tmp_path):
    """One epoch of 300 digits with two algorithms, of which one clusters."""
    out = tmp_path / 'table.json'
    done = run_tool('tools/analysis_tools/compare_algorithms.py', '--algorithms', 'rotation-pred', 'odc', '--epochs',
                    '1', '--num-images', '420', '--work-dir', tmp_path, '--out', out)
    rows = json.loads(out.read_text())['algorithms']
    assert [row['algorithm'] for row in rows] == ['rotation-pred', 'odc']
    for row in rows:
        assert set(row) == COLUMNS
        assert all(0.1 < row[f'{task}_{kind}'] < 1 for task in ('few_label', 'knn')
                   for kind in ('random', 'pretrained'))
        assert row['images_per_second'] > 0 and 0 < row['effective_rank'] < 128 and 0 < row['feature_std'] < 1
        assert f'{row["few_label_pretrained"]:.1%}' in done.stdout
    assert rows[0]['loss_first'] == pytest.approx(1.386, abs=0.4)  # ln 4
    bank, test = Digits(color_type='grayscale'), Digits(color_type='grayscale', test_mode=True)
    x, x_test = (source.samples.reshape(len(source), -1) / 255 for source in (bank, test))
    raw = few_label.run(x, bank.labels, x_test, test.labels)['mean']
    assert float(done.stdout.rsplit('few-label ', 1)[1].split('%')[0]) / 100 == pytest.approx(raw, abs=0.01)
    # a row is the same whatever was trained before it
    call_tool('tools/analysis_tools/compare_algorithms.py', '--algorithms', 'odc', '--epochs', '1',
              '--num-images', '420', '--work-dir', tmp_path, '--out', out)  # yapf: disable
    alone, = json.loads(out.read_text())['algorithms']
    for key in COLUMNS - {'seconds', 'images_per_second'}:
        assert alone[key] == rows[1][key], key


def test_unknown_name(call_tool):
    done = call_tool('tools/analysis_tools/compare_algorithms.py', '--algorithms', 'simclr2', check=False)
    assert done.returncode == 2 and "unknown algorithm 'simclr2'; there are barlowtwins, " in done.stderr

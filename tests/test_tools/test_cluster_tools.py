"""The tools of clustering and label-free quality, as a user calls them."""
import json
from pathlib import Path

import pytest
import torch

from mmssl.datasets import build_dataset
from mmssl.evaluation import clustering, extract_features, quality
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/benchmarks/classification'
MODEL = """
model = dict(
    type='Classification',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4))
"""
DATA = 'configs/benchmarks/classification/digits.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cluster')
    (folder / 'tiny.py').write_text(MODEL)
    features = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = build_algorithm(load_config(folder / 'tiny.py').model)
        model.init_weights()
        save_checkpoint(dict(state_dict=model.state_dict()), folder / f'{seed}.pth')
        cfg = load_config(DATA)
        features.append(extract_features(model, build_dataset(cfg.data.val), img_norm_cfg=cfg.img_norm_cfg))
    return folder, features


def test_clusters_in_two_processes(files, run_tool, call_tool, tmp_path):
    folder, (features, _) = files
    expected = clustering.run(features['pooled'], features.labels, restarts=2)
    command = [f'{FOLDER}/cluster.py', folder / 'tiny.py', '--checkpoint', folder / '1.pth', '--dataset-config', DATA,
               '--restarts', 2, '--out']  # yapf: disable
    run_tool(*command, tmp_path / 'one')
    call_tool(*command, tmp_path / 'two', processes=2)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ('one', 'two'))
    assert one == two and one['pooled'] == pytest.approx(expected, abs=0.02)


def test_checkpoints_side_by_side(files, run_tool, tmp_path):
    folder, features = files
    done = run_tool(f'{FOLDER}/quality.py', folder / 'tiny.py', '--checkpoint', folder / '1.pth', '--others',
                    folder / '2.pth', '--dataset-config', DATA, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    expected = [quality.run(x['pooled']) for x in features]
    for metrics, reference, clid in zip(found.values(), expected, quality.clid(expected)):
        assert metrics.pop('clid') == pytest.approx(clid, abs=0.05)
        assert metrics == pytest.approx(reference, rel=1e-2)
    best = 1 + (expected[1]['rankme'] > expected[0]['rankme'])
    assert f'best by rankme: {folder}/{best}.pth' in done.stdout + done.stderr


def test_layers_side_by_side(files, call_tool, tmp_path):
    """Each layer has a table and an entry of its own, as the docs call it."""
    folder, features = files
    call_tool(f'{FOLDER}/quality.py', folder / 'tiny.py', folder / '1.pth', '--layers', '4,pooled', '--dataset-config',
              DATA, '--device', 'cpu', '--batch-size', 100, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert list(found) == ['stage4', 'pooled'] and found['stage4'] == found['pooled']
    assert 'clid' not in found['pooled'][str(folder / '1.pth')]  # it compares networks
    expected = quality.run(features[0]['pooled'])
    assert found['pooled'][str(folder / '1.pth')]['rankme'] == pytest.approx(expected['rankme'], rel=1e-2)


def test_bad_input(files, call_tool):
    folder, _ = files
    done = call_tool(
        f'{FOLDER}/cluster.py', folder / 'tiny.py', '--dataset-config', DATA, '--num-clusters', 1000, check=False)
    assert done.returncode and '360 samples cannot make k=1000 clusters' in done.stderr
    assert 'Traceback' not in done.stderr

"""The benchmark of k-means: its straightforward form finds the same clusters, and the tool prints all forms."""
import json

import pytest
import torch
from torch.nn import functional as F

from mmssl.benchmarks.kmeans import plain_kmeans
from mmssl.utils.kmeans import distributed_kmeans


def test_the_straightforward_form_is_the_same_method():
    x = F.normalize(torch.randn(300, 8), dim=1)
    first = distributed_kmeans(x, 9, 0).centroids
    labels, loss = plain_kmeans(x, first, 4)
    found = distributed_kmeans(x, 9, 4)
    assert torch.equal(labels, found.labels) and loss == pytest.approx(found.losses[-1], rel=1e-5)


def test_tool(call_tool, tmp_path):
    arguments = ['--samples', 400, '--dims', 8, '--clusters', 9, '--rounds', 1, '--threads', 1]
    done = call_tool('tools/analysis_tools/benchmark_kmeans.py', *arguments, '--out', tmp_path / 'one.json')
    found = json.loads((tmp_path / 'one.json').read_text())['results']
    assert list(found) == ['distributed', 'plain', 'faiss'] and 'faiss' in done.stdout
    assert found['plain']['loss'] == pytest.approx(found['distributed']['loss'], rel=1e-5)
    call_tool('tools/analysis_tools/benchmark_kmeans.py', *arguments, '--out', tmp_path / 'two.json', processes=2)
    both = json.loads((tmp_path / 'two.json').read_text())['results']
    assert list(both) == ['distributed']
    assert both['distributed']['loss'] == pytest.approx(found['distributed']['loss'], rel=1e-5)

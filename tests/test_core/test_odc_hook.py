"""ODCHook in real trainings on the digits."""
import json

import pytest
import torch
from test_resume_algorithms import CLUSTERS, config

from mmssl.apis import set_random_seed, train_model
from mmssl.core.hooks import ODCHook
from mmssl.datasets import build_dataset
from mmssl.models import ODC, ODCMemory, build_algorithm
from mmssl.utils.errors import ConfigError

HOOK = dict(
    type='ODCHook',
    centroids_update_interval=4,
    deal_with_small_clusters_interval=3,
    evaluate_interval=5,
    reweight=True,
    reweight_pow=0.5)


def run(cfg, seed=0, **kwargs):
    """Train; returns the model."""
    set_random_seed(seed)
    model = build_algorithm(cfg.model)
    model.init_weights()
    train_model(model, build_dataset(cfg.data.train), cfg, meta={}, **kwargs)
    return model


def test_what_is_due_when(tmp_path, monkeypatch):
    """Twelve iterations: the calls, class weights from the sizes after each one, sizes in the log."""
    calls, weights = [], []

    def note(cls, name):
        original = getattr(cls, name)

        def wrapper(self, *args, **kwargs):
            calls.append(name)
            original(self, *args, **kwargs)
            if name == 'set_reweight':
                sizes = torch.bincount(self.memory_bank.label_bank, minlength=CLUSTERS)
                expected = sizes.double()**-0.5
                weights.append((self.loss_weight.double(), expected / expected.sum()))

        monkeypatch.setattr(cls, name, wrapper)

    for cls, name in ((ODCMemory, 'init_memory'), (ODCMemory, 'update_centroids_memory'),
                      (ODCMemory, 'deal_with_small_clusters'), (ODC, 'set_reweight')):
        note(cls, name)
    cfg = config('ODC', tmp_path)
    cfg.custom_hooks = [cfg.custom_hooks[0], HOOK]
    cfg.model.memory_bank.min_cluster = 15
    cfg.log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook')])
    model = run(cfg, timestamp='log')

    # DeepClusterHook fills the memory, weighs and starts
    start = calls.index('init_memory')
    assert calls[:start] == ['set_reweight']
    assert calls[start:start + 2] == ['init_memory', 'update_centroids_memory']
    rebuilt, expected = calls[start + 2:], []
    for i in range(1, 13):
        expected += (i % 4 == 0) * ['update_centroids_memory'] + (i % 3 == 0) * ['deal_with_small_clusters']
        expected += ['set_reweight']
    # rebuilding may update centroids too
    assert [
        c for i, c in enumerate(rebuilt)
        if not (c == 'update_centroids_memory' and rebuilt[i - 1] == 'deal_with_small_clusters')
    ] == expected
    for found, reference in weights[1:]:
        torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-6)
    assert model.memory_bank.cluster_sizes().min() >= 15  # the last iteration rebuilt them

    lines = [json.loads(line) for line in open(tmp_path / 'log.log.json')]
    with_sizes = [(line['epoch'], line['iter']) for line in lines if 'clusters_max' in line]
    # after iterations 5 and 10 (the fourth of epoch 2) in the next line, and at the end of each epoch
    assert with_sizes == [(1, 6), (1, 6), (2, 4), (2, 6)]
    for line in lines:
        if 'clusters_max' in line:
            assert 0 <= line['clusters_empty'] < CLUSTERS and 1 <= line['clusters_min'] <= 24 <= line['clusters_max']
    assert all('change_ratio' in line for line in lines if 'loss' in line)


def test_without_first_clusters_there_is_a_warning(tmp_path, monkeypatch):
    """And the training runs, from random centroids."""
    cfg = config('ODC', tmp_path)
    cfg.custom_hooks = [HOOK]
    seen, before_run = [], ODCHook.before_run

    def spy(self, runner):
        with monkeypatch.context() as patch:
            patch.setattr(runner.logger, 'warning', seen.append)
            before_run(self, runner)

    monkeypatch.setattr(ODCHook, 'before_run', spy)
    bank = run(cfg).memory_bank
    assert len(seen) == 1 and 'random centroids' in seen[0] and 'init_memory=True' in seen[0]
    assert bank.cluster_sizes().min() >= 5
    assert bank.feature_bank.norm(dim=1).allclose(torch.ones(bank.length))


def test_model_without_clusters(tmp_path):
    cfg = config('SimCLR', tmp_path)
    cfg.custom_hooks = [HOOK]
    with pytest.raises(ConfigError, match='ODCHook keeps the clusters of a memory bank, which SimCLR does not have'):
        run(cfg)


def one_rank(rank, world_size, folder):
    """Two epochs with all hooks, in each process from other random states; the memories at the end."""
    memories = {}
    for name in ('ODC', 'InterCLRMoCo'):
        cfg = config(name, folder)
        cfg.data.samples_per_gpu = 20
        state = run(cfg, rank, distributed=True).state_dict().items()
        memories[name] = {key: value for key, value in state if 'memory' in key or 'loss_weight' in key}
    return memories


def test_ranks_agree(run_distributed, tmp_path):
    """Two processes: features, labels, centroids and class weights are equal bit for bit after two epochs."""
    a, b = run_distributed(one_rank, tmp_path)
    for name, memory in a.items():
        for key, value in memory.items():
            assert value.equal(b[name][key]), (name, key)
        labels = memory['memory_bank.label_bank']
        assert labels.unique().numel() == CLUSTERS and torch.bincount(labels).min() >= 5

"""InterCLRHook in real trainings on the digits."""
import numpy as np
import pytest
import torch
from mmcv.runner import Hook
from test_resume_algorithms import SAMPLES, clustering, config

from mmssl.apis import set_random_seed, train_model
from mmssl.core import HOOKS
from mmssl.core.hooks import InterCLRHook
from mmssl.datasets import build_dataset
from mmssl.models import InterCLRMemory, build_algorithm
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError

UPKEEP = dict(centroids_update_interval=4, deal_with_small_clusters_interval=3, evaluate_interval=5)


@HOOKS.register_module()
class WatchInterCLR(Hook):
    """Notes what is called on the memory and what the model says in each iteration. Not part of the library."""
    notes = []

    def before_train_iter(self, runner):
        bank = unwrap(runner.model).memory_bank
        self.notes.append(('labels', bank.label_bank.clone(), bank.feature_bank.clone()))

    def after_train_iter(self, runner):
        self.notes.append(('losses', {key: value.item() for key, value in runner.outputs['log_vars'].items()}))


def watch(monkeypatch, tmp_path, epochs=3, model=(), **hook):
    """What a training does, in order: calls of the memory, labels before and losses after each iteration."""
    notes = WatchInterCLR.notes = []

    def note(cls, name):
        original = getattr(cls, name)

        def wrapper(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            notes.append((name, result if name == 'cluster' else args))
            return result

        monkeypatch.setattr(cls, name, wrapper)

    for name in ('init_memory', 'assign_label', 'update_centroids_memory', 'deal_with_small_clusters'):
        note(InterCLRMemory, name)
    note(InterCLRHook, 'cluster')
    hooks = [dict(type='WatchInterCLR'), clustering('InterCLRHook', **dict(UPKEEP, **hook))]
    cfg = config('InterCLRMoCo', tmp_path)
    cfg.custom_hooks = hooks
    cfg.merge_from_dict(dict(model=dict(model)))
    cfg.runner.max_epochs = epochs
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    return notes, model


def named(notes, *names):
    return [note for note in notes if note[0] in names]


def test_online_labels(monkeypatch, tmp_path):
    """All samples are clustered once; then samples move, and centroids and small clusters are kept up.

    The published interval of 10 epochs, here 1, does nothing.
    """
    notes, model = watch(monkeypatch, tmp_path, interval=1)
    calls = [note[0] for note in notes]
    assert calls[:3] == ['cluster', 'update_centroids_memory', 'init_memory']
    features, labels = notes[0][1]
    assert features.shape == (SAMPLES, 8) and labels.shape == (SAMPLES, )
    assert calls.count('cluster') == calls.count('init_memory') == 1 and 'assign_label' not in calls
    first = named(notes, 'labels')[0]
    assert np.array_equal(first[1].numpy(), labels)
    torch.testing.assert_close(first[2], torch.nn.functional.normalize(torch.from_numpy(features), dim=1))
    # what comes after each iteration; rebuilding may update centroids too, before it is noted
    after, iteration = {}, 0
    for name, *_ in notes[3:]:
        if name == 'losses':
            iteration += 1
        elif name != 'labels':
            after.setdefault(iteration, []).append(name)
    for i in range(1, 19):
        found = after.get(i, [])
        assert found.count('deal_with_small_clusters') == (i % 3 == 0)
        assert found[:1] == ['update_centroids_memory'] or i % 4
        assert i % 3 == 0 or i % 4 == 0 or not found
    losses = [note[1] for note in named(notes, 'losses')]
    assert all(line['loss'] == pytest.approx(line['intra_loss'] + line['inter_loss']) for line in losses)
    assert all(line['inter_loss'] > 0 and 0 <= line['change_ratio'] <= 1 for line in losses)
    assert model.memory_bank.cluster_sizes().min() >= 5


def test_warm_up(monkeypatch, tmp_path):
    """The first epoch is MoCo's; all samples are clustered at its end, when their features mean something."""
    notes, model = watch(monkeypatch, tmp_path, epochs=2, warmup_epochs=1)
    calls = [note[0] for note in notes]
    assert calls[:12] == 6 * ['labels', 'losses'] and calls[12] == 'cluster'
    assert calls[13:15] == ['update_centroids_memory', 'init_memory']
    losses = [note[1] for note in named(notes, 'losses')]
    assert all(line['inter_loss'] == 0 and line['loss'] == line['intra_loss'] for line in losses[:6])
    assert all(line['inter_loss'] > 0 for line in losses[6:]) and not model.warming_up


@pytest.mark.long
def test_offline_labels(monkeypatch, tmp_path):
    """Labels change at the start of epochs 1, 3 and 5 only; features come with the iterations."""
    notes, model = watch(
        monkeypatch, tmp_path, 5, dict(online_labels=False), online_labels=False, interval=2, init_memory=False)
    calls = [note[0] for note in named(notes, 'cluster', 'assign_label', 'init_memory', 'deal_with_small_clusters')]
    assert calls == 3 * ['cluster', 'assign_label']
    labels = [note[1].numpy() for note in named(notes, 'labels')]
    for i, (_, found) in enumerate(named(notes, 'cluster')):
        for before_iteration in labels[12 * i:12 * (i + 1)]:
            assert np.array_equal(before_iteration, found[1])
    assert not named(notes, 'labels')[0][2].any()  # not filled at the start
    assert 'change_ratio' not in named(notes, 'losses')[0][1]
    assert all(line['inter_loss'] > 0 for _, line in named(notes, 'losses'))


def test_no_first_clustering(monkeypatch, tmp_path):
    """The bank starts with random centroids, and clusters form by themselves."""
    notes, model = watch(monkeypatch, tmp_path, epochs=2, initial=False)
    assert 'cluster' not in [note[0] for note in notes]
    assert model.memory_bank.cluster_sizes().min() >= 5


@pytest.mark.parametrize('model, hook, message', [
    ({}, dict(online_labels=False), 'online_labels is False, that of InterCLRMoCo is True'),
    (dict(num_classes=6,
          memory_bank=dict(num_classes=6)), {}, 'clustering.k is 10, model.memory_bank.num_classes only 6'),
    ({}, dict(interval=0), 'interval is a positive number of epochs, got 0'),
])
def test_settings_that_contradict(monkeypatch, tmp_path, model, hook, message):
    with pytest.raises(ConfigError, match=message):
        watch(monkeypatch, tmp_path, 1, model, **hook)


def test_model_without_memory(tmp_path):
    cfg = config('MoCo', tmp_path)
    cfg.custom_hooks = [clustering('InterCLRHook', **UPKEEP)]
    with pytest.raises(ConfigError, match='InterCLRHook keeps the clusters of a memory bank, which MoCo does not have'):
        train_model(build_algorithm(cfg.model), build_dataset(cfg.data.train), cfg)

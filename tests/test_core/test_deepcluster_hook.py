"""Clustering between epochs of a real training: who gets which labels, when, and what starts anew."""
import logging

import numpy as np
import pytest
import torch
from mmcv.runner import Hook

from mmssl.core import DeepClusterHook, DistributedDataParallel, EpochBasedRunner, IterBasedRunner, build_optimizer
from mmssl.datasets import PrefetchLoader, build_dataloader, build_dataset
from mmssl.evaluation import Extractor
from mmssl.models import balanced_weights, build_algorithm
from mmssl.utils import ConfigError, Kmeans, normalized_mutual_information
from mmssl.utils.dist import get_world_size

SAMPLES, BATCH, K = 240, 40, 12
NORM = dict(mean=[0.3], std=[0.3])
SOURCE = dict(type='Digits', num_images=SAMPLES)
CROP = [dict(type='RandomResizedCrop', size=8, scale=(0.5, 1.))]
MODEL = dict(
    type='DeepCluster',
    with_sobel=False,
    backbone=dict(type='ResNet_CIFAR', depth=10, stem_channels=4, base_channels=4, norm_cfg=dict(type='SyncBN')),
    neck=dict(type='AvgPool2dNeck'),
    head=dict(type='ClsHead', in_channels=32, num_classes=K))

CONTRAST = dict(type='ContrastiveHead')


def plain(**source):
    return dict(type='DeepClusterDataset', data_source=dict(SOURCE, **source), pipeline=[], prefetch=True)


def make_hook(**changes):
    arguments = dict(
        extractor=dict(dataset=plain(), samples_per_gpu=100, workers_per_gpu=0, prefetch=True, img_norm_cfg=NORM),
        clustering=dict(type='Kmeans', k=K, pca_dim=16),
        unif_sampling=False,
        reweight=False,
        reweight_pow=0.5)
    return DeepClusterHook(**dict(arguments, **changes))


class Watch(Hook):
    """Takes down what each epoch trains on, and the classifier that it starts with."""

    def __init__(self, hook):
        self.hook, self.epochs, self.logged = hook, [], []

    def before_train_epoch(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        weight = model.head.fc_cls.weight.detach().clone()
        self.epochs.append(dict(idx=[], given=[], labels=self.hook.labels, weight=weight))

    def before_train_iter(self, runner):
        self.epochs[-1]['idx'].append(runner.data_batch['idx'])
        self.epochs[-1]['given'].append(runner.data_batch['pseudo_label'])

    def after_train_epoch(self, runner):
        self.logged.append(dict(runner.log_buffer.output))
        runner.log_buffer.clear()
        for name in ('idx', 'given'):
            self.epochs[-1][name] = torch.cat(self.epochs[-1][name]).numpy()


def make_runner(epochs=3, workers=0, model=MODEL, dataset=None, runner_class=EpochBasedRunner, seed=0, optimizer=None):
    torch.manual_seed(seed)
    model = build_algorithm(model)
    model.init_weights()
    if torch.distributed.is_initialized():
        model = DistributedDataParallel(model)
    dataset = build_dataset(dataset or dict(plain(), pipeline=CROP))
    loader = PrefetchLoader(
        build_dataloader(dataset, samples_per_gpu=BATCH // get_world_size(), workers_per_gpu=workers, seed=1), **NORM)
    logger = logging.getLogger('test_deepcluster_hook')
    optimizer = optimizer or dict(type='SGD', lr=0.05, momentum=0.9)
    length = dict(max_epochs=epochs) if runner_class is EpochBasedRunner else dict(max_iters=epochs)
    runner = runner_class(model, optimizer=build_optimizer(model, optimizer), logger=logger, meta={}, **length)
    runner.register_optimizer_hook(dict())
    return runner, loader


def train(hook, **changes):
    runner, loader = make_runner(**changes)
    watch = Watch(hook)
    runner.register_hook(hook)
    runner.register_hook(watch, 'VERY_LOW')
    runner.run([loader], [('train', 1)])
    return runner, loader, watch


def test_workers_that_persist_see_the_new_labels():
    """Pitfall: labels are rebound in the main process while persistent workers keep the old ones.

    Each epoch trains on the clusters that came before it, drawn evenly, with a new classifier.
    """
    hook = make_hook(unif_sampling=True)
    runner, loader, watch = train(hook, workers=2, epochs=3)
    assert loader.loader.loader.persistent_workers
    for epoch in watch.epochs:
        assert np.array_equal(epoch['given'], epoch['labels'][epoch['idx']])
        drawn, classes = np.bincount(epoch['given'], minlength=K), len(np.unique(epoch['labels']))
        assert abs(drawn[drawn > 0] - SAMPLES / classes).max() < 2
        assert epoch['weight'].std().item() == pytest.approx(0.01, rel=0.3)  # as the head is initialised
    labels = [epoch['labels'] for epoch in watch.epochs]
    assert all(not np.array_equal(a, b) for a, b in zip(labels, labels[1:]))
    assert np.array_equal(loader.dataset.pseudo_labels, hook.labels)
    # as part of a garbage cycle they would end only after 5 s each
    loader.loader.loader._iterator._shutdown_workers()


def test_labels_are_those_of_the_clustering():
    """What the hook hands out before the first epoch is what extracting and clustering by hand gives."""
    hook = make_hook()
    runner, loader, watch = train(hook, epochs=1)
    model = make_runner()[0].model
    features = Extractor(plain(), imgs_per_gpu=64, workers_per_gpu=0, img_norm_cfg=NORM)(model)
    assert features.dtype == np.float32 and features.shape == (SAMPLES, 32)
    model.neck = None  # then it is the pooled last map, here the same
    np.testing.assert_allclose(Extractor(plain(), 240, 0, img_norm_cfg=NORM)(model), features, rtol=1e-4, atol=1e-5)
    kmeans = Kmeans(K, 16)
    kmeans.cluster(features)
    assert np.array_equal(watch.epochs[0]['labels'], kmeans.labels)
    # nothing is clustered after the last epoch: the classifier in the checkpoint is one that is trained
    assert np.array_equal(hook.labels, kmeans.labels)
    assert not torch.equal(runner.model.head.fc_cls.weight, watch.epochs[0]['weight'])


def test_interval_and_log():
    """Of 5 epochs the labels change behind the second and the fourth; the log tells how clusters look."""
    hook = make_hook(interval=2)
    _, _, watch = train(hook, epochs=5)
    labels = [epoch['labels'] for epoch in watch.epochs]
    assert [np.array_equal(a, b) for a, b in zip(labels, labels[1:])] == [True, False, True, False]
    assert ['clusters_nmi' in line for line in watch.logged] == [False, True, False, True, False]
    sizes = np.bincount(labels[-1], minlength=K)
    expected = dict(
        clusters_empty=(sizes == 0).sum(),
        clusters_min=sizes[sizes > 0].min(),
        clusters_max=sizes.max(),
        clusters_nmi=normalized_mutual_information(labels[2], labels[-1]))
    assert {name: watch.logged[3][name] for name in expected} == expected == hook.statistics
    assert all(type(value) in (int, float) for value in hook.statistics.values())


def test_reweighting():
    hook = make_hook(reweight=True, reweight_pow=0.7)
    runner, _, _ = train(hook, epochs=1)
    sizes = torch.bincount(torch.from_numpy(hook.labels), minlength=K)
    torch.testing.assert_close(runner.model.loss_weight, balanced_weights(sizes, 0.7))


@pytest.mark.parametrize('kind', ['SGD', 'Adam'])
def test_averages_of_the_old_classifier_go(kind):
    """The optimizer begins anew with the classifier, and goes on with all else."""
    optimizer = dict(type=kind, lr=0.01, **(dict(momentum=0.9) if kind == 'SGD' else {}))
    hook = make_hook()
    runner, loader = make_runner(epochs=2, optimizer=optimizer)
    runner.register_hook(hook)
    seen = []

    class Look(Hook):

        def before_train_epoch(self, runner):
            seen.append({name for name, p in runner.model.named_parameters() if p in runner.optimizer.state})

    runner.register_hook(Look(), 'VERY_LOW')
    runner.run([loader], [('train', 1)])
    names = {name for name, _ in runner.model.named_parameters()}
    assert seen[0] == set() and seen[1] == {n for n in names if not n.startswith('head.')}
    assert all(p in runner.optimizer.state for p in runner.model.parameters())


def test_a_training_that_is_prolonged_makes_up_for_the_clustering():
    """There is none after the last epoch; going on from there clusters first. In between, labels are restored."""
    first = make_hook()
    train(first, epochs=2)
    state = first.state_dict()
    assert state['labels'].dtype == torch.int32 and state['epoch'] == 1
    for epoch, anew in ((1, False), (2, True)):
        hook = make_hook(unif_sampling=True)
        hook.load_state_dict(state)
        runner, loader = make_runner(epochs=3)
        runner._epoch = epoch
        runner.data_loaders = [loader]
        hook.before_run(runner)
        assert np.array_equal(hook.labels, first.labels) != anew
        assert hook.epoch == epoch
        assert np.array_equal(loader.dataset.pseudo_labels, hook.labels)
        assert np.array_equal(loader.sampler.labels, hook.labels)


def test_a_data_set_that_is_repeated():
    hook = make_hook(unif_sampling=True)
    dataset = dict(type='RepeatDataset', dataset=dict(plain(), pipeline=CROP), times=2)
    _, loader, watch = train(hook, epochs=2, dataset=dataset)
    for epoch in watch.epochs:
        assert len(epoch['idx']) == 2 * SAMPLES
        assert np.array_equal(epoch['given'], epoch['labels'][epoch['idx']])


def test_memory_of_a_model_is_filled():

    class Memory(torch.nn.Module):

        def init_memory(self, feature, label):
            self.feature, self.label = feature, label

    runner, loader = make_runner(epochs=1)
    runner.model.memory_bank = Memory()
    hook = make_hook(init_memory=True, clustering=dict(type='PIC', nnn=20, sigma=1., pca_dim=-1))
    runner.register_hook(hook)
    runner.run([loader], [('train', 1)])
    memory = runner.model.memory_bank
    assert memory.feature.shape == (SAMPLES, 32) and np.array_equal(memory.label, hook.labels)


def test_configs_that_cannot_be():
    """Fewer samples than clusters, other images than those trained on, no epochs, no labels: said before training."""

    def run(message, error=ConfigError, runner=(), **hook):
        runner, loader = make_runner(**dict(runner))
        runner.register_hook(make_hook(**hook))
        with pytest.raises(error, match=message):
            runner.run([loader], [('train', 1)])

    def extractor(**source):
        return dict(dataset=plain(**source), samples_per_gpu=100, workers_per_gpu=0, img_norm_cfg=NORM)

    run('IterBasedRunner has none: use EpochBasedRunner', runner=dict(runner_class=IterBasedRunner))
    run('240 samples cannot make 241 clusters', clustering=dict(type='Kmeans', k=241))
    run('240 samples have no 256 principal components: set clustering.pca_dim to 240 or less',
        clustering=dict(type='Kmeans', k=4, pca_dim=256))
    run('extractor.dataset has 200 samples, the training set 240', extractor=extractor(num_images=200))
    run('clustering.k is 13, model.head.num_classes only 12', clustering=dict(type='Kmeans', k=13, pca_dim=-1))
    run('DeepCluster has no memory bank: set init_memory=False', init_memory=True)
    run('a classifier of clusters, a ClsHead, which SimCLR does not have',
        runner=dict(model=dict(type='SimCLR', **{part: MODEL[part]
                                                 for part in ('backbone', 'neck')}, head=CONTRAST)))
    run('PIC found [0-9]+ clusters, model.head.num_classes is only 12', clustering=dict(type='PIC', nnn=2, pca_dim=-1))
    run('without initial=True there are no labels', initial=False)
    run('SingleViewDataset takes no labels; data.train is a DeepClusterDataset',
        runner=dict(dataset=dict(plain(), type='SingleViewDataset')))
    run(r'pca_dim must be -1 \(no PCA\) or 1 to 32', clustering=dict(type='Kmeans', k=K, pca_dim=64))
    with pytest.raises(ConfigError, match='positive number of epochs, got 0'):
        make_hook(interval=0)
    with pytest.raises(ConfigError, match="Extractor takes no argument 'sample_per_gpu'.* did you mean 'samples_per_g"):
        make_hook(extractor=dict(extractor(), sample_per_gpu=3))
    with pytest.raises(ConfigError, match="'KMeans' is not a registered clustering; did you mean 'Kmeans'"):
        make_hook(clustering=dict(type='KMeans', k=3))
    hook = make_hook()
    hook.load_state_dict(dict(labels=torch.zeros(7, dtype=torch.int32), epoch=0, statistics={}))
    runner, loader = make_runner()
    runner.data_loaders = [loader]
    with pytest.raises(ConfigError, match='holds the clusters of 7 samples, the training set has 240'):
        hook.before_run(runner)


def test_features_that_are_no_numbers():
    runner, loader = make_runner()
    with torch.no_grad():
        runner.model.backbone.conv1.weight.fill_(torch.nan)
    runner.register_hook(make_hook())
    with pytest.raises(ValueError, match='features of sample 0 .* hold NaN'):
        runner.run([loader], [('train', 1)])


def two_trainings(rank, world_size):
    hook = make_hook(unif_sampling=True, reweight=True)
    # ranks start from different random states, as with --diff_seed
    runner, loader, watch = train(hook, epochs=2, seed=rank)
    failed = make_hook(clustering=dict(type='Kmeans', k=K, pca_dim=33))
    runner, loader = make_runner()
    runner.register_hook(failed)
    with pytest.raises(ValueError, match='1 to 32'):
        runner.run([loader], [('train', 1)])
    return [{key: np.asarray(value) for key, value in epoch.items()} for epoch in watch.epochs]


def test_every_process_gets_the_same_labels(run_distributed):
    """Also the same classifier. The first process clusters; one that cannot ends the others too, instead of a hang."""
    first, second = run_distributed(two_trainings)
    alone = train(make_hook(unif_sampling=True, reweight=True), epochs=2)[2].epochs
    for a, b in zip(first, second):
        assert np.array_equal(a['labels'], b['labels']) and np.array_equal(a['weight'], b['weight'])
        for epoch in (a, b):
            assert np.array_equal(epoch['given'], epoch['labels'][epoch['idx']])
    # one process gets the same ones, and the two share each of its batches
    assert np.array_equal(first[0]['labels'], alone[0]['labels'])
    both = np.stack([epoch['idx'].reshape(-1, BATCH // 2) for epoch in (first[0], second[0])], 1).reshape(-1)
    assert np.array_equal(both, alone[0]['idx'])
    # after an epoch up to rounding, which can move a sample that lies between two clusters
    assert normalized_mutual_information(first[1]['labels'], alone[1]['labels']) > 0.9

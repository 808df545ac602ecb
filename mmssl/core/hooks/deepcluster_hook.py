# Copyright (c) mmssl contributors. All rights reserved.
"""Cluster the features of the training set between epochs, and train on the clusters."""
import time

import numpy as np
import torch
from mmcv.runner import Hook

from mmssl.datasets.dataset_wrappers import distinct
from mmssl.evaluation import Extractor
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.clustering import CLUSTERINGS, normalized_mutual_information, size_statistics
from mmssl.utils.dist import broadcast, broadcast_object, get_rank
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import build_from_cfg
from mmssl.utils.sharded import gathered, unsharded
from ..builder import HOOKS
from ..distributed import broadcast_batch_norm
from ..optimizer.state import forget
from .any_runner import autocast, train_loader


class ClusteringHook(Hook):
    """Base of hooks that cluster the features of the training set.

    Args:
        extractor (dict): Arguments of mmssl.evaluation.Extractor. Its data set holds the images of the training set, in
            the same order, seen plainly.
        clustering (dict): `type` ('Kmeans' or 'PIC', see mmssl.utils.clustering) and its arguments.
        initial (bool): Cluster before the first epoch.
        interval (int): Epochs from one clustering to the next.
        dist_mode (bool): For old configs: several processes share the work whenever there are several.
        data_loaders (list, optional): The loaders, training first; by default those of the runner.

    Attributes:
        took (float): Seconds of the last clustering, the extraction of features included.
    """

    def __init__(self, extractor, clustering, initial=True, interval=1, dist_mode=True, data_loaders=None):
        if not isinstance(interval, int) or interval < 1:
            raise ConfigError(f'interval is a positive number of epochs, got {interval!r}')
        self.extractor = build_from_cfg(extractor, HOOKS, dict(type=Extractor, dist_mode=dist_mode))
        self.clustering = CLUSTERINGS.build(clustering)
        self.initial = initial
        self.interval = interval
        self.data_loaders = data_loaders
        self.took = 0.

    def train_loader(self, runner):
        """The loader of the training set."""
        loader = self.data_loaders[0] if self.data_loaders else train_loader(runner)
        if loader is None:
            raise ConfigError(
                f'{type(self).__name__}: {type(runner).__module__}.{type(runner).__name__} does not tell its '
                'data: give data_loaders, the training data first')
        return loader

    def before_run(self, runner):
        """See that what will be clustered fits the training, before hours are spent.

        Raises:
            ConfigError: No epochs, another number of images to cluster than to train on, or fewer than clusters or
                principal components.
        """
        name = type(self).__name__
        if runner.max_epochs is None:
            raise ConfigError(f'{name} clusters between epochs, IterBasedRunner has none: use EpochBasedRunner')
        samples, extracted = len(distinct(self.train_loader(runner).dataset)), len(self.extractor.dataset)
        if samples != extracted:
            raise ConfigError(f'{name}: extractor.dataset has {extracted} samples, the training set {samples}; '
                              'they must be the same images in the same order')
        k = getattr(self.clustering, 'k', 0)
        if samples < k:
            raise ConfigError(f'{name}: {samples} samples cannot make {k} clusters: set clustering.k and the number '
                              'of classes of the model to less')
        dims = getattr(self.clustering, 'pca_dim', -1)
        if samples < dims:
            raise ConfigError(f'{name}: {samples} samples have no {dims} principal components: set clustering.pca_dim '
                              f'to {samples} or less, or to -1 for none')

    def cluster(self, runner):
        """Cluster the features that the model has now.

        All processes extract, the first one clusters, and every one gets the same result.

        Returns:
            tuple[ndarray, ndarray]: Features (N x D float32) and the cluster of each sample (N int64).

        Raises:
            ValueError: Features with NaN or infinity, or that cannot be clustered as asked for; on every process.
        """
        start = time.time()
        broadcast_batch_norm(unwrap(runner.model))  # each process extracts with the statistics that are saved
        with unsharded(unwrap(runner.model)), autocast(runner):
            features = self.extractor(runner)
        extracted = time.time()
        labels, error = np.empty(len(features), np.int64), None
        if get_rank() == 0:
            try:
                self.clustering.cluster(features, verbose=True)
                labels = self.clustering.labels
            except Exception as e:  # the other processes must not wait for labels that never come
                error = e
        message = broadcast_object(error and f'{type(error).__name__}: {error}', patient=True)
        if message:
            raise error or ValueError(f'the first process could not cluster: {message}')
        device = next(runner.model.parameters()).device
        labels = broadcast(torch.from_numpy(labels).to(device)).cpu().numpy()
        self.took = time.time() - start
        runner.logger.info('Clustering of %d samples: %.1f s for features, %.1f s for clusters', len(labels),
                           extracted - start, self.took - (extracted - start))
        return features, labels


@HOOKS.register_module()
class DeepClusterHook(ClusteringHook):
    """Give the training set the clusters of its features as labels (Caron et al., https://arxiv.org/abs/1807.05520).

    After each clustering the classifier starts anew, since numbers of clusters mean nothing from one clustering to the
    next. There is none after the last epoch, which would leave an untrained classifier. The labels are part of
    checkpoints: a training that resumes goes on with them.

    Args:
        extractor, clustering, initial, interval, dist_mode, data_loaders: See ClusteringHook.
        unif_sampling (bool): Draw samples such that each cluster comes up equally often.
        reweight (bool): Weigh clusters in the loss by their sizes.
        reweight_pow (float): How strongly small clusters gain; see mmssl.models.losses.balanced_weights.
        init_memory (bool): Fill the model's memory bank with the features and clusters, as ODC needs.

    Attributes:
        labels (ndarray): Cluster of each sample as of the last clustering, N int64; None before the first.
        statistics (dict): Numbers that describe the last clustering, see `evaluate`.
    """

    def __init__(self,
                 extractor,
                 clustering,
                 unif_sampling,
                 reweight,
                 reweight_pow,
                 init_memory=False,
                 initial=True,
                 interval=1,
                 dist_mode=True,
                 data_loaders=None):
        super().__init__(extractor, clustering, initial, interval, dist_mode, data_loaders)
        self.unif_sampling = unif_sampling
        self.reweight = reweight
        self.reweight_pow = reweight_pow
        self.init_memory = init_memory
        self.labels = None
        self.epoch = 0  # epochs that were done at the last clustering
        self.statistics = {}

    def state_dict(self):
        labels = None if self.labels is None else torch.from_numpy(self.labels.astype(np.int32))
        return dict(labels=labels, epoch=self.epoch, statistics=self.statistics)

    def load_state_dict(self, state):
        self.labels = None if state['labels'] is None else state['labels'].cpu().numpy().astype(np.int64)
        self.epoch, self.statistics = state['epoch'], state['statistics']

    def before_run(self, runner):
        super().before_run(runner)
        dataset, model = distinct(self.train_loader(runner).dataset), unwrap(runner.model)
        if not hasattr(getattr(model, 'head', None), 'reset'):
            raise ConfigError('DeepClusterHook trains a classifier of clusters, a ClsHead, which '
                              f'{type(model).__name__} does not have here; take the hook out of custom_hooks')
        sampler = self.train_loader(runner).sampler
        if self.unif_sampling and not hasattr(sampler, 'set_uniform_indices'):
            raise ConfigError(
                f'DeepClusterHook: unif_sampling=True asks the sampler, and {type(sampler).__name__} cannot '
                'draw classes equally often: leave data.sampler out')
        if self.init_memory and not hasattr(model, 'memory_bank'):
            raise ConfigError(f'DeepClusterHook: {type(model).__name__} has no memory bank: set init_memory=False')
        classes, k = model.head.num_classes, getattr(self.clustering, 'k', 0)
        if k > classes:
            raise ConfigError(f'DeepClusterHook: clustering.k is {k}, model.head.num_classes only {classes}')
        if not hasattr(dataset, 'assign_labels') and not self.init_memory:
            raise ConfigError(f'DeepClusterHook: {type(dataset).__name__} takes no labels; data.train is a '
                              'DeepClusterDataset')
        if self.labels is not None and len(self.labels) != len(dataset):
            raise ConfigError(f'DeepClusterHook: the checkpoint holds the clusters of {len(self.labels)} samples, the '
                              f'training set has {len(dataset)}')
        # none after the last epoch, so that a training that is prolonged has to make up for it
        due = runner.epoch % self.interval == 0 and self.epoch < runner.epoch
        if due or (self.labels is None and self.initial):
            self.epoch = runner.epoch
            self.deepcluster(runner)
        elif self.labels is not None:
            self._hand_out(runner)
        elif not self.init_memory:
            raise ConfigError('DeepClusterHook: without initial=True there are no labels to train on')

    def after_train_epoch(self, runner):
        if self.every_n_epochs(runner, self.interval) and not self.is_last_epoch(runner):
            self.epoch = runner.epoch + 1
            self.deepcluster(runner)

    def deepcluster(self, runner):
        """Cluster, and start to train on the new clusters."""
        features, labels = self.cluster(runner)
        model = unwrap(runner.model)
        if labels.max() >= model.head.num_classes:
            raise ConfigError(f'{type(self.clustering).__name__} found {labels.max() + 1} clusters, '
                              f'model.head.num_classes is only {model.head.num_classes}')
        self.evaluate(runner, labels)
        self.labels = labels
        self._hand_out(runner)
        if self.reweight:
            model.set_reweight(labels, self.reweight_pow)
        self._restart(model.head, runner)
        if self.init_memory:
            model.memory_bank.init_memory(features, labels)

    def _hand_out(self, runner):
        """Give the labels to the data set and the sampler."""
        loader = self.train_loader(runner)
        dataset = distinct(loader.dataset)
        if hasattr(dataset, 'assign_labels'):
            dataset.assign_labels(self.labels)
        if self.unif_sampling:
            # a data set that is repeated has its labels as often
            loader.sampler.set_uniform_indices(np.resize(self.labels, len(loader.dataset)), int(self.labels.max()) + 1)

    def _restart(self, head, runner):
        """New weights for the classifier, the first process's on all."""
        with gathered(head, None):
            head.reset()
            for value in (*head.parameters(), *head.buffers()):
                broadcast(value.detach())
        # momentum and other averages of the old classes would push the new ones
        optimizers = runner.optimizer.values() if isinstance(runner.optimizer, dict) else [runner.optimizer]
        for optimizer in optimizers:
            forget(optimizer, head.parameters())

    def evaluate(self, runner, new_labels):
        """Log how a clustering looks: see size_statistics, and `clusters_nmi`, its normalized mutual information with
        the one before (it rises to about 0.8 while training settles, says the paper).

        Args:
            runner (BaseRunner): The runner.
            new_labels (ndarray): Cluster of each sample, N int64; the last ones are `self.labels`.
        """
        sizes = np.bincount(new_labels, minlength=getattr(self.clustering, 'k', 0))
        found = size_statistics(sizes)
        if self.labels is not None:
            found['clusters_nmi'] = normalized_mutual_information(self.labels, new_labels)
        self.statistics = found
        runner.logger.info('Clusters: ' + ', '.join(f'{name} {value:.4g}' for name, value in found.items()))
        runner.log_buffer.output.update(found)
        runner.log_buffer.ready = True

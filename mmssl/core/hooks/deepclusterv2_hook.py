# Copyright (c) mmssl contributors. All rights reserved.
"""Fill the memory of DeepCluster v2 before the training, and cluster it before each epoch."""
import time

import numpy as np
import torch
from mmcv.runner import Hook

from mmssl.datasets.dataset_wrappers import distinct
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.clustering import normalized_mutual_information, size_statistics
from mmssl.utils.dist import all_gather_object, get_dist_info
from mmssl.utils.errors import ConfigError
from mmssl.utils.sharded import unsharded
from ..builder import HOOKS
from ..distributed import broadcast_batch_norm
from .any_runner import autocast, train_loader


@HOOKS.register_module()
class DeepClusterV2Hook(Hook):
    """Fill the memory, and cluster it (DeepCluster v2, https://arxiv.org/abs/2006.09882, appendix).

    The first features come from one pass over the training data with the views of the first epoch, in evaluation mode
    and without gradients: statistics of batch norms stay, and a sample's features do not depend on its batch. Later
    ones are those of the last epoch's training. Memory and clusters are part of checkpoints, so that a training that
    resumes goes on with them.

    Args:
        interval (int): Epochs from one clustering to the next.
        seed (int): Of the first centroids of k-means, with the number of the epoch.

    Attributes:
        epoch (int): The epoch before which was clustered last; -1: none.
        took (float): Seconds of the last clustering.
    """

    def __init__(self, interval=1, seed=0):
        if not isinstance(interval, int) or interval < 1:
            raise ConfigError(f'interval is a positive number of epochs, got {interval!r}')
        self.interval = interval
        self.seed = seed
        self.epoch = -1
        self.took = 0.
        self._statistics = {}  # of the last clustering, until they are logged

    def state_dict(self):
        return dict(epoch=self.epoch)

    def load_state_dict(self, state):
        self.epoch = state['epoch']

    def before_run(self, runner):
        model = unwrap(runner.model)
        if not hasattr(model, 'project_kept'):
            raise ConfigError(f'DeepClusterV2Hook clusters the memory of a DeepClusterV2, the model is a '
                              f'{type(model).__name__}; take the hook out of custom_hooks')
        if runner.max_epochs is None:
            raise ConfigError('DeepClusterV2Hook clusters before each epoch, IterBasedRunner has none: use '
                              'EpochBasedRunner')
        if not model.memory_bank.feature_bank.any():
            self._fill(runner, model)

    def _fill(self, runner, model):
        start = time.time()
        broadcast_batch_norm(model)  # each process looks through the network that is saved
        rank, world_size = get_dist_info()
        loader = train_loader(runner)
        samples, size = len(distinct(loader.dataset)), loader.batch_sampler.batch_size
        # whole batches: they are the same ones whatever the number of processes
        bounds = [min(samples, -(-samples // size) * r // world_size * size) for r in (rank, rank + 1)]

        @torch.no_grad()
        def batches():
            for batch in loader.in_order(range(*bounds)):
                with autocast(runner):
                    z = model.project_kept(batch['img'])
                yield batch['idx'], z

        training, error, found = model.training, None, []
        try:
            model.eval()
            with unsharded(model):
                found = list(batches())
        except Exception as e:  # the other processes must not wait for features that never come
            error = e
        finally:
            model.train(training)
        errors = all_gather_object(error and f'process {rank}: {type(error).__name__}: {error}')
        if any(errors):
            raise error or ConfigError('; '.join(filter(None, errors)))
        model.memory_bank.fill(found)
        runner.logger.info('First features of %d samples: %.1f s', samples, time.time() - start)

    def before_train_epoch(self, runner):
        memory = unwrap(runner.model).memory_bank
        # a training that resumes in the midst of an epoch goes on with the clusters that are there
        due = runner.epoch % self.interval == 0 and self.epoch < runner.epoch
        if due or self.epoch < 0:
            start, before = time.time(), memory.label_bank[0].clone().cpu().numpy()
            memory.cluster(self.seed * 1_000_003 + runner.epoch)
            self.epoch = runner.epoch
            labels = memory.label_bank[0].cpu().numpy()
            found = size_statistics(np.bincount(labels[labels >= 0], minlength=memory.num_clusters[0]))
            if before.max() >= 0:
                found['clusters_nmi'] = normalized_mutual_information(before, labels)
            self.took = time.time() - start
            runner.logger.info('Clusters, %.1f s: ' + ', '.join(f'{name} {value:.4g}' for name, value in found.items()),
                               self.took)
            self._statistics = found

    def before_train_iter(self, runner):
        # loggers empty the buffer when an epoch begins
        runner.log_buffer.output.update(self._statistics)
        self._statistics = {}

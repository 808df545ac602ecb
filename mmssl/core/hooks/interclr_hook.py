# Copyright (c) mmssl contributors. All rights reserved.
"""The clusters of InterCLR."""
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from .deepcluster_hook import ClusteringHook
from .odc_hook import MemoryUpkeep


@HOOKS.register_module()
class InterCLRHook(ClusteringHook, MemoryUpkeep):
    """Make the first clusters of InterCLR's memory bank (https://arxiv.org/abs/2008.11702) and keep them up to date.

    All samples are clustered at the start of the first epoch after the warm-up. With online labels, which the paper
    recommends, that is the only time: from then on samples move in each iteration, and centroids and small clusters
    are kept up to date. Without them clusters stay for `interval` epochs, and then all samples are clustered again.

    Nothing is kept here that a resumed training needs: the position in the training says what is due.

    Args:
        extractor, clustering, dist_mode, data_loaders: See ClusteringHook.
        centroids_update_interval, deal_with_small_clusters_interval, evaluate_interval: See MemoryUpkeep; with online
            labels only.
        warmup_epochs (int): Epochs at the start in which only the loss of views counts.
        init_memory (bool): The first clustering fills the bank with its features; else they come with the iterations.
        initial (bool): Cluster when clusters are needed for the first time; else the bank starts with random ones.
        online_labels (bool): As the model's.
        interval (int): Epochs from one clustering to the next without online labels; no matter with them.
    """

    def __init__(self,
                 extractor,
                 clustering,
                 centroids_update_interval,
                 deal_with_small_clusters_interval,
                 evaluate_interval,
                 warmup_epochs=0,
                 init_memory=True,
                 initial=True,
                 online_labels=True,
                 interval=1,
                 dist_mode=True,
                 data_loaders=None):
        ClusteringHook.__init__(self, extractor, clustering, initial, interval, dist_mode, data_loaders)
        MemoryUpkeep.__init__(self, centroids_update_interval, deal_with_small_clusters_interval, evaluate_interval)
        self.warmup_epochs = warmup_epochs
        self.init_memory = init_memory
        self.online_labels = online_labels

    def before_run(self, runner):
        super().before_run(runner)
        bank, model = self.memory_bank(runner), unwrap(runner.model)
        k = getattr(self.clustering, 'k', 0)
        if k > bank.num_classes:
            raise ConfigError(f'InterCLRHook: clustering.k is {k}, model.memory_bank.num_classes only '
                              f'{bank.num_classes}')
        of_model = getattr(model, 'online_labels', None)
        if self.online_labels != of_model:
            raise ConfigError(f'InterCLRHook: online_labels is {self.online_labels}, that of {type(model).__name__} is '
                              f'{of_model}')

    def before_train_epoch(self, runner):
        past_warmup = runner.epoch - self.warmup_epochs
        unwrap(runner.model).warming_up = past_warmup < 0
        due = self.initial if past_warmup == 0 else \
            past_warmup > 0 and not self.online_labels and past_warmup % self.interval == 0
        # in the midst of an epoch a training resumes with the clusters that it has
        if due and getattr(runner, 'epoch_batches', 0) == 0:
            self.deepcluster(runner)

    def after_train_iter(self, runner):
        if self.online_labels and runner.epoch >= self.warmup_epochs:
            self.keep_up(runner)

    def after_train_epoch(self, runner):
        self.evaluate(runner, self.memory_bank(runner).label_bank)
        runner.log_buffer.ready = True

    def after_run(self, runner):
        unwrap(runner.model).warming_up = False

    def deepcluster(self, runner):
        """Cluster all samples, and hand the clusters to the memory bank."""
        features, labels = self.cluster(runner)
        bank = self.memory_bank(runner)
        if self.init_memory and runner.epoch == self.warmup_epochs:
            bank.init_memory(features, labels)
        else:
            bank.assign_label(labels)

# Copyright (c) mmssl contributors. All rights reserved.
"""What ODC does to its clusters between iterations."""
from mmcv.runner import Hook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.clustering import size_statistics
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS


class MemoryUpkeep(Hook):
    """Part of hooks that keep the clusters of a memory bank up to date.

    Nothing is kept here: all state is in the memory of the model, the same on all processes, which do the same to it.

    Args:
        centroids_update_interval (int): Iterations from one update of the centroids to the next; 0 for never.
        deal_with_small_clusters_interval (int): Iterations from one rebuilding of small clusters to the next.
        evaluate_interval (int): Iterations from one look at the clusters' sizes to the next.
    """

    def __init__(self, centroids_update_interval, deal_with_small_clusters_interval, evaluate_interval):
        self.centroids_update_interval = centroids_update_interval
        self.deal_with_small_clusters_interval = deal_with_small_clusters_interval
        self.evaluate_interval = evaluate_interval

    def memory_bank(self, runner):
        """The model's memory bank.

        Raises:
            ConfigError: It has none with clusters.
        """
        model = unwrap(runner.model)
        if not hasattr(getattr(model, 'memory_bank', None), 'deal_with_small_clusters'):
            raise ConfigError(f'{type(self).__name__} keeps the clusters of a memory bank, which '
                              f'{type(model).__name__} does not have; take the hook out of custom_hooks')
        return model.memory_bank

    def keep_up(self, runner):
        """What is due after an iteration."""
        bank = self.memory_bank(runner)
        if self.every_n_iters(runner, self.centroids_update_interval):
            bank.update_centroids_memory()
        if self.every_n_iters(runner, self.deal_with_small_clusters_interval):
            bank.deal_with_small_clusters()
        if self.every_n_iters(runner, self.evaluate_interval):
            self.evaluate(runner, bank.label_bank)

    def evaluate(self, runner, new_labels):
        """Put the sizes of clusters into the next log line; see size_statistics.

        Args:
            runner (BaseRunner): The runner.
            new_labels (ndarray | Tensor): Cluster of each sample, N integers.
        """
        runner.log_buffer.output.update(
            size_statistics(self.memory_bank(runner).cluster_sizes(new_labels).cpu().numpy()))


@HOOKS.register_module()
class ODCHook(MemoryUpkeep):
    """Keep the centroids, the small clusters and the class weights of ODC up to date; see MemoryUpkeep.

    Args:
        centroids_update_interval, deal_with_small_clusters_interval, evaluate_interval: See MemoryUpkeep.
        reweight (bool): Whether clusters weigh in the loss by their sizes, set anew after each iteration.
        reweight_pow (float): How strongly small clusters gain; see mmssl.models.losses.balanced_weights.
        dist_mode (bool): Accepted for old configs: several processes are noticed without it.
    """

    def __init__(self,
                 centroids_update_interval,
                 deal_with_small_clusters_interval,
                 evaluate_interval,
                 reweight,
                 reweight_pow,
                 dist_mode=True):
        super().__init__(centroids_update_interval, deal_with_small_clusters_interval, evaluate_interval)
        self.reweight = reweight
        self.reweight_pow = reweight_pow

    def before_run(self, runner):
        if not self.memory_bank(runner).feature_bank.any():
            runner.logger.warning(
                'The memory bank is empty: the clusters start from random centroids. A DeepClusterHook '
                'with init_memory=True before ODCHook in custom_hooks fills it.')

    def after_train_iter(self, runner):
        self.keep_up(runner)
        if self.reweight:
            unwrap(runner.model).set_reweight(reweight_pow=self.reweight_pow)

    def after_train_epoch(self, runner):
        self.evaluate(runner, self.memory_bank(runner).label_bank)
        runner.log_buffer.ready = True

# Copyright (c) mmssl contributors. All rights reserved.
"""Is it learning? kNN accuracy of the backbone while training."""
import torch
from mmcv.runner import Hook
from torch.utils.data import Subset

from mmssl.datasets import build_dataset
from mmssl.datasets.classes import align_classes
from mmssl.evaluation import knn
from mmssl.evaluation.features import extract_features
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.logger import get_root_logger
from ..builder import HOOKS
from ..distributed import broadcast_batch_norm
from .any_runner import autocast, evaluating, log_at_start, log_evaluation


@HOOKS.register_module()
class KNNEvalHook(Hook):
    """Log the accuracy of weighted kNN on the features of the current backbone, and the best so far.

    `knn_top1`, `knn_top5` and `knn_best` (the highest top1 so far) are fractions. Training goes on as if nothing had
    happened: modes of modules and states of random generators are put back. In several processes each extracts its
    share of the features. The best value is kept in `runner.meta['hook_msgs']`, thus in the checkpoints.

    Args:
        train_dataset (dict | Dataset): The labelled bank: a config of a single-view data set, or the data set.
        val_dataset (dict | Dataset): What is classified.
        interval (int): Epochs (or iterations) from evaluation to evaluation.
        k (int): Number of neighbours.
        temperature (float): Of the votes.
        by_epoch (bool): Whether `interval` counts epochs; iterations else.
        max_train (int, optional): At most this many samples in the bank, evenly spaced over the data set.
        batch_size (int): Samples in a batch, per process.
        workers (int): Loader processes.
        img_norm_cfg (dict, optional): `mean` and `std`, for data sets with `prefetch=True`.
        teacher (bool): Evaluate the moving average of the backbone, such as DINO's teacher.
        at_start (bool): Also evaluate before the first iteration, as epoch 0: what the weights know to begin with.
    """

    def __init__(self,
                 train_dataset,
                 val_dataset,
                 interval=1,
                 k=20,
                 temperature=0.07,
                 by_epoch=True,
                 max_train=None,
                 batch_size=256,
                 workers=0,
                 img_norm_cfg=None,
                 teacher=False,
                 at_start=False):
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        self.train_dataset, self.val_dataset = (
            build_dataset(d) if isinstance(d, dict) else d for d in (train_dataset, val_dataset))
        align_classes(self.val_dataset, self.train_dataset, what='val_dataset', logger=get_root_logger())
        if max_train is not None and len(self.train_dataset) > max_train:
            # evenly spaced: data sets are often sorted by class
            picked = torch.linspace(0, len(self.train_dataset) - 1, max_train).long().tolist()
            self.train_dataset = Subset(self.train_dataset, picked)
        self.interval = interval
        self.k = k
        self.temperature = temperature
        self.by_epoch = by_epoch
        self.teacher = teacher
        self.at_start = at_start
        self.extraction = dict(batch_size=batch_size, workers=workers, img_norm_cfg=img_norm_cfg)

    def before_train_epoch(self, runner):
        if self.at_start and runner.iter == 0:
            top1, top5 = self._evaluate(runner)
            log_at_start(runner, dict(knn_top1=top1, knn_top5=top5))

    def after_train_epoch(self, runner):
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._log(runner)

    def after_train_iter(self, runner):
        if not self.by_epoch and self.every_n_iters(runner, self.interval):
            self._log(runner)

    def _log(self, runner):
        top1, top5 = self._evaluate(runner)
        messages = runner.meta.setdefault('hook_msgs', {}) if runner.meta is not None else {}
        messages['knn_best'] = max(top1, messages.get('knn_best', 0.))
        log_evaluation(runner, dict(knn_top1=top1, knn_top5=top5, knn_best=messages['knn_best']))

    def _evaluate(self, runner):
        broadcast_batch_norm(unwrap(runner.model))  # each process extracts with the statistics that are saved
        with evaluating(runner), autocast(runner):
            model = unwrap(runner.model).teacher_backbone() if self.teacher else runner.model
            bank, queries = (
                extract_features(model, dataset, **self.extraction)
                for dataset in (self.train_dataset, self.val_dataset))
        device = next(runner.model.parameters()).device
        found = knn.run(
            bank['pooled'], bank.labels, queries['pooled'], queries.labels, self.k, self.temperature, device=device)
        return [found[f'k{self.k}_T{self.temperature:g}_{name}'] for name in ('top1', 'top5')]

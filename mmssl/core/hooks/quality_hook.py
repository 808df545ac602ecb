# Copyright (c) mmssl contributors. All rights reserved.
"""Which checkpoint is the best one, when there are no labels?"""
import math

from mmcv.runner import Hook
from torch.utils.data import Subset

from mmssl.datasets import build_dataset
from mmssl.evaluation import quality
from mmssl.evaluation.features import extract_features
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.dist import broadcast_object, get_rank
from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from ..distributed import broadcast_batch_norm
from .any_runner import autocast, evaluating, log_at_start, log_evaluation
from .eval_hook import keep_best

_FIGURES = ('rankme', 'alpha_req', 'cluster_learnability', 'intrinsic_dimension')


@HOOKS.register_module()
class RepresentationQualityHook(Hook):
    """Log label-free figures of the features after every so many epochs, and keep the best checkpoint by one of them.

    The figures are those of mmssl.evaluation.quality, and training goes on as if nothing had happened.

    Args:
        dataset (dict | Dataset): Images, which need no labels: a config of a single-view data set, or the data set.
        interval (int): Epochs (or iterations) from look to look.
        save_best (str, optional): 'rankme', 'cluster_learnability' or 'intrinsic_dimension' (the highest), or
            'alpha_req' (the closest to 1): the best checkpoint is kept as best_FIGURE_epoch_N.pth.
        layer (str): Whose features, see extract_features.
        max_samples (int): At most this many images, evenly spaced.
        batch_size (int): Images in a batch, per process.
        workers (int): Loader processes.
        img_norm_cfg (dict, optional): `mean` and `std`, for data sets with `prefetch=True`.
        by_epoch (bool): Whether `interval` counts epochs; iterations else.
        at_start (bool): Also look before the first iteration, as epoch 0: what the weights know to begin with.
    """

    def __init__(self,
                 dataset,
                 interval=1,
                 save_best=None,
                 layer='pooled',
                 max_samples=4096,
                 batch_size=256,
                 workers=0,
                 img_norm_cfg=None,
                 by_epoch=True,
                 at_start=False):
        if interval < 1:
            raise ConfigError(f'interval must be at least 1, got {interval}')
        if save_best not in (None, *_FIGURES):
            raise ConfigError(f'save_best must be one of {_FIGURES} or None, got {save_best!r}')
        dataset = build_dataset(dataset) if isinstance(dataset, dict) else dataset
        step = max(1, math.ceil(len(dataset) / max_samples))
        self.dataset = Subset(dataset, range(0, len(dataset), step))
        self.interval = interval
        self.by_epoch = by_epoch
        self.at_start = at_start
        self.save_best = save_best
        self.layer = layer
        self.extraction = dict(layers=(layer, ), batch_size=batch_size, workers=workers, img_norm_cfg=img_norm_cfg)

    def before_train_epoch(self, runner):
        if self.at_start and runner.iter == 0:
            log_at_start(runner, _named(self._measure(runner)))

    def after_train_epoch(self, runner):
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._look(runner, f'epoch_{runner.epoch + 1}')

    def after_train_iter(self, runner):
        if not self.by_epoch and self.every_n_iters(runner, self.interval):
            self._look(runner, f'iter_{runner.iter + 1}')

    def _measure(self, runner):
        broadcast_batch_norm(unwrap(runner.model))  # each process extracts with the statistics that are saved
        with evaluating(runner), autocast(runner):
            found = extract_features(runner.model, self.dataset, **self.extraction)
        features = found[self.layer].reshape(len(found), -1)
        return broadcast_object(quality.run(features) if get_rank() == 0 else None)

    def _look(self, runner, when):
        metrics = self._measure(runner)
        log_evaluation(runner, _named(metrics))
        if self.save_best:
            score = metrics[self.save_best]
            if self.save_best == 'alpha_req':
                score = -abs(score - 1)
            keys = (f'best_{self.save_best}', f'best_{self.save_best}_ckpt')
            keep_best(runner, self.save_best, score, when, False, *keys)


def _named(metrics):
    return {f'quality_{name}': value for name, value in metrics.items()}

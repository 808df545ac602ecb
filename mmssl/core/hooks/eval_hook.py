# Copyright (c) mmssl contributors. All rights reserved.
"""Evaluation on the validation set while training."""
import math
import os
from pathlib import Path

from mmcv.runner.hooks import Hook
from mmcv.runner.hooks.logger import LoggerHook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.registry import accepted_arguments
from ..builder import HOOKS
from ..evaluation import build_meters, collect_outputs, evaluate_outputs
from .any_runner import autocast, defer, evaluating, log_evaluation
from .text_logger import LastIterationHook


def keep_best(runner, name, score, when, less=False, score_key='best_score', path_key='best_ckpt'):
    """Keep the checkpoint of the best score so far, as best_NAME_WHEN.pth, and remove the one before.

    Args:
        runner (BaseRunner): Its `meta['hook_msgs']`, thus each checkpoint, holds the best score and its file.
        name (str): Of the metric.
        score (float): Of now.
        when (str): 'epoch_3' or 'iter_300'.
        less (bool): Whether less is better.
        score_key, path_key (str): Under which names the score and its file are held.
    """
    if math.isnan(score):  # a figure that these features do not have
        return
    if runner.meta is None:  # of mmcv's own runners
        runner.meta = {}
    messages = runner.meta.setdefault('hook_msgs', {})
    best = messages.get(score_key)
    if best is not None and (score >= best if less else score <= best):
        return
    old, new = messages.get(path_key), f'best_{name}_{when}.pth'
    messages.update({score_key: score, path_key: os.path.join(runner.work_dir, new)})

    def save():
        runner.save_checkpoint(runner.work_dir, filename_tmpl=new, create_symlink=False)
        if runner.rank == 0 and old:
            # by its name: the folder may be a copy of that in which the training began
            Path(runner.work_dir, os.path.basename(old)).unlink(missing_ok=True)
        runner.logger.info('Best %s is %.4f, saved as %s', name, score, new)

    defer(runner, save)


@HOOKS.register_module()
class EvalHook(Hook):
    """Evaluate every so many epochs or iterations, in one process or several; see evaluate_outputs.

    Args:
        dataloader: Loader of the validation set.
        start (int, optional): First epoch (or iteration) to evaluate; later ones are counted from it.
        interval (int): Epochs (or iterations) between evaluations.
        by_epoch (bool): Which of the two.
        save_best (str, optional): Metric whose best checkpoint is kept as best_METRIC_epoch_N.pth; 'auto' takes the
            first metric.
        rule (str, optional): 'greater' or 'less', whichever is better; by default less for names with 'loss'.
        metric (str): 'accuracy', by the data set's `evaluate`, or 'mean_average_precision' where images have several
            labels.
        meter (dict | list[dict] | None): Meters instead, by name, such as dict(type='AccuracyListMeter',
            topk_values=[1, 3]); they measure each output of the model.
        metric_options (dict, optional): As eval_kwargs, for old configs.
        eval_kwargs: Passed to the data set's evaluate, such as topk=(1, 5).
    """

    def __init__(self,
                 dataloader,
                 start=None,
                 interval=1,
                 by_epoch=True,
                 save_best=None,
                 rule=None,
                 metric='accuracy',
                 meter=None,
                 metric_options=None,
                 **eval_kwargs):
        if not isinstance(interval, int) or interval < 1:
            raise ConfigError(f'evaluation.interval is a positive integer, got {interval!r}')
        if rule not in (None, 'greater', 'less'):
            raise ConfigError(f"evaluation.rule is 'greater' or 'less', got {rule!r}")
        self.meters = build_meters(metric, meter)
        eval_kwargs = {**(metric_options or {}), **eval_kwargs}
        if self.meters is not None and eval_kwargs:
            raise ConfigError(f'evaluation: a meter takes its own settings, got {next(iter(eval_kwargs))!r} beside it')
        topk = eval_kwargs.get('topk', [1])
        if not isinstance(topk, (list, tuple)) or not topk or not all(type(k) is int and k > 0 for k in topk):
            raise ConfigError(f'evaluation.topk is a list of positive integers such as [1, 5], got {topk!r}')
        for dataset in [dataloader.dataset, *getattr(dataloader.dataset, 'datasets', ())]:
            if self.meters is not None:
                break
            if getattr(getattr(dataset, 'data_source', None), 'multi_label', False):
                raise ConfigError('evaluation: images of data.val have several labels, and an accuracy takes one: set '
                                  "evaluation.metric='mean_average_precision'")
            if not hasattr(dataset, 'evaluate'):
                raise ConfigError(f'evaluation: {type(dataset).__name__} has no evaluate; data.val is a '
                                  'SingleViewDataset or another data set with one image a sample, or a list of them')
            known, open_ended = accepted_arguments(dataset.evaluate)
            for name in () if open_ended else eval_kwargs:
                if name not in known:
                    raise ConfigError(f'evaluation: {type(dataset).__name__}.evaluate takes no {name!r}; '
                                      f'{nearest(name, known)}')
        self.dataloader = dataloader
        self.start = start
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_best = save_best
        self.rule = rule
        self.eval_kwargs = eval_kwargs

    def _due(self, current):
        start = self.interval if self.start is None else max(1, self.start)
        return current >= start and (current - start) % self.interval == 0

    def after_train_iter(self, runner):
        if not self.by_epoch and self._due(runner.iter + 1):
            # what the loggers have of this iteration goes out first, then the metrics on a line of their own
            for hook in runner.hooks:
                if isinstance(hook, (LastIterationHook, LoggerHook)):
                    hook.after_train_iter(runner)
            runner.log_buffer.clear()
            self._evaluate(runner, f'iter_{runner.iter + 1}')

    def after_train_epoch(self, runner):
        if self.by_epoch and self._due(runner.epoch + 1):
            self._evaluate(runner, f'epoch_{runner.epoch + 1}')

    def _evaluate(self, runner, when):
        with evaluating(runner), autocast(runner):
            outputs = collect_outputs(runner.model, self.dataloader)
        metrics = evaluate_outputs(
            outputs,
            self.dataloader.dataset,
            self.meters,
            getattr(unwrap(runner.model), 'label_names', None),
            logger=runner.logger,
            **self.eval_kwargs)
        metrics = {name: float(value) for name, value in metrics.items()}
        for name, value in metrics.items():
            if math.isnan(value):
                raise FloatingPointError(f'evaluation after {when}: {name} is NaN')
        log_evaluation(runner, metrics, eval_iter_num=len(self.dataloader))
        if self.save_best is not None:
            name = next(iter(metrics)) if self.save_best == 'auto' else self.save_best
            if name not in metrics:
                raise ConfigError(f'evaluation.save_best: there is no metric {name!r}; {nearest(name, metrics)}')
            less = self.rule == 'less' or (self.rule is None and 'loss' in name)
            keep_best(runner, name, metrics[name], when, less)


@HOOKS.register_module()
class DistEvalHook(EvalHook):
    """EvalHook under its old name for several processes; EvalHook serves both."""

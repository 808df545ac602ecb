# Copyright (c) mmssl contributors. All rights reserved.
"""Is this loss normal? The spread of the projections of the current batch, while training."""
import torch
from mmcv.runner import Hook

from mmssl.evaluation.features import pool
from mmssl.evaluation.representation import alignment, effective_rank, feature_std, uniformity
from mmssl.utils import dist
from mmssl.utils.checkpoint import unwrap
from ..builder import HOOKS


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Log how the features of the current batch fill their space, and warn once when they have collapsed.

    Adds `feature_std`, `effective_rank` and `uniformity` of the first view to the log (see
    mmssl.evaluation.representation for their scales), and `alignment` of the first two views where both pass through
    the same module. The batch is that of rank 0, the features are those that training computes anyway: nothing is
    computed twice, and between the intervals nothing at all. A method that predicts pixels, gradients or words of its
    images (`has_fixed_targets`) cannot collapse: of it the figures are logged, and nothing is said.

    Args:
        interval (int): Iterations from look to look.
        part (str, optional): 'neck' or 'backbone', whose output is looked at; by default the neck, where there is one
            whose output are features: a decoder gives none.
        max_samples (int): At most this many samples of the batch are looked at.
        min_std (float): Below this `feature_std`, collapse is reported.
        min_rank (float): Below this `effective_rank`, collapse is reported.
    """

    def __init__(self, interval=50, part=None, max_samples=256, min_std=0.05, min_rank=1.2):
        if part not in (None, 'neck', 'backbone'):
            raise ValueError(f"part must be 'neck' or 'backbone', got {part!r}")
        self.interval = interval
        self.part = part
        self.max_samples = max_samples
        self.min_std = min_std
        self.min_rank = min_rank
        self.views = None  # what the watched module gave in this iteration; None while nobody looks
        self.warned = False

    def before_run(self, runner):
        if dist.get_rank() != 0:
            return
        model = unwrap(runner.model)
        fixed = getattr(model, 'has_fixed_targets', False)
        decodes = fixed and getattr(getattr(model, 'neck', None), 'rebuilds', False)
        parts = [self.part] if self.part else ['backbone'] if decodes else ['neck', 'backbone']
        parts_here = [p for p in parts if getattr(model, p, None) is not None]
        if not parts_here:
            raise ValueError(f'CollapseMonitorHook: {type(model).__name__} has no {" and no ".join(parts)}')
        self.warned = self.warned or fixed
        self.of_neck = parts_here[0] == 'neck'
        watched = getattr(model, parts_here[0])
        # stays for the whole run: a compiled module does not notice hooks that come later
        self.handle = watched.register_forward_hook(torch.compiler.disable(self._capture))

    def after_run(self, runner):
        if dist.get_rank() == 0:
            self.handle.remove()

    def _capture(self, module, inputs, output):
        if self.views is not None:
            if isinstance(output, (tuple, list)):
                # the features of a neck come before what else it gives, those of a backbone are of its last stage; what
                # a masked backbone gives besides, such as its mask, has no channels
                output = output[0] if self.of_neck else next(
                    (o for o in reversed(output) if isinstance(o, (tuple, list)) or o.ndim > 2), output[-1])
            self.views.append(pool(output).detach())

    def before_train_iter(self, runner):
        if dist.get_rank() == 0 and self.every_n_iters(runner, self.interval):
            self.views = []

    @torch.no_grad()
    def after_train_iter(self, runner):
        if not self.views:
            return
        views, self.views = [v.float() for v in self.views], None
        if len(views) == 1 and len(views[0]) == 2 * runner.outputs['num_samples']:
            views = views[0].chunk(2)  # both views in one pass, one after the other
        first = views[0][:self.max_samples]
        if len(first) < 2:
            return
        metrics = dict(
            feature_std=feature_std(first), effective_rank=effective_rank(first), uniformity=uniformity(first))
        if len(views) > 1 and views[1].shape == views[0].shape:
            metrics['alignment'] = alignment(first, views[1][:self.max_samples])
        metrics = dict(zip(metrics, torch.stack(list(metrics.values())).tolist()))
        runner.log_buffer.output.update(metrics)
        self._warn(runner, metrics['feature_std'], metrics['effective_rank'], *first.shape)

    def _warn(self, runner, std, rank, samples, dims):
        if self.warned or not (std < self.min_std or rank < self.min_rank):
            return
        self.warned = True
        runner.logger.warning(
            f'The features look collapsed at iteration {runner.iter + 1}: feature_std {std:.3f} (1 is an even spread, '
            f'0 one single point), effective rank {rank:.2f} of at most {min(samples, dims)}. A low loss means nothing '
            'then. Usual causes: a learning rate too high, stop-gradient or predictor missing, momentum encoder not '
            'updated, augmentation that leaves nothing to tell apart. This is said once.')

# Copyright (c) mmssl contributors. All rights reserved.
"""How large is what is trained, and what does it take?"""
import torch
from mmcv.runner.hooks import Hook

from mmssl.models import build_algorithm
from mmssl.models.utils.complexity import cost_in_words, count_multiply_adds, parameter_table
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import describe
from mmssl.utils.rng import get_rng_state, set_rng_state
from ..builder import HOOKS
from .text_logger import peak_memory


def megabytes(tensors):
    """Memory of tensors in MB, of the shards of this process where they are distributed."""
    local = [t.to_local() if hasattr(t, 'to_local') else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in local) / 2**20


@HOOKS.register_module()
class ModelSummaryHook(Hook):
    """Log the size of the model at the start, and after the first step what it takes of memory.

    At the first batch: parameters, part by part, trainable and all; multiply-adds and activations of the backbone for
    one image of each size that the views of the batch have. They are counted on shapes, with a model of the same
    config that has no weights. After the first step of the optimizer: the memory of parameters, gradients and the
    optimizer's state, and the peak of this process.
    """

    def before_run(self, runner):
        self._counted = self._measured = runner.rank != 0

    def before_train_iter(self, runner):
        if self._counted:
            return
        self._counted = True
        lines = [parameter_table(unwrap(runner.model))]
        views = runner.data_batch['img'] if isinstance(runner.data_batch, dict) else runner.data_batch
        views = views if isinstance(views, (list, tuple)) else [views]
        shapes = dict.fromkeys(tuple(view.shape[-3:]) for view in views if getattr(view, 'ndim', 0) >= 4)
        state = get_rng_state()
        for channels, height, width in shapes if runner.config is not None else ():
            try:
                with torch.device('meta'):
                    backbone = build_algorithm(runner.config.model).backbone
                cost = count_multiply_adds(backbone, (height, width), channels)
                lines.append(cost_in_words(*cost, height, width))
            except Exception as error:  # a part that looks at numbers: the training does not depend on this
                lines.append(f'the cost of an image cannot be counted on shapes: {describe(error)}')
                break
        set_rng_state(state)
        runner.logger.info('Size of the model:\n%s', '\n'.join(lines))

    def after_step(self, runner):
        if self._measured:
            return
        self._measured = True
        parameters = list(runner.model.parameters())
        parameters += [p.master for p in parameters if hasattr(p, 'master')]  # of amp.master_weights
        state = [t for s in runner.optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
        runner.logger.info(
            'Memory of process 0 in MB: parameters %.1f, gradients %.1f, state of the optimizer %.1f; peak %d of %s',
            megabytes(parameters), megabytes([p.grad for p in parameters if p.grad is not None]), megabytes(state),
            peak_memory(), 'the GPU' if torch.cuda.is_available() else 'the process')

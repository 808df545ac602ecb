# Copyright (c) mmssl contributors. All rights reserved.
"""The backward pass and the optimizer's step: accumulation, clipping, frozen layers, loss scaling."""
import inspect
import re

import torch
from mmcv.runner.hooks import OptimizerHook as _OptimizerHook
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import clip_grad_norm_

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.master_weights import master_of, update_weights
from mmssl.utils.sharded import is_sharded, local, norms
from ..builder import HOOKS
from ..optimizer.master_weights import hand_gradients_over
from ..sharding import set_gradient_exchange
from .any_runner import call_stage, train_loader


@HOOKS.register_module(name=['DistOptimizerHook', 'OptimizerHook'])
class DistOptimizerHook(_OptimizerHook):
    """Backward pass and optimizer step, on one device or several.

    With `update_interval` k the gradients of k iterations are averaged before a step, as from one k times larger
    batch (batch norm sees the small batches). Groups of k are counted from the start of each epoch (for
    IterBasedRunner, of the training); where k does not divide its length, the last group is smaller, and its mean is
    taken over the batches that it has. Several processes exchange gradients in the last iteration of a group only.
    The model's attribute `is_update_iter` says afterwards whether the weights have changed.

    Args:
        update_interval (int): Iterations a step.
        grad_clip (dict, optional): Arguments of torch.nn.utils.clip_grad_norm_, such as dict(max_norm=35,
            norm_type=2). The norm is logged as grad_norm. With `per='tensor'` each gradient is clipped by its own norm,
            as in DINO, with `per='part'` those of each part of the model (backbone, neck, head) together, as in DINOv2;
            by default all together. What is logged is the norm of all then too.
        coalesce (bool): Accepted for old configs: the wrapper of torch always gathers gradients in buckets.
        bucket_size_mb (int): Accepted for old configs.
        frozen_layers_cfg (dict): Iterations by a part of parameter names, or '1 epoch', '2 epochs': those parameters
            get no gradient, hence no step, before that many iterations.
        loss_scale (float | str | dict, optional): For float16: a fixed factor, 'dynamic', or the arguments of
            torch.amp.GradScaler.
        detect_anomalous_params (bool): Log parameters that the loss does not depend on, each iteration. Slow.
    """

    def __init__(self,
                 update_interval=1,
                 grad_clip=None,
                 coalesce=True,
                 bucket_size_mb=-1,
                 frozen_layers_cfg=dict(),
                 loss_scale=None,
                 detect_anomalous_params=False):
        if not isinstance(update_interval, int) or update_interval < 1:
            raise ConfigError(f'update_interval counts iterations and is at least 1, got {update_interval!r}')
        known = [name for name in inspect.signature(clip_grad_norm_).parameters if name != 'parameters'] + ['per']
        for name in grad_clip or {}:
            if name not in known:
                raise ConfigError(f'grad_clip has no option {name!r}; {nearest(name, known)}', grad_clip)
        per = (grad_clip or {}).get('per', 'model')
        if per not in ('model', 'part', 'tensor'):
            raise ConfigError(f"grad_clip.per is 'model', 'part' or 'tensor', got {per!r}", grad_clip)
        unread = set(grad_clip or {}) - {'per', 'max_norm', 'norm_type'} if per == 'tensor' else ()
        if unread:
            raise ConfigError(f"grad_clip.per='tensor' has no option {min(unread)!r}", grad_clip)
        if grad_clip is not None:
            if grad_clip.get('norm_type') == 'inf':  # as torch takes it
                grad_clip = dict(grad_clip, norm_type=float('inf'))
            for name in ('max_norm', 'norm_type'):
                value = grad_clip.get(name, 2. if name == 'norm_type' else None)
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                    raise ConfigError(f'grad_clip.{name} must be a positive number, got {value!r}', grad_clip)
        super().__init__(grad_clip, detect_anomalous_params)
        self.update_interval = update_interval
        self.frozen_layers_cfg = self._frozen_until = frozen_layers_cfg
        self.loss_scale = loss_scale
        self.scaler = None
        self._scaler_state = None

    def has_batch_norm(self, module):
        """Whether there is batch norm in a module."""
        return any(isinstance(m, _BatchNorm) for m in module.modules())

    def before_run(self, runner):
        if self.loss_scale is not None:
            self.scaler = self._build_scaler(next(runner.model.parameters()).device.type)
            if self._scaler_state:
                # where the scale stands, not the settings that it follows
                state = {key: self._scaler_state[key] for key in ('scale', '_growth_tracker')}
                self.scaler.load_state_dict({**self.scaler.state_dict(), **state})
        if self.update_interval > 1 and self.has_batch_norm(runner.model):
            runner.logger.info('gradients accumulate over %d iterations, batch norm still sees single batches',
                               self.update_interval)
        names = [name for name, _ in runner.model.named_parameters()]
        unknown = [key for key in self.frozen_layers_cfg if not any(key in name for name in names)]
        if unknown:
            raise ConfigError(f'frozen_layers_cfg: no parameter has {unknown[0]!r} in its name')
        self._frozen_until = {
            key: self._iterations(key, until, runner)
            for key, until in self.frozen_layers_cfg.items()
        }

    @staticmethod
    def _iterations(key, until, runner):
        """What a value of frozen_layers_cfg says, in iterations."""
        epochs = re.fullmatch(r'(\d+) epochs?', until) if isinstance(until, str) else None
        if epochs is None:
            if type(until) is not int or until < 0:
                raise ConfigError(f"frozen_layers_cfg: {key!r} stays for a number of iterations or '1 epoch', got "
                                  f'{until!r}')
            return until
        loader = train_loader(runner)
        if loader is None:
            raise ConfigError(f'frozen_layers_cfg: this runner does not tell how long {until!r} is; set a number of '
                              'iterations')
        return int(epochs[1]) * len(loader)

    def _build_scaler(self, device):
        if self.loss_scale == 'dynamic':
            return torch.amp.GradScaler(device)
        if isinstance(self.loss_scale, dict):
            return torch.amp.GradScaler(device, **self.loss_scale)
        if isinstance(self.loss_scale, (int, float)):
            return torch.amp.GradScaler(device, init_scale=float(self.loss_scale))
        raise ConfigError(f"loss_scale is a number, 'dynamic' or a dict, got {self.loss_scale!r}")

    def state_dict(self):
        return dict(scaler=self.scaler.state_dict() if self.scaler else {})

    def load_state_dict(self, state):
        self._scaler_state = state['scaler']

    def _group(self, runner):
        """Number of iterations in the current group, and whether this one begins and ends it."""
        done, total = (runner.iter, runner.max_iters) if runner.max_epochs is None else \
            (runner.inner_iter, len(runner.data_loader))
        index = done % self.update_interval
        size = min(self.update_interval, total - done + index)
        return size, index == 0, index == size - 1

    def before_train_iter(self, runner):
        set_gradient_exchange(runner.model, self._group(runner)[2])

    def after_train_iter(self, runner):
        size, first, last = self._group(runner)
        if first:
            runner.optimizer.zero_grad()
        loss = runner.outputs['loss']
        if self.detect_anomalous_params:
            self.detect_anomalous_parameters(loss, runner)
        if size > 1:
            loss = loss / size
        call_stage(runner, 'before_backward')
        (self.scaler.scale(loss) if self.scaler else loss).backward()
        guard = getattr(runner, 'loss_guard', None)
        if guard is not None:
            guard.check()  # the device has the backward pass to do while the host waits for this
        call_stage(runner, 'after_backward')
        if last:
            self._update(runner)
        unwrap(runner.model).is_update_iter = last

    def _update(self, runner):
        frozen = [key for key, until in self._frozen_until.items() if runner.iter < until]
        if frozen:
            for name, parameter in runner.model.named_parameters():
                if any(key in name for key in frozen):
                    parameter.grad = None
        guard = getattr(runner, 'loss_guard', None)
        if guard is not None and not self.scaler:  # a scaler leaves such a step out
            guard.watch_gradients()
        model = unwrap(runner.model)
        hand_gradients_over(model)
        if self.scaler:
            self.scaler.unscale_(runner.optimizer)
        if self.grad_clip is not None:
            norm = clip_gradients(model, **self.grad_clip)
            if norm is not None:
                runner.log_buffer.update({'grad_norm': norm}, runner.outputs['num_samples'])
        call_stage(runner, 'before_step')
        if self.scaler:
            self.scaler.step(runner.optimizer)
            # a number keeps the scale where it is
            self.scaler.update(float(self.loss_scale) if isinstance(self.loss_scale, (int, float)) else None)
        else:
            runner.optimizer.step()
        update_weights(model)
        call_stage(runner, 'after_step')


def clip_gradients(model, max_norm, norm_type=2.0, per='model', **kwargs):
    """Scale gradients down to a norm.

    Args:
        model (nn.Module): The model.
        max_norm (float): Largest norm.
        norm_type (float): Kind of norm.
        per (str): What has that norm: each 'tensor', each 'part' of the model, or all of it ('model').
        kwargs: Of torch.nn.utils.clip_grad_norm_.

    Returns:
        Tensor | None: The norm of all gradients as they were, 0-dim; None where there are none.
    """
    groups = {}
    for name, parameter in model.named_parameters():
        parameter = master_of(parameter)
        if parameter.grad is not None:
            key = dict(tensor=name, part=name.split('.')[0], model='')[per]
            groups.setdefault(key, []).append(parameter)
    if not groups:
        return None
    if per == 'tensor':  # in a few calls for all, as there are hundreds
        gradients = [parameter.grad for group in groups.values() for parameter in group]
        found = norms(gradients, norm_type)
        factors = (max_norm / (found + 1e-6)).clamp(max=1.)
        torch._foreach_mul_([local(gradient) for gradient in gradients], list(factors.unbind()))
        return found.norm(norm_type)
    found = [clip_grad_norm_(group, max_norm, norm_type, **kwargs) for group in groups.values()]
    return torch.stack([norm.full_tensor() if is_sharded(norm) else norm for norm in found]).norm(norm_type)


@HOOKS.register_module(name=['GradAccumFp16OptimizerHook', 'Fp16OptimizerHook'])
class GradAccumFp16OptimizerHook(DistOptimizerHook):
    """DistOptimizerHook in float16: the forward pass under autocast, the loss scaled.

    Args:
        update_interval (int): Iterations a step.
        frozen_layers_cfg (dict): See DistOptimizerHook.
        loss_scale (float | str | dict): See DistOptimizerHook.
        distributed (bool): Accepted for old configs: the process group tells.
        kwargs: Of DistOptimizerHook.
    """

    def __init__(self, update_interval=1, frozen_layers_cfg=dict(), loss_scale=512., distributed=True, **kwargs):
        super().__init__(update_interval, frozen_layers_cfg=frozen_layers_cfg, loss_scale=loss_scale, **kwargs)

    def before_run(self, runner):
        super().before_run(runner)
        if not hasattr(runner, 'amp_dtype'):
            raise ConfigError(f'{type(self).__name__} computes in float16, which {type(runner).__module__}.'
                              f'{type(runner).__name__} cannot: take the runner of this toolbox')
        if runner.amp_dtype is None:
            runner.amp_dtype = torch.float16

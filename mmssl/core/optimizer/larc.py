# Copyright (c) mmssl contributors. All rights reserved.
"""LARC: any optimizer with a rate for each layer."""
import torch
from torch.optim import Optimizer

from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.registry import build_from_cfg
from mmssl.utils.sharded import local
from ..builder import OPTIMIZERS
from .builder import in_fast_form
from .lars import loss_of
from .local_rates import local_rates


@OPTIMIZERS.register_module()
class LARC(Optimizer):
    """Layer-wise adaptive rate control, around another optimizer (https://arxiv.org/abs/1708.03888; Apex's LARC).

    A parameter w with gradient g has the local rate
    `q = trust_coefficient * |w| / (|g| + weight_decay * |w| + larc_eps)`. The other optimizer gets the gradient
    `(g + weight_decay * w) * min(q / lr, 1)`, which makes its rate the smaller one of `q` and `lr`; with `clip=False`
    the gradient `(g + weight_decay * w) * q`, for the rate `lr * q` of LARS. Where |w| or |g| is zero that factor is 1,
    with weight decay, which Apex leaves out there. Norms stay on the device.

    Optimizers that decouple weight decay (AdamW) keep it to themselves. The state is that of the other optimizer.

    Args:
        params (iterable): Parameters or groups of them. A group with `lars_exclude=True` is left to the other optimizer
            as it is, the usual choice for biases and norm parameters.
        lr (float): Learning rate.
        base (dict): The other optimizer: `type`, and its arguments but for `lr` and `weight_decay`.
        weight_decay (float): Weight decay.
        trust_coefficient (float): Trust coefficient.
        clip (bool): Whether the local rate is at most `lr`, instead of a factor of it.
        larc_eps (float): Added to the denominator of the local rate.

    Raises:
        ConfigError: A negative number; a `base` that has a rate of its own or is LARS or LARC.
    """

    def __init__(self, params, lr, base, weight_decay=0., trust_coefficient=0.001, clip=True, larc_eps=1e-8):
        numbers = dict(lr=lr, weight_decay=weight_decay, trust_coefficient=trust_coefficient, larc_eps=larc_eps)
        for name, value in numbers.items():
            if value < 0:
                raise ConfigError(f'LARC takes no negative {name}, got {value}')
        if not isinstance(base, dict) or base.get('type') in (None, 'LARS', 'LARC'):
            raise ConfigError("LARC.base is the optimizer around which it stands, such as dict(type='SGD', "
                              f'momentum=0.9), got {base!r}')
        for name in ('lr', 'weight_decay'):
            if name in base:
                raise ConfigError(f'LARC has {name} itself: it stands beside base, not in it', base)
        own = dict(
            base=dict(base), trust_coefficient=trust_coefficient, clip=clip, larc_eps=larc_eps, lars_exclude=False)
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, **own))
        self.base = build_from_cfg(in_fast_form(base), OPTIMIZERS, dict(params=self.param_groups, lr=lr))
        if 'betas' in self.base.defaults:
            get_root_logger().warning(
                'LARC around %s: it divides each gradient by the size that it had of late, so that the local rates '
                'change little', base['type'])
        self._share()

    def _share(self):
        """One state and one list of groups for both."""
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def state_dict(self):
        return self.base.state_dict()

    def load_state_dict(self, state_dict):
        then, now = (
            groups[0].get('base', {}).get('type') for groups in (state_dict['param_groups'], self.param_groups))
        if then != now:
            raise ConfigError(f'the state is that of LARC around {then}, and optimizer.base is {now}')
        self.base.load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure=None):
        """Make one step.

        Args:
            closure (callable, optional): Computes the loss and its gradients again.

        Returns:
            The loss of `closure`, else None.
        """
        loss = loss_of(closure)
        decays = [group['weight_decay'] for group in self.param_groups]
        try:
            for group in self.param_groups:
                self._scale(group)
            self.base.step()
        finally:
            for group, decay in zip(self.param_groups, decays):
                group['weight_decay'] = decay
        return loss

    @staticmethod
    def _scale(group):
        """Make the gradients of a group those that the other optimizer gets."""
        params = [p for p in group['params'] if p.grad is not None]
        if not params or group['lars_exclude']:
            return
        decay = group['weight_decay']
        rates, known = local_rates(params, decay, group['trust_coefficient'], group['larc_eps'])
        if group['clip']:
            rates = (rates / group['lr'] if group['lr'] else torch.ones_like(rates)).clamp(max=1.)
        grads = [local(p.grad) for p in params]
        if decay and not group.get('decoupled_weight_decay'):
            torch._foreach_add_(grads, [local(p) for p in params], alpha=decay)
            group['weight_decay'] = 0.
        torch._foreach_mul_(grads, list(torch.where(known, rates, 1.).unbind()))

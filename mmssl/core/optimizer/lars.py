# Copyright (c) mmssl contributors. All rights reserved.
"""LARS by multi-tensor operations."""
import torch
from torch.optim import Optimizer

from mmssl.utils.sharded import is_sharded, local
from ..builder import OPTIMIZERS
from .local_rates import local_rates

# torch's fused SGD reads and writes each value once, where multi-tensor operations pass over the memory four times
ONE_PASS_ON_CPU = torch._C._dispatch_has_kernel_for_dispatch_key('aten::_fused_sgd_', 'CPU')


def loss_of(closure):
    """What the closure of an optimizer's step gives, with gradients; None where there is none."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (https://arxiv.org/abs/1708.03888), algorithm 1.

    For a parameter w with gradient g the local rate is `eta * |w| / (|g| + weight_decay * |w| + eps)`, or 1 where |w|
    or |g| is zero; the velocity is `v = momentum * v + lr * local * (g + weight_decay * w)` and the step `w - v`.
    On a GPU all parameters of a group go through each operation together, and no value is moved to the host; on a
    CPU each goes through all operations at once. Of sharded parameters each process makes the steps of its parts, by
    the norms of the whole.

    Args:
        params (iterable): Parameters or groups of them. A group with `lars_exclude=True` has a local rate of 1 (plain
            SGD), the usual choice for biases and norm parameters.
        lr (float): Learning rate.
        momentum (float): Momentum.
        weight_decay (float): Weight decay.
        dampening (float): Share of the new step that the velocity leaves out, but in a parameter's first step.
        eta (float): Trust coefficient.
        nesterov (bool): Whether to look ahead along the velocity; needs momentum and no dampening.
        eps (float): Added to the denominator of the local rate.
    """

    def __init__(self, params, lr, momentum=0, weight_decay=0, dampening=0, eta=0.001, nesterov=False, eps=1e-8):
        for name, value in dict(lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta, eps=eps).items():
            if value < 0:
                raise ValueError(f'LARS takes no negative {name}, got {value}')
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(f'nesterov needs a momentum and zero dampening, got {momentum} and {dampening}')
        super().__init__(
            params,
            dict(
                lr=lr,
                momentum=momentum,
                weight_decay=weight_decay,
                dampening=dampening,
                eta=eta,
                nesterov=nesterov,
                eps=eps,
                lars_exclude=False))

    @torch.no_grad()
    def step(self, closure=None):
        """Make one step.

        Args:
            closure (callable, optional): Computes the loss and its gradients again.

        Returns:
            The loss of `closure`, else None.
        """
        loss = loss_of(closure)
        for group in self.param_groups:
            # velocities that are new are not dampened; they go apart, so that each call has one factor
            params = [p for p in group['params'] if p.grad is not None]
            new = [p for p in params if 'momentum_buffer' not in self.state[p]]
            old = [p for p in params if 'momentum_buffer' in self.state[p]]
            if new:
                self._update(new, group, 1.)
            if old:
                self._update(old, group, 1. - group['dampening'])
        return loss

    def _update(self, params, group, share):
        """Steps of some parameters of a group; `share` is 1 - dampening."""
        momentum = group['momentum']
        if momentum == 0:
            steps = [torch.zeros_like(local(p)) for p in params]
            self._add_step(steps, params, group, 1., self._rates(params, group))
        else:
            for p in params:
                if 'momentum_buffer' not in self.state[p]:
                    self.state[p]['momentum_buffer'] = torch.zeros_like(p)
            rest = []
            for p in params:
                v = self.state[p]['momentum_buffer']
                if not is_sharded(p) and self._fits_one_pass(p, v, group):
                    self._update_in_one_pass(p, v, group, share)
                else:
                    rest.append(p)
            params, velocities = rest, [local(self.state[p]['momentum_buffer']) for p in rest]
            if not params:
                return
            rates = self._rates(params, group)
            torch._foreach_mul_(velocities, momentum)
            self._add_step(velocities, params, group, share, rates)
            steps = velocities
            if group['nesterov']:
                steps = torch._foreach_mul(velocities, momentum)
                self._add_step(steps, params, group, 1., rates)
        torch._foreach_sub_([local(p) for p in params], steps)

    @staticmethod
    def _fits_one_pass(p, v, group):
        """Whether the kernel of the CPU serves, which goes through the memory regardless of strides."""
        g = p.grad
        return (ONE_PASS_ON_CPU and p.device.type == 'cpu' and not group['lars_exclude'] and not group['nesterov']
                and p.dtype == g.dtype and p.dtype in (torch.float32, torch.float64)
                and p.stride() == g.stride() == v.stride())

    @staticmethod
    def _update_in_one_pass(p, v, group, share):
        """The step of one parameter on a CPU: what the norms have read is still in the cache for the update."""
        g = p.grad
        # the norm as a dot product of the memory as it lies: a third of vector_norm's time
        flat_p, flat_g = p.as_strided((p.numel(), ), (1, )), g.as_strided((g.numel(), ), (1, ))
        weight_norm, grad_norm = torch.dot(flat_p, flat_p).item()**0.5, torch.dot(flat_g, flat_g).item()**0.5
        rate = group['lr']
        if weight_norm > 0 and grad_norm > 0:
            rate *= group['eta'] * weight_norm / (grad_norm + group['weight_decay'] * weight_norm + group['eps'])
        # v = momentum * v + (1 - dampening) * (g + weight_decay * p), p = p - lr * v
        torch._fused_sgd_([p], [g], [v],
                          weight_decay=group['weight_decay'],
                          momentum=group['momentum'],
                          lr=1.,
                          dampening=1 - share * rate,
                          nesterov=False,
                          maximize=False,
                          is_first_step=False)

    @staticmethod
    def _rates(params, group):
        """Learning rate times local rate of each parameter, a vector on the device; None where that is 1."""
        if group['lars_exclude']:
            return None
        rates, known = local_rates(params, group['weight_decay'], group['eta'], group['eps'])
        return group['lr'] * torch.where(known, rates, 1.)

    @staticmethod
    def _add_step(sums, params, group, share, rates):
        """Add rate * (gradient + weight_decay * parameter) to `sums` in place."""
        decay, grads, params = group['weight_decay'], [local(p.grad) for p in params], [local(p) for p in params]
        if rates is None:
            torch._foreach_add_(sums, grads, alpha=share * group['lr'])
            if decay:
                torch._foreach_add_(sums, params, alpha=share * group['lr'] * decay)
        else:
            torch._foreach_addcmul_(sums, grads, list((share * rates).unbind()))
            if decay:
                torch._foreach_addcmul_(sums, params, list((share * decay * rates).unbind()))

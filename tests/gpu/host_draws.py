"""The same random numbers on every device."""
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DRAWING = {
    'rand', 'randn', 'randint', 'randperm', 'normal', 'rand_like', 'randn_like', 'randint_like', 'bernoulli',
    'bernoulli_', 'uniform_', 'normal_', 'random_', 'exponential_', 'multinomial', 'native_dropout'
}  # yapf: disable


class HostDraws(TorchDispatchMode):
    """Draw random numbers on the CPU, from its generator, and copy them to where they were asked for.

    Attributes:
        count (int): Draws so far.
    """

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func.overloadpacket.__name__ not in DRAWING:
            return func(*args, **kwargs)
        self.count += 1
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        device = torch.device(kwargs.get('device') or (tensors[0].device if tensors else 'cpu'))
        if 'device' in kwargs or not tensors:
            kwargs['device'] = torch.device('cpu')
        found = func(*tree_map(lambda arg: arg.cpu() if isinstance(arg, torch.Tensor) else arg, args), **kwargs)
        if func._schema.is_mutable:
            return args[0].copy_(found)
        return tree_map(lambda value: value.to(device), found)

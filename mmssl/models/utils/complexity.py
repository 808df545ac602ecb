# Copyright (c) mmssl contributors. All rights reserved.
"""How large a model is, and what one image costs it."""
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


class _Outputs(TorchDispatchMode):
    """Counts the elements that convolutions and products of matrices give."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.elements += (out[0] if isinstance(out, (tuple, list)) else out).numel()
        return out


def count_multiply_adds(backbone, size, channels=None):
    """What one image costs a backbone.

    The weights and the image are only shapes here ('meta' tensors), so that nothing is computed.

    Args:
        backbone (nn.Module): Moved to the meta device; of no more use afterwards.
        size (int | tuple[int, int]): Side of the image in pixels, or its height and width.
        channels (int, optional): Of the image, by default the backbone's `in_channels`, or 3.

    Returns:
        tuple[int, int]: Multiply-adds, one for each multiplication with its addition; and activations, the numbers
            that convolutions, linear layers and attention give.
    """
    height, width = (size, size) if isinstance(size, int) else size
    image = torch.empty(1, channels or getattr(backbone, 'in_channels', 3), height, width, device='meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad(), _Outputs() as outputs:
        backbone.to('meta').eval()(image)
    return counter.get_total_flops() // 2, outputs.elements


def parameter_table(model):
    """Parameters of a model, part by part.

    Args:
        model (nn.Module): The model.

    Returns:
        str: A row for each part and one for the whole, with trainable and all parameters.
    """
    lines = [f'{"part":<20} {"trainable":>14} {"total":>14}']
    for name, part in [*model.named_children(), ('model', model)]:
        sizes = [(p.numel(), p.requires_grad) for p in part.parameters()]
        lines.append(f'{name:<20} {sum(n for n, trained in sizes if trained):>14,} {sum(n for n, _ in sizes):>14,}')
    return '\n'.join(lines)


def cost_in_words(multiply_adds, activations, height, width):
    """One line of what count_multiply_adds found."""
    return (f'backbone, one image of {height}x{width}: {multiply_adds / 1e9:.2f} G multiply-adds, '
            f'{activations / 1e6:.1f} M activations')

# Copyright (c) mmssl contributors. All rights reserved.
"""Windows of an average pooling in one word, such as 10x10s4."""
import re

WINDOW = re.compile(r'(\d+)(?:x(\d+))?(?:s(\d+)(?:x(\d+))?)?(?:p(\d+)(?:x(\d+))?)?')


def parse_window(text):
    """'6' to a window of 6 x 6 at steps of 6, '16x16s8' to one at steps of 8, '10s10p4' with a border of 4 zeros.

    Args:
        text (str): KERNEL, then s and the stride, p and the padding; each one number, or height x width.

    Returns:
        dict: Arguments of torch.nn.AvgPool2d: kernel_size, stride and padding, each (height, width).

    Raises:
        ValueError: Something else, or a window that cannot be.
    """
    found = WINDOW.fullmatch(text)
    if not found:
        raise ValueError(f'{text!r} is no window: write its size, and where they are not the size and 0 the stride and '
                         'the padding, such as 6, 10x10s4 or 10s10p4')
    kernel, stride, padding = (found.group(i, i + 1) for i in (1, 3, 5))
    kernel = (int(kernel[0]), int(kernel[1] or kernel[0]))
    stride = kernel if stride[0] is None else (int(stride[0]), int(stride[1] or stride[0]))
    padding = (0, 0) if padding[0] is None else (int(padding[0]), int(padding[1] or padding[0]))
    if min(*kernel, *stride) < 1 or any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f'{text!r} is no window: size and stride are at least 1, the padding at most half the size')
    return dict(kernel_size=kernel, stride=stride, padding=padding)

# Copyright (c) mmssl contributors. All rights reserved.
"""Count the parameters of a config's model, part by part, and the multiply-adds of its backbone."""
import argparse

from mmssl.utils.config import add_cfg_options, check_sections, load_config
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--size', type=int, default=224, help='side in pixels of the image that goes through')
    add_cfg_options(parser)
    return parser.parse_args()


def count_multiply_adds(backbone, size):
    """Multiply-adds of one image's way through a backbone.

    The weights and the image are only shapes here ('meta' tensors), so that nothing is computed.

    Args:
        backbone (nn.Module): Moved to the meta device; of no more use afterwards.
        size (int): Side of the image in pixels.

    Returns:
        int: One for each multiplication with its addition.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    image = torch.empty(1, getattr(backbone, 'in_channels', 3), size, size, device='meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.to('meta').eval()(image)
    return counter.get_total_flops() // 2


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model'])
    import torch

    from mmssl.models import build_algorithm
    try:
        with torch.device('meta'):  # shapes alone: ten billion weights would fill 40 GB
            model = build_algorithm(cfg.model)
    except (NotImplementedError, RuntimeError):  # a part of the user's looks at numbers when it is made
        model = build_algorithm(cfg.model)

    print(f'{"part":<20} {"trainable":>14} {"total":>14}')
    for name, part in [*model.named_children(), ('model', model)]:
        sizes = [(p.numel(), p.requires_grad) for p in part.parameters()]
        print(f'{name:<20} {sum(n for n, trained in sizes if trained):>14,} {sum(n for n, _ in sizes):>14,}')
    multiply_adds = count_multiply_adds(model.backbone, args.size)
    print(f'backbone, one image of {args.size}x{args.size}: {multiply_adds / 1e9:.2f} G multiply-adds')


if __name__ == '__main__':
    run_tool(main)

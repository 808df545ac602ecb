# Copyright (c) mmssl contributors. All rights reserved.
"""Count the parameters of a config's model, part by part, and the multiply-adds and activations of its backbone."""
import argparse

from mmssl.utils.config import add_cfg_options, check_sections, load_config
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--size', type=int, default=224, help='side in pixels of the image that goes through')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model'])
    import torch

    from mmssl.models import build_algorithm
    from mmssl.models.utils.complexity import cost_in_words, count_multiply_adds, parameter_table
    try:
        with torch.device('meta'):  # shapes alone: ten billion weights would fill 40 GB
            model = build_algorithm(cfg.model)
    except (NotImplementedError, RuntimeError):  # a part of the user's looks at numbers when it is made
        model = build_algorithm(cfg.model)

    print(parameter_table(model))
    print(cost_in_words(*count_multiply_adds(model.backbone, args.size), args.size, args.size))


if __name__ == '__main__':
    run_tool(main)

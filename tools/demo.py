# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train, then show what was learned: figures against raw pixels and random weights, and pictures.

`mmssl demo` is the same.
"""
import argparse

from mmssl.utils.config import add_cfg_options, load_config
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file with a section `demo`: the data sets of the evaluation')
    parser.add_argument('--work-dir', '--work_dir', help='folder of results (default: that of the config)')
    parser.add_argument('--seed', type=int, help='seed of all random numbers (default: that of the config)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    # the arguments are right: now the heavy imports
    from mmssl.apis.demo_run import run_demo
    run_demo(args.config, cfg, args.work_dir, args.seed)


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""Print a config with everything that it inherits; the output is a config file again."""
import argparse

from mmssl.utils.config import add_cfg_options, load_config
from mmssl.utils.config_text import config_text
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    print(config_text(load_config(args.config, args.cfg_options)), end='')


if __name__ == '__main__':
    run_tool(main)

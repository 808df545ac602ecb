# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train on small images for a minute, and show what was learned against raw pixels and random weights.

  mmssl demo
  mmssl demo configs/demo/simclr_fashion-mnist.py --out work_dirs/fashion
"""
from .options import add_set_option, our_words

DEFAULT = 'configs/demo/simclr_digits.py'


def add_arguments(parser):
    parser.add_argument(
        'config',
        nargs='?',
        default=DEFAULT,
        metavar='CONFIG',
        help='config with a section `demo`, the data sets of the evaluation (default: digits that scikit-learn carries)'
    )
    parser.add_argument('--out', metavar='DIR', help='folder of results (default: that of the config)')
    parser.add_argument('--seed', type=int, metavar='N', help='of all random numbers (default: that of the config)')
    add_set_option(parser, 'settings of the config by dotted key')


def run(args):
    from mmssl.utils.config import load_config
    with our_words():
        cfg = load_config(args.config, args.settings)
    from mmssl.apis.demo_run import run_demo
    run_demo(args.config, cfg, args.out, args.seed)

# Copyright (c) mmssl contributors. All rights reserved.
"""Run a suite of evaluation protocols on one pre-trained model and write a report.

Features are extracted once; report.json, report.md and report.html go to the folder --out. A protocol that
cannot run is named there with its reason, and the others are kept. The exit status is 3 where none could run.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options, require_checkpoint
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py', layers=())
    parser.add_argument('--suite', default='quick', help='quick, full, or names of protocols by commas')
    parser.add_argument(
        '--baselines',
        action=argparse.BooleanOptionalAction,
        help='compare with random weights and raw pixels (default: in full)')
    parser.add_argument('--seed', type=int, default=0, help='of random weights and draws of samples')
    args = parser.parse_args()
    require_checkpoint(parser, args)
    if not args.out:
        parser.error('--out FOLDER is needed: the report is written there')
    return args


def main():
    args = parse_args()

    import sys

    from mmssl.apis.suite import run_suite
    sys.exit(3 if run_suite(args) else 0)


if __name__ == '__main__':
    run_tool(main, distributed=True)

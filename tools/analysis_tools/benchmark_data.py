# Copyright (c) mmssl contributors. All rights reserved.
"""Images per second of one worker: a config's training pipeline, each of its steps, decoding, torchvision on Pillow.

With --case, that of other data than those of the config, next to what it improves on.
"""
import argparse

from mmssl.benchmarks.data_cases import CASES
from mmssl.utils.config import add_cfg_options, check_sections, load_config
from mmssl.utils.misc import run_tool, write_json


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--data-prefix',
        metavar='FOLDER',
        help='folder of images to measure with; default: 500x375 JPEGs made of the photographs that scikit-learn '
        'carries, or the images of a small source such as Digits')
    parser.add_argument('--case', choices=CASES, help='; '.join(f'{name}: {what}' for name, what in CASES.items()))
    parser.add_argument('--num', type=int, default=100, help='number of samples, each timed several times')
    parser.add_argument('--out', metavar='FILE.json', help='write the result there as well')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['data.train'])
    if args.case:
        from mmssl.benchmarks.data_cases import format_case, run_case
        result = run_case(args.case, cfg.data.train, args.data_prefix, args.num)
        print(format_case(result))
    else:
        from mmssl.benchmarks.data import benchmark_dataset, format_table
        result = benchmark_dataset(cfg.data.train, args.data_prefix, args.num)
        print(format_table(result))
    if args.out:
        write_json(args.out, result)


if __name__ == '__main__':
    run_tool(main)

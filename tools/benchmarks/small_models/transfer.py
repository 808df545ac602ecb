# Copyright (c) mmssl contributors. All rights reserved.
"""Transfer to another data set: a linear classifier on frozen features, or with --finetune everything.

Recipes are in configs/benchmarks/classification/transfer.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.config import add_cfg_options
    from mmssl.utils.evaluation_options import add_checkpoint
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the pre-training: the network is that of its model')
    add_checkpoint(parser)
    parser.add_argument(
        '--dataset',
        default='cifar10',
        help='cifar10, cifar100, caltech101, a folder with train and val (or test), or a config such as those of '
        'configs/benchmarks/classification/transfer (default: %(default)s)')
    parser.add_argument('--data-root', metavar='FOLDER', help='where the data set is (default: as its config says)')
    parser.add_argument('--finetune', action='store_true', help='train everything; else the network is frozen')
    parser.add_argument('--lr', type=float, help='learning rate (default: 1.5, or 0.01 with --finetune)')
    parser.add_argument('--batch-size', type=int, help='of all processes together (default: 256)')
    parser.add_argument('--epochs', type=int, help='the steps of the rate move with it (default: 60, or 100)')
    parser.add_argument('--overwrite', action='store_true', help='put away the files of an earlier run in the work_dir')
    parser.add_argument('--seed', type=int, default=0, help='of all random numbers (default: %(default)s)')
    parser.add_argument('--work-dir', '--work_dir', help='folder of logs and checkpoints; below work_dirs by default')
    parser.add_argument('--out', help='JSON file for the metrics')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_cfg_options(parser)  # of the config of the data set
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.transfer import transfer
    from mmssl.utils import dist
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import write_json

    root = Path(__file__).resolve().parents[3]
    found = transfer(args, root / 'configs/benchmarks/classification/transfer')
    logger = get_root_logger()
    logger.info(f'{args.dataset}, {"fine-tuned" if args.finetune else "frozen"}: top1 {100 * found["top1"]:.2f} %, '
                f'top5 {100 * found["top5"]:.2f} %, mean per class {100 * found["mean_per_class"]:.2f} % of '
                f'{found["num_test"]} test images; Ckpt: {args.checkpoint}')
    if args.out and dist.get_rank() == 0:
        write_json(args.out, found)


if __name__ == '__main__':
    run_tool(main, distributed=True)

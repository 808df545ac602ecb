# Copyright (c) mmssl contributors. All rights reserved.
"""Train a small network by itself and by a teacher, each for the same processor time, and tabulate what it learned."""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'distill'
TRAININGS = sorted(path.stem for path in FOLDER.glob('[!_]*.py'))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f'Trainings: {", ".join(TRAININGS)}. Each has a config in configs/demo/distill.')
    parser.add_argument('teacher', metavar='CHECKPOINT', help='of a training with configs/demo/simclr_fashion-mnist.py')
    parser.add_argument('--trainings', nargs='+', metavar='NAME', help='some of them (default: all)')
    parser.add_argument(
        '--seconds', type=float, default=240, help='processor time of each training (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default: %(default)s)')
    parser.add_argument('--data-prefix', help='folder of the files of Fashion-MNIST, where they are not installed')
    parser.add_argument('--seed', type=int, default=0, help='seed of all random numbers')
    parser.add_argument('--work-dir', default='work_dirs/distill', help='logs go to a folder of it for each training')
    parser.add_argument('--out', metavar='FILE.json', help='write the table as JSON')
    args = parser.parse_args()
    for name in args.trainings or []:
        if name not in TRAININGS:
            parser.error(f'unknown training {name!r}; there are {", ".join(TRAININGS)}')
    return args


def main():
    args = parse_args()
    import torch

    from mmssl.benchmarks.distillation import compare
    from mmssl.utils.misc import write_json
    torch.set_num_threads(args.threads)
    rows = []

    def write(row):
        """Print a row and write the file anew, so that nothing is lost when a later training fails."""
        if not rows:
            print('| training | parameters | images | s | 10 labels a class | 20-NN | linear |\n' + '| --- ' * 7 + '|')
        rows.append(row)
        print(
            f'| {row["name"]} | {row["parameters"]:,} | {row["images"]:,} | {row["seconds"]:.0f} | '
            f'{row["few_label"]:.1%} | {row["knn"]:.1%} | {row["linear"]:.1%} |',
            flush=True)
        if args.out:
            write_json(args.out, dict(seconds=args.seconds, threads=args.threads, seed=args.seed, rows=rows))

    configs = {name: FOLDER / f'{name}.py' for name in args.trainings or TRAININGS}
    compare(configs, FOLDER.parent / 'simclr_fashion-mnist.py', args.teacher, write, args.work_dir, args.seconds,
            args.data_prefix, args.seed)


if __name__ == '__main__':
    run_tool(main)

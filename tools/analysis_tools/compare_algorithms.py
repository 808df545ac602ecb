# Copyright (c) mmssl contributors. All rights reserved.
"""Train every algorithm on one real data set with one backbone and one budget, and tabulate what each has learned."""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'compare'
ALGORITHMS = sorted(path.stem for path in FOLDER.glob('[!_]*.py'))
COLUMNS = dict(
    images_per_second=('img/s', '.0f'),
    loss_first=('loss', '.3f'),
    loss_last=('-> loss', '.3f'),
    few_label_random=('few-label %: random', '.1%'),
    few_label_pretrained=('-> trained', '.1%'),
    knn_random=('20-NN %: random', '.1%'),
    knn_pretrained=('-> trained', '.1%'),
    feature_std=('feature std', '.3f'),
    effective_rank=('rank', '.1f'),
    seconds=('s', '.0f'))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f'Algorithms: {", ".join(ALGORITHMS)}. Each has a config in configs/demo/compare.')
    parser.add_argument('--algorithms', nargs='+', metavar='NAME', help='some of them (default: all)')
    parser.add_argument(
        '--dataset', choices=('digits', 'fashion-mnist'), default='digits', help='what to train on (default: digits)')
    parser.add_argument('--data-prefix', help='folder of the files of Fashion-MNIST, where they are not installed')
    parser.add_argument('--epochs', type=int, help='passes over the data of each algorithm')
    parser.add_argument('--num-images', type=int, help='train on the first images only')
    parser.add_argument('--seed', type=int, default=0, help='seed of all random numbers')
    parser.add_argument('--work-dir', default='work_dirs/compare', help='logs go to a folder of it for each algorithm')
    parser.add_argument('--out', metavar='FILE.json', help='write the table as JSON')
    args = parser.parse_args()
    for name in args.algorithms or []:
        if name not in ALGORITHMS:
            parser.error(f'unknown algorithm {name!r}; there are {", ".join(ALGORITHMS)}')
    return args


def main():
    args = parse_args()
    from mmssl.benchmarks.algorithms import compare
    from mmssl.utils.misc import write_json
    rows = []

    def write(row):
        """Print a row and write the file anew, so that nothing is lost when a later algorithm fails."""
        if not rows:
            print('  '.join([f'{"algorithm":14}', *(title for title, _ in COLUMNS.values())]), flush=True)
        rows.append(row)
        cells = [f'{format(row[key], form):>{len(title)}}' for key, (title, form) in COLUMNS.items()]
        print('  '.join([f'{row["algorithm"]:14}', *cells]), flush=True)
        if args.out:
            write_json(args.out, dict(dataset=args.dataset, seed=args.seed, algorithms=rows))

    configs = {name: FOLDER / f'{name}.py' for name in args.algorithms or ALGORITHMS}
    raw = compare(configs, write, args.work_dir, args.dataset, args.data_prefix, args.epochs, args.num_images,
                  args.seed)
    print(f'raw pixels: few-label {raw["few_label"]:.1%}, 20-NN {raw["knn"]:.1%}')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""Measure what a machine with a GPU does with this toolbox, in six minutes: a table, a JSON file, and traces."""
import argparse
import logging
from pathlib import Path

from mmssl.utils.misc import run_tool

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog='What the figures mean: docs/en/gpu.md.')
    parser.add_argument('--out', default='work_dirs/gpu_report', help='folder of the results, %(default)s by default')
    parser.add_argument('--minutes', type=float, default=6., help='what takes longer is left out, and named; default 6')
    parser.add_argument('--data-prefix', help='folder of images; by default two photographs in many crops')
    parser.add_argument('--workers', type=int, nargs='+', help='workers of the loader, 1 2 4 8 16 by default')
    parser.add_argument('--batch-size', type=int, default=128, help='the most images of a batch, 128 by default')
    parser.add_argument('--device', help='such as cuda:0 (default: a GPU where there is one)')
    parser.add_argument('--small', action='store_true', help='small networks on digits, to try the report itself')
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    from mmssl.benchmarks import gpu_report as benchmark
    from mmssl.utils.dist import default_device, use_device
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.misc import write_json
    use_device(args.device)
    if default_device().type != 'cuda' and not args.small:
        raise ConfigError('there is no GPU here that torch can use; --device cpu --small tries the report itself')
    logging.getLogger('mmcv').setLevel(logging.WARNING)
    out = Path(args.out)
    tables = []

    def write(found, table, row):
        """Print a row and write the file anew, so that nothing is lost when a later one fails."""
        write_json(out / 'report.json', found)
        if table is None:
            return
        if table not in tables:
            tables.append(table)
            print(f'\n{benchmark.HEADINGS[table]}')
        print(benchmark.line(table, row), flush=True)

    print(', '.join(f'{name} {value}' for name, value in benchmark.environment().items()))
    options = dict(algorithms=benchmark.ALGORITHMS, variants=benchmark.VARIANTS, seconds=2.)
    if args.small:
        options = dict(algorithms=benchmark.SMALL, variants=benchmark.VARIANTS[:-1], seconds=0.05)
    found = benchmark.Report(
        CONFIGS,
        out,
        write,
        args.minutes,
        workers=args.workers or benchmark.WORKERS,
        folder=args.data_prefix,
        largest=args.batch_size,
        **options).run()
    for words in found['skipped']:
        print(f'left out: {words}')
    print(f'\n{found["seconds"]:.0f} s; all figures are in {out / "report.json"}, traces beside it open at '
          'https://ui.perfetto.dev')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""What the recipes that mmssl chooses learn in some minutes, against the fixed ones: several data sets, one table."""
import argparse

from mmssl.utils.config import DictAction
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--settings',
        nargs='+',
        help='digits, fashion-1000, fashion-6000, fashion-60000, photographs, bands (default: all)')
    parser.add_argument(
        '--budgets', nargs='+', default=['2m'], help='time of a training on two cores, such as 90s or 10m')
    parser.add_argument('--recipes', nargs='+', default=['fitted', 'fixed'], choices=['fitted', 'fixed'])
    parser.add_argument(
        '--budget-of',
        default='cpu',
        choices=['cpu', 'wall'],
        help='processor time, twice the budget, which other programs do not change (default), or time by the clock')
    parser.add_argument(
        '--set',
        nargs='+',
        action=DictAction,
        dest='fixed',
        metavar='KEY=VALUE',
        help='what the user fixes of the recipes that mmssl chooses, such as color_jitter=false')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument(
        '--out',
        default='work_dirs/benchmark_recipes',
        help='folder of the results, one file a cell; finished cells are not done again (default: %(default)s)')
    return parser.parse_args()


def main():
    args = parse_args()
    # the arguments are right: now the heavy imports
    from mmssl.benchmarks import recipes
    from mmssl.recipes import parse_time
    from mmssl.utils.errors import ConfigError, nearest
    names = args.settings or list(recipes.SETTINGS)
    for name in names:
        if name not in recipes.SETTINGS:
            raise ConfigError(f'there is no setting {name!r}; {nearest(name, recipes.SETTINGS, "there are")}')
    budgets = [parse_time(budget) for budget in args.budgets]

    def write(cell):
        print('\n'.join(recipes.table([cell]).splitlines()[2:]), flush=True)

    cells = recipes.run(names, budgets, args.out, write, args.recipes, args.budget_of, args.seeds, args.fixed)
    print(f'\n{recipes.table(cells)}')
    for words in recipes.below_random(cells):
        print(f'below random weights: {words}')
    failed = sum('error' in cell for cell in cells)
    if failed:
        raise ConfigError(f'{failed} of {len(cells)} cells failed; they are tried again when the tool is called again')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""Run the iteration again whose loss became NaN or infinite, and say where the first such value arises."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description='A training that stops because of a NaN or infinite loss leaves nonfinite_iter_*.pth in its '
        'work_dir. This computes that iteration again, up to the loss.')
    parser.add_argument('dump', help='the file nonfinite_iter_N_rankR.pth')
    parser.add_argument(
        '--config', help='of the training; needed where it imports classes of your own, since nothing in a dump is run')
    parser.add_argument('--device', help="'cpu' or 'cuda'; by default a GPU where there is one")
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.apis.nonfinite import reproduce
    found = reproduce(args.dump, args.device, args.config)
    print(f'iteration {found["iter"] + 1} of rank {found["rank"]} of {found["world_size"]}')
    for title, names in (('parameters that are not finite', found['parameters']), ('files whose images are not finite',
                                                                                   found['images'])):
        if names:
            print(f'{title}: {", ".join(names[:8])}{", ..." if len(names) > 8 else ""}')
    if found['first']:
        print('first output that is not finite: {name} ({kind}), its inputs were {inputs}'.format(**found['first']))
    for name, value in found['losses'].items():
        print(f'{name}: {value}, in training {found["losses_then"].get(name)}')
    if not found['reproduced']:
        raise SystemExit('the loss is finite here' +
                         (': one process has only its part of what the processes computed together'
                          if found['world_size'] > 1 else ''))


if __name__ == '__main__':
    run_tool(main)

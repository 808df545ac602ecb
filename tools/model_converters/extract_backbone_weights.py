# Copyright (c) mmssl contributors. All rights reserved.
"""Take the backbone out of a checkpoint, for use in other toolboxes and in the benchmarks.

The written file holds dict(state_dict=...) with the keys that torchvision and mmcls give the network.
"""
import argparse

from mmssl.utils.misc import run_tool

# Where the backbone stands: here, and in MMSelfSup's and OpenSelfSup's MoCo, BYOL and SimSiam
PREFIXES = ('backbone.', 'encoder_q.0.', 'online_net.0.', 'encoder.0.')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('output', help='file to write')
    parser.add_argument('--prefix', help=f'what the keys of the backbone begin with; else the first of {PREFIXES}')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.utils.checkpoint import check_other_file, get_state_dict, read_checkpoint, save_checkpoint
    from mmssl.utils.errors import ConfigError
    check_other_file(args.checkpoint, args.output)
    weights = get_state_dict(read_checkpoint(args.checkpoint))
    prefixes = PREFIXES if args.prefix is None else (args.prefix.removesuffix('.') + '.', )
    for prefix in prefixes:
        backbone = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        if backbone:
            break
    else:
        parts = sorted({key.split('.')[0] for key in weights})
        raise ConfigError(f'no key of {args.checkpoint} begins with {" or ".join(map(repr, prefixes))}; the parts in '
                          f'it are {", ".join(parts)}. Name one with --prefix')
    save_checkpoint(dict(state_dict=backbone), args.output)
    print(f'{len(backbone)} of {len(weights)} tensors begin with {prefix!r}: written to {args.output}')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""Copy data to a disk near the compute, in parallel: a folder of images or shards with all that is in it, or a file.

The copy is DEST/DIGEST/NAME, where the digest is that of the path of SOURCE; its path is printed. It counts when all
files are there: stopped at any moment, the same command goes on with the rest. Two at once on one machine copy once. A
data source with copy_to=DEST does the same when it is built, and reads from the copy.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='folder or file')
    parser.add_argument('dest', help='folder of copies on the local disk, such as \'$SLURM_TMPDIR\'')
    parser.add_argument(
        '--workers', type=int, default=40, help='files that are copied at a time (default: %(default)s)')
    parser.add_argument('--refresh', action='store_true', help='look again what has changed since a complete copy')
    return parser.parse_args()


def main():
    args = parse_args()

    import sys

    from mmssl.utils.local_copy import copy_to_local

    def tell(text):
        print(text, file=sys.stderr, flush=True)

    print(copy_to_local(args.source, args.dest, args.workers, args.refresh, tell))


if __name__ == '__main__':
    run_tool(main)

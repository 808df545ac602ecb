# Copyright (c) mmssl contributors. All rights reserved.
"""Give weights the layout of another library, and check that the networks still give the same outputs.

Nothing of the backbone may be lost or lacking, and no file is written where something does not fit or a check fails.
docs/en/weights.md has the layouts. `mmssl convert` is the same.
"""
import argparse

from mmssl.cli.convert import add_arguments, run
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    return parser.parse_args()


def main():
    run(parse_args())


if __name__ == '__main__':
    run_tool(main)

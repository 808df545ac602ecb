# Copyright (c) mmssl contributors. All rights reserved.
"""Take the backbone out of a checkpoint, for use in other toolboxes and in the benchmarks.

The written file holds dict(state_dict=...) with the keys that torchvision and mmcls give the network.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument('output', help='file to write')
    parser.add_argument('--prefix', help='what the keys of the backbone begin with (default: found by itself)')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.interop.backbone_weights import extract_backbone
    print(extract_backbone(args.checkpoint, args.output, args.prefix))


if __name__ == '__main__':
    run_tool(main)

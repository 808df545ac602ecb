# Copyright (c) mmssl contributors. All rights reserved.
"""Make the backbone of a pre-training a model file of detectron2: a ResNet or ResNeXt, from a checkpoint or by itself.

The config of detectron2 then needs MODEL.RESNETS.STRIDE_IN_1X1 False, INPUT.FORMAT RGB, and the mean and deviation of
our images times 255 as MODEL.PIXEL_MEAN and PIXEL_STD. Other layouts: tools/model_converters/convert.py.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', help='checkpoint of a training, or extracted backbone weights')
    parser.add_argument('output', help='file to write: NAME.pkl')
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.interop.conversion import convert_file
    convert_file(args.input, args.output, target='detectron2')


if __name__ == '__main__':
    run_tool(main)

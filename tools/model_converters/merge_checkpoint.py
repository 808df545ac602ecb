# Copyright (c) mmssl contributors. All rights reserved.
"""Make the usual single file of a sharded checkpoint, a folder NAME.dcp that several processes have written.

The file is what the same training writes without checkpoint_config.sharded: all tools read it, and a training with any
number of processes, sharded or not, resumes from it.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='folder NAME.dcp')
    parser.add_argument('output', help='file to write, NAME.pth')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.utils.checkpoint import check_other_file, read_checkpoint, save_checkpoint
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.sharded_checkpoint import is_folder_checkpoint
    if not is_folder_checkpoint(args.checkpoint):
        raise ConfigError(f'{args.checkpoint} is no complete sharded checkpoint, a folder with meta.pth and .metadata')
    check_other_file(args.checkpoint, args.output)
    checkpoint = read_checkpoint(args.checkpoint)
    save_checkpoint(checkpoint, args.output)
    meta = checkpoint['meta']
    print(f'{len(checkpoint["state_dict"])} tensors of the model after epoch {meta["epoch"]}, iteration '
          f'{meta["iter"]}: written to {args.output}')


if __name__ == '__main__':
    run_tool(main)

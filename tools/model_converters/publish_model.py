# Copyright (c) mmssl contributors. All rights reserved.
"""Make a checkpoint ready to be passed on: weights and meta data on the CPU, nothing that only a resume needs.

The first eight characters of the file's SHA-256 become part of its name, as torch.hub expects.
"""
import argparse
import hashlib
import io
from pathlib import Path

from mmssl.utils.misc import atomic_write, run_tool

# What the receiver of a model reads; the rest (optimizer, scaler, random states, ...) serves a resume
KEPT = ('meta', 'state_dict')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('in_file', help='checkpoint of a training')
    parser.add_argument('out_file', help='file to write; NAME.pth becomes NAME-xxxxxxxx.pth')
    return parser.parse_args()


def main():
    args = parse_args()
    import torch

    from mmssl.utils.checkpoint import get_state_dict, read_checkpoint
    checkpoint = read_checkpoint(args.in_file)
    published = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    # a view of a larger tensor would bring the whole storage along
    published['state_dict'] = {key: value.clone() for key, value in get_state_dict(checkpoint).items()}
    content = io.BytesIO()
    torch.save(published, content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    out_file = Path(args.out_file)
    stem = out_file.with_suffix('') if out_file.suffix == '.pth' else out_file
    out_file = stem.with_name(f'{stem.name}-{digest[:8]}.pth')
    with atomic_write(out_file, 'wb') as file:
        file.write(content.getbuffer())
    left_out = [key for key in checkpoint if key not in KEPT]
    print(f'{out_file}: {len(published["state_dict"])} tensors' +
          (f'; left out: {", ".join(map(str, left_out))}' if left_out else ''))


if __name__ == '__main__':
    run_tool(main)

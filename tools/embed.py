# Copyright (c) mmssl contributors. All rights reserved.
"""Features of all images below a folder: one command, no lists, no labels.

OUT.npy holds one row an image, in the order of the sorted file names, which OUT.json lists; OUT.parquet has the columns
file and embedding. With --layer patches OUT.npy has a vector for each patch of each image, N x h x w x D. Images that
cannot be read are left out and named, in the JSON or the metadata too.
"""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import add_size_option


def parse_args():
    from mmssl.utils.evaluation_options import add_broken_option, add_checkpoint, layer_names, require_checkpoint
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the training')
    add_checkpoint(parser, 'of the training, or weights of the backbone alone')
    parser.add_argument('folder', help='any tree of images')
    parser.add_argument('output', help='OUT.npy or OUT.parquet')
    parser.add_argument(
        '--layer', '--layers', type=layer_names, default=['pooled'], help='as of extract_features (default: pooled)')
    add_size_option(parser, 'the crop in pixels', 224)
    add_broken_option(parser)
    parser.add_argument('--batch-size', type=int, default=64, help='(default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that load images (default: %(default)s)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU where there is one)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_cfg_options(parser)
    args = parser.parse_args()
    require_checkpoint(parser, args)
    if len(args.layer) != 1:
        parser.error('one layer at a time; tools/extract_features.py writes several')
    return args


def main():
    args = parse_args()

    import numpy as np

    from mmssl.apis.embedding import embed_folder, embed_patches, write_embeddings
    from mmssl.utils import dist
    from mmssl.utils.checkpoint import local_file
    from mmssl.utils.errors import printable
    from mmssl.utils.misc import file_digest

    dist.use_device(args.device)
    dist.init_dist(args.launcher)
    layer, = args.layer
    settings = dict(
        config=args.config,
        checkpoint=args.checkpoint,
        sha256=file_digest(local_file(args.checkpoint)),
        folder=args.folder,
        layer=layer,
        size=args.size)
    if args.teacher:
        settings.update(teacher=True)
    options = dict(
        layer=layer,
        size=args.size,
        broken=args.broken,
        batch_size=args.batch_size,
        workers=args.workers,
        cfg_options=args.cfg_options,
        progress=True,
        teacher=args.teacher)
    if layer.endswith(('patches', '_map')):
        found = embed_patches(args.config, args.checkpoint, args.folder, args.output, settings, **options)
    else:
        found = embed_folder(args.config, args.checkpoint, args.folder, output=args.output, **options)
    if dist.get_rank() != 0:
        return
    if not isinstance(found.features, np.memmap):
        write_embeddings(found, args.output, settings)
    for file, reason in found.broken.items():
        print(f'left out {printable(file)}: {printable(reason)}')
    shape = ' x '.join(map(str, found.features.shape[1:]))
    print(f'{args.output}: {len(found.files)} images, {shape} dimensions; {len(found.broken)} broken')


if __name__ == '__main__':
    run_tool(main, distributed=True)

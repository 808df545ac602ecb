# Copyright (c) mmssl contributors. All rights reserved.
"""Features of images, by the network of a run, in a file: no lists, no labels.

OUT.npy holds one row an image, in the order of the names, which OUT.json lists; OUT.parquet has the columns file and
embedding. With --layer patches OUT.npy has a vector for each patch of each image, N x h x w x D. Images are prepared as
in the evaluation of the training, or with --size scaled and cut to a size. Images that cannot be read are left out and
named, in the JSON or the metadata too.
"""
from mmssl.utils.evaluation_options import add_broken_option, add_teacher_option, layer_names
from mmssl.utils.picture_options import add_size_option, positive


def add_arguments(parser):
    parser.add_argument('run', metavar='RUN', help='folder of a run, or a checkpoint')
    parser.add_argument('data', metavar='DATA', help='a folder, with all images below it; or as of `mmssl train`')
    parser.add_argument('output', metavar='OUT', help='OUT.npy or OUT.parquet')
    add_network_options(parser)
    add_broken_option(parser)
    parser.add_argument('--batch-size', type=positive, default=64, metavar='N', help='(default: %(default)s)')
    add_teacher_option(parser)


def add_network_options(parser):
    """Options of commands that compute features: `layer`, `size`, `workers`, `device`."""
    parser.add_argument(
        '--layer',
        type=layer_names,
        metavar='LAYER',
        help='pooled, cls_token, neck, stageN, patches, ... (default: what the section `features` of the config asks '
        'for, else pooled)')
    add_size_option(parser, 'the images in pixels (default: as in the evaluation of the training)')
    parser.add_argument(
        '--workers', type=int, default=2, metavar='N', help='processes that load images (default: %(default)s)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU where there is one)')


def one_layer(names):
    """The layer of --layer, None where there is none.

    Raises:
        ConfigError: There are several.
    """
    from mmssl.utils.errors import ConfigError
    if names is None:
        return None
    if len(names) != 1:
        raise ConfigError(f'--layer {" ".join(names)}: one layer at a time')
    return names[0]


def run(args):
    import numpy as np

    from mmssl.apis.embedding import check_embeddings_path, store_patches, write_embeddings
    from mmssl.apis.run import load
    from mmssl.utils import dist
    from mmssl.utils.errors import printable
    from mmssl.utils.misc import file_digest

    layer = one_layer(args.layer)
    check_embeddings_path(args.output)
    dist.use_device(args.device)
    run = load(args.run, teacher=args.teacher)
    settings = dict(
        run=args.run,
        checkpoint=str(run.checkpoint),
        sha256=file_digest(run.checkpoint),
        data=args.data,
        layer=layer,
        size=args.size)
    if args.teacher:
        settings.update(teacher=True)
    options = dict(broken=args.broken, batch_size=args.batch_size, workers=args.workers, progress=True)
    if layer and layer.endswith(('patches', '_map')):
        dataset, norm = run.dataset(args.data, args.size)
        found = store_patches(run.model(layer), dataset, args.output, settings, layer, img_norm_cfg=norm, **options)
    else:
        found = run.features(args.data, layer, args.size, **options)
        write_embeddings(found, args.output, settings)
    for file, reason in found.broken.items():
        print(f'left out {printable(file)}: {printable(reason)}')
    shape = ' x '.join(map(str, np.shape(found.features)[1:]))
    print(f'{args.output}: {len(found)} images, {shape} dimensions; {len(found.broken)} broken')

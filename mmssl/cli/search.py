# Copyright (c) mmssl contributors. All rights reserved.
"""The images of DATA that are most similar to each QUERY, by the network of a run: a list, and a sheet of pictures.

Features of the images are kept in the folder of the run, so that the next search is fast. A query that is itself one
of the images is not found.
"""
from mmssl.utils.picture_options import positive
from .features import add_network_options, one_layer


def add_arguments(parser):
    parser.add_argument('data', metavar='DATA', help='a folder, with all images below it; or as of `mmssl train`')
    parser.add_argument('queries', metavar='QUERY', nargs='+', help='image files')
    parser.add_argument(
        '--run', metavar='RUN', help='folder of a run, or a checkpoint (default: the last run on DATA in work_dirs)')
    parser.add_argument('--k', type=positive, default=9, metavar='N', help='how many to find (default: %(default)s)')
    parser.add_argument(
        '--out',
        default='similar.html',
        metavar='FILE',
        help='the sheet: .html, one file that links to the images, or a picture, .png (default: %(default)s)')
    add_network_options(parser)


def run(args):
    from mmssl.apis.run import load
    from mmssl.apis.search import find_run, search
    from mmssl.apis.sheet import check_sheet_path, write_sheet
    from mmssl.utils import dist
    from mmssl.utils.errors import printable

    layer = one_layer(args.layer)
    check_sheet_path(args.out)
    dist.use_device(args.device)
    folder = args.run or find_run(args.data)
    found = search(load(folder), args.queries, args.data, args.k, layer, args.size, workers=args.workers, progress=True)
    for hits in found:
        print(f'{printable(hits.query)}, by {folder}, the most similar of {hits.searched} images:')
        for hit in hits:
            print(f'  {hit.similarity:.3f}  {printable(hit.file)}')
    for file, reason in found[0].broken.items():
        print(f'left out {printable(file)}: {printable(reason)}')
    write_sheet(found, args.out)
    print(f'{args.out}: the pictures')

# Copyright (c) mmssl contributors. All rights reserved.
"""Which patches of two images match by their features: lines between nearest neighbours.

Without --points those are drawn that are each other's nearest neighbours, one pair for each of --count groups.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import parse_picture_args, positive


def point(text):
    """'120,84' to (120, 84)."""
    try:
        x, y = map(int, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'a point is X,Y in pixels, such as 120,84; got {text!r}') from None
    return x, y


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--layer', default='patches', help='patches, the last map, or stageN_patches (default: %(default)s)')
    parser.add_argument(
        '--points',
        type=point,
        nargs='+',
        metavar='X,Y',
        help='points of the first image, in pixels of its picture (see --size), whose neighbours are drawn; a line '
        'is dashed where the neighbour has another one')
    parser.add_argument('--count', type=positive, default=12, help='most pairs, without --points (default: 12)')
    parser.add_argument(
        '--foreground',
        nargs='?',
        const='auto',
        choices=['auto', 'above', 'below'],
        help='match only the foreground, without --points; see visualize_pca.py')
    args = parse_picture_args(parser, 'matches.png')
    if args.points and args.foreground:
        parser.error('--foreground chooses among all patches, --points gives them: one of the two')

    from mmssl.apis.pictures import open_images, open_model, patch_maps
    from mmssl.evaluation import plots
    from mmssl.evaluation.patches import foreground, match_patches, unit_features
    from mmssl.evaluation.views import to_image
    from mmssl.utils.errors import ConfigError
    if not args.images and not args.idx:
        args.samples = 2
    cfg, model = open_model(args, ('backbone', ))
    names, img, norm = open_images(args, cfg, model)
    img = img[0] if isinstance(img, list) else img  # of several views the first, of image and mask the image
    if len(img) != 2:
        raise ConfigError(f'matches are those of two images, got {len(img)}: name two files, or two samples by --idx')
    first, second = maps = unit_features(patch_maps(model, img, args.layer))
    images = [to_image(pixels, norm) for pixels in img]
    (height, width), (rows, columns) = images[0].shape[:2], first.shape[:2]
    patches = None
    if args.points:
        for x, y in args.points:
            if not (0 <= x < width and 0 <= y < height):
                raise ConfigError(f'--points {x},{y} is outside the first image of {width} x {height} pixels')
        patches = [(y * rows // height, x * columns // width) for x, y in args.points]
    masks = foreground(maps, args.foreground) if args.foreground else None
    matches = match_patches(first, second, patches, args.count, args.seed, masks)
    tiles = [plots.Tile(image, name) for image, name in zip(images, names)]
    title = f'{Path(args.config).stem}, {Path(args.checkpoint).name}'
    pairs = [(match.first, match.second, match.mutual) for match in matches]
    plots.plot_matches(*tiles, [m.shape[:2] for m in maps], pairs, args.out_file, title)
    for match in matches:
        row, column = match.first
        print(f'row {row}, column {column} -> row {match.second[0]}, column {match.second[1]}: '
              f'similarity {match.similarity:.3f}{"" if match.mutual else ", not mutual"}')
    print(f'{len(matches)} pairs of {rows} x {columns} patches ({args.layer}): {args.out_file}')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""What patches have in common: three principal components of their features as red, green and blue.

Patches of like features have like colours. Any backbone that gives maps will do.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import parse_picture_args


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--layer', default='patches', help='patches, the last map, or stageN_patches (default: %(default)s)')
    parser.add_argument(
        '--per-image',
        action='store_true',
        help='components of each image for itself; by default they are those of all images, and a colour means the '
        'same in all')
    parser.add_argument(
        '--foreground',
        nargs='?',
        const='auto',
        choices=['auto', 'above', 'below'],
        help='colour only one side of the first component: the one that lies less on the borders of the images, or '
        'the one above or below the threshold (such as --foreground=above)')
    args = parse_picture_args(parser, 'pca.png')

    from mmssl.apis.pictures import open_images, open_model, patch_maps
    from mmssl.evaluation import plots
    from mmssl.evaluation.patches import component_colours, foreground, magnified, unit_features
    from mmssl.evaluation.views import to_image
    cfg, model = open_model(args, ('backbone', ))
    names, img, norm = open_images(args, cfg, model)
    img = img[0] if isinstance(img, list) else img  # of several views the first, of image and mask the image
    maps = unit_features(patch_maps(model, img, args.layer))
    masks = foreground(maps, args.foreground) if args.foreground else None
    colours = component_colours(maps, masks, common=not args.per_image)
    samples = []
    for name, pixels, picture in zip(names, img, colours):
        image = to_image(pixels, norm)
        samples.append((plots.Tile(image, name), [[[plots.Tile(magnified(picture, image))]]]))
    rows, columns, dims = maps[0].shape
    title = f'{Path(args.config).stem}, {Path(args.checkpoint).name}'
    plots.plot_views(samples, args.out_file, title, ('image', f'{rows} x {columns} patches'), cell=1.6)
    print(f'{len(samples)} images, {rows} x {columns} patches of {dims} dimensions ({args.layer}): {args.out_file}')


if __name__ == '__main__':
    run_tool(main)

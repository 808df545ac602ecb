# Copyright (c) mmssl contributors. All rights reserved.
"""Where the class token of a vision transformer looks: its attention to the patches, of all heads and of each."""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import parse_picture_args

COLUMNS = 7  # maps in a line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--layer', type=int, default=-1, help='from 0, or from -1, the last, backwards (default: -1)')
    parser.add_argument(
        '--mass',
        type=float,
        metavar='SHARE',
        help='colour only the patches that get this share of the attention to patches, such as 0.6; as few as possible')
    args = parse_picture_args(parser, 'attention.png')

    from mmssl.apis.pictures import open_images, open_model
    from mmssl.evaluation import plots
    from mmssl.evaluation.attention import class_attention, mass_mask, overlay
    from mmssl.evaluation.views import to_image
    from mmssl.models import VisionTransformer
    from mmssl.utils.errors import ConfigError
    cfg, model = open_model(args, ('backbone', ))
    backbone = model.backbone
    if not isinstance(backbone, VisionTransformer):
        raise ConfigError(
            f'{args.config}: a {type(backbone).__name__} has no class token that attends to patches; this '
            'picture is for vision transformers, such as those of DINO, iBOT, DINOv2, MoCo v3 and MAE')
    names, img, norm = open_images(args, cfg, model)
    img = img[0] if isinstance(img, list) else img  # of several views the first, of image and mask the image
    samples = []
    for name, pixels, heads in zip(names, img, class_attention(backbone, img, args.layer)):
        image = to_image(pixels, norm)
        maps = {'mean': heads.mean(0), **{f'head {i}': head for i, head in enumerate(heads)}}
        masks = {title: None if args.mass is None else mass_mask(m, args.mass) for title, m in maps.items()}
        tiles = [
            plots.Tile(
                overlay(image, m, masks[title]), f'{title}: up to {m.max():.1%}'
                if args.mass is None else f'{title}: {args.mass:.0%} on {masks[title].mean():.0%} of the image')
            for title, m in maps.items()
        ]
        rows = [tiles[i:i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
        samples.append((plots.Tile(image, name), [rows]))
    layer = args.layer % backbone.num_layers
    title = f'{Path(args.config).stem}, {Path(args.checkpoint).name}'
    plots.plot_views(samples, args.out_file, title,
                     ('image', f'attention of the class token in layer {layer} of 0 to {backbone.num_layers - 1}'))
    print(f'{len(samples)} images, {len(heads)} heads of layer {layer}: {args.out_file}')


if __name__ == '__main__':
    run_tool(main)

# Copyright (c) mmssl contributors. All rights reserved.
"""What MAE or SimMIM rebuilds: for each image the original, what is seen of it, the prediction, and both together."""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import parse_picture_args


def main():
    args = parse_picture_args(argparse.ArgumentParser(description=__doc__), 'reconstruction.png')

    from mmssl.apis.pictures import open_images, open_model
    from mmssl.evaluation import plots
    from mmssl.evaluation.reconstruction import reconstruct
    from mmssl.models import MAE, SimMIM
    from mmssl.utils.errors import ConfigError
    cfg, model = open_model(args, ('backbone', 'neck'))
    if not isinstance(model, (MAE, SimMIM)):
        raise ConfigError(f'{args.config}: {type(model).__name__} has no decoder that rebuilds pixels; this picture is '
                          'for MAE and SimMIM')
    names, img, norm = open_images(args, cfg, model)
    found = reconstruct(model, img, norm)
    samples = []
    for name, result in zip(names, found):
        tiles = [
            plots.Tile(result.masked, f'masked: {result.mask.mean():.0%}'),
            plots.Tile(result.reconstruction, 'reconstruction'),
            plots.Tile(result.pasted, f'reconstruction + visible: {result.error:.1f} of 255 off where masked')
        ]
        samples.append((plots.Tile(result.original, name), [[tiles]]))
    title = f'{Path(args.config).stem}, {Path(args.checkpoint).name}, seed {args.seed}'
    note = 'mean and deviation of each patch are those of the original' if getattr(model.head, 'norm_pix',
                                                                                   False) else ''
    plots.plot_views(samples, args.out_file, title, ('original', note), cell=1.6)
    mean = sum(result.error for result in found) / len(found)
    print(f'{len(found)} images, masked pixels {mean:.1f} of 255 off on average: {args.out_file}')


if __name__ == '__main__':
    run_tool(main)

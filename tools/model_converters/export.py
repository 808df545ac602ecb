# Copyright (c) mmssl contributors. All rights reserved.
"""Write a trained network as a program that runs without this package: torch.export, TorchScript or ONNX.

It takes images, N x C x H x W in float32, any N, and gives the pooled features, N x D. Images are normalised as the
config says, or with --normalize have values from 0 to 1. The file is run on two photographs before it is written, in
batches of several sizes, and must give what the model gives.
"""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.evaluation_options import add_teacher_option
from mmssl.utils.misc import run_tool
from mmssl.utils.picture_options import add_size_option


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='of the training, or weights of the backbone alone')
    parser.add_argument('output', help='file to write: NAME.pt2 (torch.export), NAME.ts (TorchScript) or NAME.onnx')
    add_teacher_option(parser)
    add_size_option(parser, 'the images in pixels', 224)
    parser.add_argument(
        '--normalize', action='store_true', help='put img_norm_cfg into the program: images have values from 0 to 1')
    parser.add_argument('--maps', action='store_true', help='give the last map, N x D x h x w, as a second output')
    parser.add_argument(
        '--tolerance', type=float, default=1e-5, help='of the check, over the largest output (default: %(default)s)')
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()

    from mmssl.apis.inference import pretrained_model
    from mmssl.interop.export import export_features, image_channels
    from mmssl.interop.reference_models import photographs
    from mmssl.utils.config import check_sections, load_config
    from mmssl.utils.errors import ConfigError

    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model.backbone'])
    model = pretrained_model(cfg, args.checkpoint, teacher=args.teacher).cpu()
    norm = cfg.get('img_norm_cfg')
    if args.normalize and norm is None:
        raise ConfigError(f'--normalize: {args.config} has no img_norm_cfg with mean and std')
    images = photographs(args.size, image_channels(model), normalised=not args.normalize)
    units = f'divided by {norm["max_value"]}' if norm and norm.get('max_value') else 'from 0 to 1'
    found = export_features(model, args.output, images, args.maps, args.tolerance, norm if args.normalize else None)
    print(f'{args.output}: images N x {" x ".join(map(str, images.shape[1:]))}, ' +
          (f'values {units}, which it normalises by {norm}' if args.
           normalize else f'normalised by {norm or "what the config says"}'))
    for name, (difference, scale) in zip(('features', 'maps'), found):
        print(f'  {name}: largest difference {difference:.3g} of outputs up to {scale:.3g}')


if __name__ == '__main__':
    run_tool(main)

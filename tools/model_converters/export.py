# Copyright (c) mmssl contributors. All rights reserved.
"""Write a trained network as a program that runs without this package: torch.export, TorchScript or ONNX.

It takes normalised images, N x C x SIZE x SIZE in float32, any N, and gives the pooled features, N x D. The file is
run on two photographs before it is written, in batches of several sizes, and must give what the model gives.
"""
import argparse

from mmssl.utils.config import add_cfg_options
from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='of the training, or weights of the backbone alone')
    parser.add_argument('output', help='file to write: NAME.pt2 (torch.export), NAME.ts (TorchScript) or NAME.onnx')
    parser.add_argument('--size', type=int, default=224, help='of the images in pixels (default: %(default)s)')
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

    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model.backbone'])
    model = pretrained_model(cfg, args.checkpoint).cpu()
    images = photographs(args.size, image_channels(model))
    found = export_features(model, args.output, images, args.maps, args.tolerance)
    print(f'{args.output}: images N x {" x ".join(map(str, images.shape[1:]))}, normalised by '
          f'{cfg.get("img_norm_cfg", "what the config says")}')
    for name, (difference, scale) in zip(('features', 'maps'), found):
        print(f'  {name}: largest difference {difference:.3g} of outputs up to {scale:.3g}')


if __name__ == '__main__':
    run_tool(main)

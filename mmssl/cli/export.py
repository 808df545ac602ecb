# Copyright (c) mmssl contributors. All rights reserved.
"""Write a trained network for programs that know nothing of mmssl.

onnx, torchscript and torch.export are programs: images, N x C x H x W in float32, any N, to pooled features, N x D.
The file is run on two photographs before it is written, and must give what the network gives. backbone is a file of
weights with the names that torchvision and mmcls give them.

  mmssl export work_dirs/photos onnx
  mmssl export work_dirs/photos backbone --out resnet18.pth
"""
from mmssl.utils.picture_options import add_size_option

# what one asks for -> name of it in mmssl.apis.run.EXPORTS
KINDS = {'onnx': 'onnx', 'torchscript': 'torchscript', 'torch.export': 'pt2', 'backbone': None}


def add_arguments(parser):
    parser.add_argument('run', metavar='RUN', help='folder of the run, or a checkpoint')
    parser.add_argument('kind', nargs='?', default='onnx', choices=KINDS, help='what is written (default: onnx)')
    parser.add_argument('--out', metavar='FILE', help='file to write (default: in the folder of the run)')
    parser.add_argument('--best', action='store_true', help='the best checkpoint that an evaluation kept, not the last')
    parser.add_argument('--teacher', action='store_true', help="the moving average, such as DINO's teacher")
    add_size_option(parser, 'the images in pixels')
    parser.add_argument(
        '--normalize', action='store_true', help='the program normalises: images have values from 0 to 1')
    parser.add_argument('--maps', action='store_true', help='give the last map, N x D x h x w, as a second output')


def run(args):
    from mmssl.utils.errors import ConfigError
    if args.kind == 'backbone':
        for name in ('size', 'normalize', 'maps', 'teacher'):
            if getattr(args, name):
                raise ConfigError(f'--{name} is for programs; backbone writes weights alone')
    from mmssl.apis.run import Run
    found = Run(args.run, which='best' if args.best else 'latest', teacher=args.teacher)
    if args.kind == 'backbone':
        from mmssl.interop.backbone_weights import extract_backbone
        print(extract_backbone(found.checkpoint, args.out or found.out / 'backbone.pth'))
        return
    path = found.export(KINDS[args.kind], args.out, args.size, args.normalize, args.maps)
    norm = found.cfg.get('img_norm_cfg')
    if args.normalize:
        values = 'with values from 0 to 1'
    else:
        values = f'normalised by {dict(norm)}' if norm else 'normalised as the config says'
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB) of {found.checkpoint.name}: images, {values}, to features')

# Copyright (c) mmssl contributors. All rights reserved.
"""Give weights the layout of another library, and check that the networks still give the same outputs.

Nothing of the backbone may be lost or lacking, and no file is written where something does not fit or a check fails.
docs/en/weights.md has the layouts.

  mmssl convert work_dirs/photos resnet.safetensors --to timm --check
"""
from pathlib import Path

from mmssl.utils.picture_options import add_size_option


def add_arguments(parser):
    parser.add_argument(
        'input', help='file, or http(s) address: .pth, .safetensors or .pkl; a folder of transformers; a run')
    parser.add_argument(
        'output', help='file to write: .pth, .safetensors, .pkl (detectron2); or a folder (huggingface)')
    parser.add_argument('--from', dest='source', default='auto', help='layout of IN (default: auto, by its names)')
    parser.add_argument('--to', dest='target', required=True, help='layout of OUT, such as mmssl, torchvision or timm')
    parser.add_argument('--config', help='whose model the weights must fit; by default they tell kind and size')
    parser.add_argument('--num-heads', type=int, help='attention heads of a ViT (default: one for each 64 channels)')
    parser.add_argument(
        '--teacher',
        action='store_true',
        help='of a checkpoint of this package, the moving averages of backbone and neck')
    add_size_option(parser, 'the images in pixels; needed for a ViT whose images are not square')
    parser.add_argument('--bgr2rgb', action='store_true', help='IN takes images as BGR, as Caffe2 does; OUT takes RGB')
    parser.add_argument(
        '--check',
        action='store_true',
        help='compare the outputs of all networks on two photographs; that of IN has all weights of the file')
    parser.add_argument(
        '--tolerance', type=float, default=1e-5, help='of the check, over the largest output (default: %(default)s)')
    vissl = parser.add_argument_group('how names in IN are changed before all else, as by WEIGHTS_INIT of VISSL')
    vissl.add_argument(
        '--state-dict-key-name',
        help="key of the weights in IN, such as student (of a teacher and a student the first is taken); '' for none")
    vissl.add_argument(
        '--skip-layers',
        nargs='+',
        default=[],
        help='leave out the names that contain one of these: heads and the like')
    vissl.add_argument('--remove-prefix', default='', help='take it off the names that begin with it')
    vissl.add_argument('--append-prefix', default='', help='then put it in front of all names')


def run(args):
    from mmssl.apis.run import Run
    from mmssl.apis.run_dir import last_start
    from mmssl.interop.conversion import convert_file
    options = {key: value for key, value in vars(args).items() if key != 'command_line'}
    source, output = options.pop('input'), options.pop('output')
    if Path(source).is_dir() and last_start(Path(source)):
        source = str(Run(source).checkpoint)
    convert_file(source, output, **options)

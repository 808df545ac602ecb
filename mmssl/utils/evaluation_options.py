# Copyright (c) mmssl contributors. All rights reserved.
"""Command-line options that all evaluation tools have in common. Imports nothing heavy."""
import argparse
import re

from .config import add_cfg_options
from .pooling_windows import parse_window


def add_broken_option(parser):
    """Give a parser the option --broken: what is done about images that cannot be read."""
    parser.add_argument(
        '--broken',
        choices=['skip', 'stop'],
        default='skip',
        help='at images that cannot be read: leave them out, with a list of them, or stop at the first one (default: '
        'skip; only a training replaces them, see broken_images in its config)')


def layer_names(text):
    """'0,4,neck' to ['stage0', 'stage4', 'neck']; 'feat1' to 'feat5' are MMSelfSup's names of stage0 to stage4."""
    return [_layer(name) for name in re.split(r'[,\s]+', text.strip(', '))]


def _layer(name):
    if name.isdigit():
        return f'stage{name}'
    feat = re.fullmatch(r'feat(?:ure)?([1-9]\d*)', name)
    return f'stage{int(feat[1]) - 1}' if feat else 'stage0' if name == 'stem' else name


POOLING = re.compile(r'average|adaptive|specified|rmac(:[1-9]\d*)?|gem(:(\d+(\.\d*)?|inf))?|grid:[1-9]\d*')


def pool_type(text):
    """The name of a pooling, if it is one, or a pooling for each layer.

    Args:
        text (str): Such as 'gem:3', a window ('6s1', see parse_window), or 'average,stage0=10s10p4,stage4=6s1': a dict
            of layers, where the word that stands alone is for the other ones ('others').
    """
    parts = [part.strip() for part in text.split(',')]
    if len(parts) == 1 and '=' not in text:
        return _one_pooling(text)
    found = {}
    for part in parts:
        layer, _, name = part.rpartition('=')
        layer = _layer(layer) if layer else 'others'
        if layer in found:
            raise argparse.ArgumentTypeError(f'{text!r} has two poolings for {layer}')
        found[layer] = _one_pooling(name)
    return found


def _one_pooling(text):
    if not POOLING.fullmatch(text):
        try:
            parse_window(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f'{text!r} is no pooling; there are average, adaptive, specified, rmac, rmac:L (L scales), gem, gem:P '
                '(exponent P), grid:N (N x N cells) and windows such as 6, 10x10s4 or 10s10p4 (size, stride, padding)'
            ) from error
    return text


class _Layers(argparse.Action):

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, list(dict.fromkeys(name for names in values for name in names)))


class _Checkpoint(argparse.Action):

    def __call__(self, parser, namespace, values, option_string=None):
        if namespace.checkpoint is not None:
            parser.error(f'the checkpoint is given twice: {namespace.checkpoint} and {values}')
        namespace.checkpoint = values


def add_teacher_option(parser):
    """Give a parser the option --teacher."""
    parser.add_argument(
        '--teacher',
        action='store_true',
        help='take the moving average that the checkpoint has of its backbone, as the authors of DINO, iBOT, DINOv2, '
        'MSN and I-JEPA do, instead of the network that was trained')


def add_checkpoint(parser, help='of the pre-training, or extracted backbone weights', teacher=True):
    """Give a parser `checkpoint`, as a positional argument after those that it has, or as an option.

    Args:
        parser (argparse.ArgumentParser): The parser.
        help (str): What is expected.
        teacher (bool): Whether it gets the option --teacher too.
    """
    parser.add_argument(
        'checkpoint', metavar='CHECKPOINT', nargs='?', action=_Checkpoint, default=argparse.SUPPRESS, help=help)
    parser.add_argument('--checkpoint', metavar='CHECKPOINT', action=_Checkpoint, help='the same as an option')
    if teacher:
        add_teacher_option(parser)


def require_checkpoint(parser, args):
    """The usual error of a parser where no checkpoint is given."""
    if args.checkpoint is None:
        parser.error('a checkpoint is needed: CONFIG CHECKPOINT, or --checkpoint CHECKPOINT')


def add_evaluation_options(parser,
                           dataset_config,
                           layers=('pooled', ),
                           features=True,
                           batch_size=True,
                           data_root='instead of the images of that config those of FOLDER, with class folders in '
                           'FOLDER/train and FOLDER/val'):
    """Give a parser the options by which every evaluation names its model, layers, data and output.

    Args:
        parser (argparse.ArgumentParser): Gets `config`, `checkpoint`, `teacher`, `dataset_config`, `data_root`,
            `layers`, `pool_type`, `features`, `batch_size`, `workers`, `device`, `work_dir`, `out`, `launcher`,
            `broken` and `cfg_options`.
        dataset_config (str): Default of --dataset-config.
        layers (Sequence[str]): Default of --layers.
        features (bool): Whether the tool takes stored features, by --features.
        batch_size (bool): Whether the tool leaves the name --batch-size for the images of a batch.
        data_root (str): Help of --data-root, for tools to which it means something else.
    """
    parser.add_argument('config', help='config of the pre-training: its model makes the features')
    add_checkpoint(parser)
    parser.add_argument(
        '--dataset-config',
        default=dataset_config,
        help='config with the images; options on data are meant for it (default: %(default)s)')
    parser.add_argument('--data-root', metavar='FOLDER', help=data_root)
    parser.add_argument(
        '--layers',
        '--layer',
        '--layer-ind',
        type=layer_names,
        nargs='+',
        action=_Layers,
        default=list(layers),
        help='pooled, cls_token, neck, head, pixels, patches, and stages: stage0, the stem of a ResNet, to stage4 '
        '(also 0 to 4, or feat1 to feat5), stage4_patches, stage4_map, by commas or spaces (default: ' +
        (','.join(layers) or 'all stages, pooled, neck') + ')')
    parser.add_argument(
        '--pool-type',
        type=pool_type,
        default='average',
        help='of the stages: average, adaptive, specified, rmac, rmac:L, gem, gem:P, grid:N, a window such as 10x10s4, '
        'or one each, such as average,stage0=10s10p4,stage4=6s1 (default: %(default)s)')
    if features:
        parser.add_argument(
            '--features', metavar='FOLDER', help='take those that tools/extract_features.py has written')
    else:
        parser.set_defaults(features=None)
    if batch_size:
        parser.add_argument('--batch-size', type=int, help='images in a batch (default: as the data config says)')
    else:
        parser.set_defaults(batch_size=None)
    parser.add_argument(
        '--workers',
        type=int,
        help='processes that load images (default: as the data config says, one a CPU core at most)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU where there is one)')
    parser.add_argument('--work-dir', '--work_dir', help='folder for the log')
    parser.add_argument('--out', help='JSON file for the metrics')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_broken_option(parser)
    add_cfg_options(parser)

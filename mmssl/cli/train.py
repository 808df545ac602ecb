# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train on images.

Method, network, image size, batch, learning rate, length and all else are chosen by the images, the machine and the
time, and each choice is printed with its reason. What comes of it is a run: a folder with config, logs and checkpoints.

  mmssl train photos --time 10m
  mmssl train photos --method dino --model vit_small --epochs 100 --out work_dirs/dino
  mmssl train photos --set data.samples_per_gpu=64 optimizer.lr=0.01
  torchrun --nproc_per_node 8 -m mmssl train photos
"""

from mmssl.utils.command_words import shell_line
from .options import add_choice_options, our_words


def add_arguments(parser):
    parser.add_argument(
        'data',
        metavar='DATA',
        nargs='?',
        help='folder of images (class folders give labels to measure by), list of images, shards, or NAME[:SPLIT] of '
        'the catalog')
    parser.add_argument('--out', metavar='DIR', help='folder of the run (default: work_dirs/METHOD_MODEL_DATA)')
    add_choice_options(parser)
    parser.set_defaults(seed=None)  # with --from that of the config
    parser.add_argument('--overwrite', action='store_true', help='put away the run that is in the folder')
    parser.add_argument(
        '--from',
        dest='recipe',
        metavar='RECIPE.py',
        help='train by this config, such as one that `mmssl config` wrote')


def run(args):
    from mmssl.utils.errors import ConfigError
    if (args.data is None) == (args.recipe is None):
        raise ConfigError('give DATA, such as `mmssl train FOLDER`, or --from RECIPE.py, in which the data are named'
                          if args.data is None else f'give DATA or --from, not both: {args.recipe} names its data')
    if args.recipe is not None:
        chosen = [name for name in ('time', 'epochs', 'labels') if getattr(args, name) is not None] + \
                 [name for name in ('method', 'model') if getattr(args, name) != 'auto']
        if chosen:
            raise ConfigError(f'--{chosen[0]} chooses, and --from {args.recipe} has chosen already: change a setting '
                              'of the config by --set KEY=VALUE')

    from mmssl.apis import pretrain
    from mmssl.utils.dist import get_rank
    with our_words():
        if args.recipe is None:
            run = pretrain.train(
                args.data,
                args.method,
                args.model,
                args.out,
                args.time,
                args.epochs,
                args.settings,
                args.labels,
                args.seed or 0,
                overwrite=args.overwrite)
        else:
            run = pretrain.train_by(
                args.recipe, args.out, settings=args.settings, seed=args.seed, overwrite=args.overwrite)
    if get_rank() == 0:
        print('\n'.join(next_steps(run, args.data)))


def next_steps(run, data=None):
    """Lines with the commands that make use of a run; `data` is what was given for its images, None: see its config."""
    out, data = str(run.out), data or _folder_of(run) or 'FOLDER'
    steps = (
        ('its page, with curves, views and neighbours', ['report', out]),
        ('images that look like one', ['search', data, 'IMAGE', '--run', out]),
        ('features of images', ['features', out, data, 'features.npy']),
        ('the network for programs without mmssl', ['export', out, 'onnx']),
        ('more epochs', ['resume', out, '--epochs', 'N']),
    )
    return ['What can be done now:'] + [f'  mmssl {shell_line(words):60}  # {what}' for what, words in steps]


def _folder_of(run):
    """The folder of the images of a run, None where it has no such folder alone, or it is not here."""
    from pathlib import Path
    source = run.cfg.data.train.get('data_source') or {}
    folder = source.get('data_prefix')
    return folder if folder and not source.get('ann_file') and Path(folder).is_dir() else None

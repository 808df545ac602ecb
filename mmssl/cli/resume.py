# Copyright (c) mmssl contributors. All rights reserved.
"""Go on with a run from the checkpoint that got furthest.

Weights, state of the optimizer, random numbers and the position in the data are those of the moment in which the
checkpoint was written, so that the run ends as it would have without the break.

  mmssl resume work_dirs/photos
  mmssl resume work_dirs/photos --epochs 200
"""
from .options import add_set_option, our_words


def add_arguments(parser):
    parser.add_argument('run', metavar='RUN', help='folder of the run')
    parser.add_argument('--epochs', type=int, metavar='N', help='train up to so many epochs in all')
    add_set_option(parser, 'settings that are to change')


def run(args):
    from mmssl.apis.pretrain import resume
    from mmssl.utils.dist import get_rank
    from .train import next_steps
    with our_words():
        found = resume(args.run, args.epochs, args.settings)
    if get_rank() == 0:
        print('\n'.join(next_steps(found)))

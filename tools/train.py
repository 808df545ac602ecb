# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train, or train, as a config says."""
import argparse
import os
import sys
from pathlib import Path

from mmssl.utils.command_words import shell_line
from mmssl.utils.config import add_cfg_options, check_sections, load_config
from mmssl.utils.misc import run_tool
from mmssl.utils.swap import swap_notes


def parse_args():
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', '--work_dir', help='folder of logs and checkpoints; work_dirs/CONFIG by default')
    parser.add_argument('--resume-from', metavar='CHECKPOINT', help='go on where this checkpoint was written')
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '--auto-resume',
        action='store_true',
        help='go on from the checkpoint in the work_dir that got furthest, with the settings of the run there; '
        'start where there is none')
    group.add_argument(
        '--overwrite',
        action='store_true',
        help='put away the files of the run that is in the work_dir, and start anew')
    parser.add_argument('--load-from', metavar='CHECKPOINT', help='begin with the weights of this checkpoint')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='fit the learning rates to the batch of all processes (auto_scale_lr of the config)')
    parser.add_argument('--seed', type=int, help='seed of all random numbers; drawn and logged by default')
    parser.add_argument('--diff-seed', '--diff_seed', action='store_true', help='add the rank to the seed')
    parser.add_argument('--deterministic', action='store_true', help='deterministic kernels of cuDNN')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='what started the processes')
    parser.add_argument(
        '--gpu-id', '--gpu-ids', type=int, nargs='+', metavar='N', help='GPU of a training in one process')
    parser.add_argument('--gpus', type=int, metavar='N', help='of MMSelfSup: one process trains on one GPU')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    if args.auto_scale_lr:
        args.cfg_options = {**args.cfg_options, 'auto_scale_lr.enable': True}
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ('model', 'data.train', 'data.samples_per_gpu', 'optimizer', 'runner'))
    # the arguments are right: now the heavy imports
    from mmssl.apis.start import start_training
    from mmssl.utils.dist import is_distributed

    def go_on(work_dir):
        return 'the same command and --auto-resume' if is_distributed() else shell_line(
            ['python', os.path.normpath(sys.argv[0]), args.config, '--work-dir', work_dir, '--auto-resume'])

    options = {name: value for name, value in vars(args).items() if name not in ('config', 'auto_scale_lr')}
    start_training(args.config, cfg, **options, notes=swap_notes(args.cfg_options), go_on=go_on, what_next=what_next)


def what_next(run, checkpoint):
    """Words about where the results of a training are, and what may be done with them."""
    work_dir = run.cfg.work_dir
    lines = [
        f'The training is done. In {work_dir}: the config {run.name}.py and the logs {run.timestamp}.log and '
        f'{run.timestamp}.log.json'
    ]
    if checkpoint:
        lines[0] += f'; the checkpoint is {checkpoint}'
        tools, config = Path(os.path.normpath(sys.argv[0])).parent, Path(work_dir, f'{run.name}.py')
        for what, script, *words in (
            ('accuracy of nearest neighbours; FOLDER has class folders in train and val',
             'benchmarks/classification/knn_imagenet/test_knn.py', config, '--checkpoint', checkpoint, '--data-root',
             'FOLDER'),
            ('features of all images below a folder', 'embed.py', config, checkpoint, 'FOLDER', 'features.npy'),
            ('the backbone alone, for other tools', 'model_converters/extract_backbone_weights.py', checkpoint,
             Path(work_dir, 'backbone.pth')),
        ):
            lines.append(f'  {what}:\n    ' + shell_line(['python', str(tools / script), *map(str, words)]))
    return '\n'.join(lines)


if __name__ == '__main__':
    run_tool(main, distributed=True)

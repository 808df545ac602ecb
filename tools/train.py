# Copyright (c) mmssl contributors. All rights reserved.
"""Pre-train, or train, as a config says."""
import argparse
import os
import shlex
import sys
from pathlib import Path

from mmssl.utils.config import add_cfg_options, check_sections, config_section, load_config
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
    import torch

    from mmssl import __version__
    from mmssl.apis import init_random_seed, set_random_seed, train_model
    from mmssl.apis.run_dir import open_run
    from mmssl.datasets import build_dataset
    from mmssl.models import build_algorithm
    from mmssl.utils.collect_env import collect_env
    from mmssl.utils.dist import get_rank, init_dist, is_distributed
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.setup_env import setup_multi_processes

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    met = init_dist(args.launcher, **cfg.get('dist_params', {}))
    distributed = is_distributed()
    notes = [*filter(None, [met]), *choose_gpu(args, distributed), *swap_notes(args.cfg_options)]

    how = ('work_dir', 'auto_resume', 'resume_from', 'load_from', 'seed', 'overwrite')
    run = open_run(args.config, cfg, args.cfg_options, **{key: getattr(args, key) for key in how})
    if run.finished:
        if get_rank() == 0:
            print(run.finished)
        return
    cfg = run.cfg
    setup_multi_processes(cfg)
    torch.backends.cudnn.benchmark = bool(cfg.get('cudnn_benchmark'))
    logger = get_root_logger(f'{cfg.work_dir}/{run.timestamp}.log', cfg.get('log_level', 'INFO'))
    if args.deterministic:
        cfg.deterministic = True
    cfg.seed = seed = init_random_seed(cfg.get('seed'))
    set_random_seed(seed + get_rank() if args.diff_seed else seed, cfg.get('deterministic', False))
    text = run.text()
    for note in [*notes, *run.notes]:
        logger.info(note)

    env = collect_env()
    logger.info('Environment:\n%s', '\n'.join(f'{name}: {value}' for name, value in env.items()))
    logger.info('Distributed training: %s, seed: %d, deterministic: %s', distributed, seed,
                cfg.get('deterministic', False))
    logger.info('Config:\n%s', text)

    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    model.init_weights()
    sections = dict(train='data.train', val='data.val')
    datasets = []
    for mode, _ in cfg.get('workflow', [('train', 1)]):
        check_sections(cfg, [sections.get(mode, mode)])
        with config_section(cfg, sections[mode]):
            datasets.append(build_dataset(cfg.data[mode]))
    meta = dict(
        config=text,
        env_info='\n'.join(f'{name}: {value}' for name, value in env.items()),
        exp_name=f'{run.name}.py',
        seed=seed,
        mmssl_version=__version__)
    if getattr(datasets[0], 'CLASSES', None) is not None:
        meta['CLASSES'] = [str(name) for name in datasets[0].CLASSES]
    try:
        runner = train_model(model, datasets, cfg, distributed, run.timestamp, meta, on_start=run.begin)
    except KeyboardInterrupt as stop:
        again = 'the same command and --auto-resume' if distributed else shlex.join([
            'python', os.path.normpath(sys.argv[0]), args.config, '--work-dir', cfg.work_dir, '--auto-resume'
        ])
        stop.args = ('; '.join([*(stop.args or ['before the first iteration']), f'go on with: {again}']), )
        raise
    logger.info(what_next(cfg.work_dir, run, runner.meta.get('hook_msgs', {}).get('last_ckpt')))


def choose_gpu(args, distributed):
    """Take the GPU that the options name; returns words about what of them means nothing here."""
    import torch

    from mmssl.utils.errors import ConfigError
    notes = []
    if args.gpus not in (None, 1):
        notes.append(f'--gpus {args.gpus} is left aside: one process trains on one GPU, tools/dist_train.sh CONFIG '
                     f'{args.gpus} on {args.gpus}')
    if args.gpu_id is None:
        return notes
    given = ' '.join(map(str, args.gpu_id))
    if distributed or not torch.cuda.is_available():
        notes.append(f'--gpu-ids {given} is left aside: ' +
                     ('each process has the GPU of its local rank' if distributed else 'there is no GPU'))
    elif not 0 <= args.gpu_id[0] < torch.cuda.device_count():
        raise ConfigError(f'--gpu-ids {given}: there are GPUs 0 to {torch.cuda.device_count() - 1}')
    else:
        torch.cuda.set_device(args.gpu_id[0])
        if len(args.gpu_id) > 1:
            notes.append(f'--gpu-ids {given}: one process trains on one GPU, the first of these')
    return notes


def what_next(work_dir, run, checkpoint):
    """Words about where the results of a training are, and what may be done with them."""
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
            lines.append(f'  {what}:\n    ' + shlex.join(['python', str(tools / script), *map(str, words)]))
    return '\n'.join(lines)


if __name__ == '__main__':
    run_tool(main, distributed=True)

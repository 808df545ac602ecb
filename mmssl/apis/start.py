# Copyright (c) mmssl contributors. All rights reserved.
"""The start of a training, behind tools/train.py, `mmssl train`, `mmssl resume` and mmssl.train."""
import contextlib
import logging
import os
import threading

import torch

from mmssl import __version__
from mmssl.datasets import build_dataset
from mmssl.evaluation.descriptor import Descriptor
from mmssl.models import build_algorithm
from mmssl.utils.collect_env import collect_env
from mmssl.utils.config import check_sections, config_section
from mmssl.utils.dist import get_rank, init_dist, is_distributed
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import close_log_file, get_root_logger
from mmssl.utils.run_dir import folders_let_go
from mmssl.utils.setup_env import setup_multi_processes
from .run_dir import open_run
from .train import init_random_seed, set_random_seed, train_model

_TRAINING = threading.Lock()


@contextlib.contextmanager
def _alone():
    """One training of this process at a time; the process may live on, as that of a notebook does."""
    if not _TRAINING.acquire(blocking=False):
        raise ConfigError(
            'another thread of this process is training: they would share the random numbers and the log. '
            'Begin when it is done, or in a process of its own')
    threads = torch.get_num_threads()
    try:
        with folders_let_go():
            yield
    finally:
        torch.set_num_threads(threads)
        close_log_file()
        _TRAINING.release()


@_alone()
def start_training(config_path,
                   cfg,
                   cfg_options=None,
                   *,
                   notes=(),
                   launcher='none',
                   local_rank=0,
                   gpu_id=None,
                   gpus=None,
                   diff_seed=False,
                   deterministic=False,
                   comment='',
                   progress=None,
                   quiet=False,
                   go_on=None,
                   say=print,
                   what_next=None,
                   **how):
    """Begin a training or go on with one, in a folder of its own, and train to its end.

    In several processes each calls this, with the same arguments.

    Args:
        config_path (str | Path): Config file; the run has its name.
        cfg (mmcv.Config): What is in it, with `cfg_options`.
        cfg_options (dict, optional): Settings of the command line, by dotted key, see load_config.
        notes (Sequence[str]): Lines for the log.
        launcher (str): See init_dist.
        local_rank (int): Of this process on its machine, where no variable of the environment says it.
        gpu_id (Sequence[int], optional): GPU of a training in one process; of several the first is taken.
        gpus (int, optional): Number of GPUs, an option of MMSelfSup: it is noted that one process trains on one.
        diff_seed (bool): Add the rank to the seed.
        deterministic (bool): Deterministic kernels of cuDNN.
        comment (str): Lines for the top of the saved config, such as why it is as it is.
        progress (bool, optional): Show the progress of the training. Default: where the output is a terminal.
        quiet (bool): Of the log only warnings appear on the screen; all of it is in the file.
        go_on (callable, optional): Takes the folder of the run, returns the command that goes on with it, for the
            words at Ctrl-C.
        say (callable): Takes a line for the user: that the run is finished already; with `quiet` also what a start
            does to the run.
        what_next (callable, optional): Called on rank 0 at the end with the Run and the last checkpoint (str | None),
            returns words for the log.
        how: `work_dir`, `auto_resume`, `resume_from`, `load_from`, `seed` and `overwrite`, see run_dir.open_run.

    Returns:
        BaseRunner: Of the training that is over; None where the run was finished before.

    Raises:
        ConfigError: The config cannot be trained by, the folder is another run's, or another thread trains.
        FileNotFoundError: A file of the data or a checkpoint is absent.
        KeyboardInterrupt: The training was stopped; its words say how to go on.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    met = init_dist(launcher, **cfg.get('dist_params', {}))
    distributed = is_distributed()
    notes = [*filter(None, [met]), *_choose_gpu(gpu_id, gpus, distributed), *notes]

    run = open_run(config_path, cfg, cfg_options, **how)
    if run.finished:
        if get_rank() == 0:
            say(run.finished)
        return None
    run.comment = comment or run.comment
    with run.no_log_of_nothing():
        return _train(run, distributed, notes, diff_seed, deterministic, progress, quiet, go_on, say, what_next)


def _train(run, distributed, notes, diff_seed, deterministic, progress, quiet, go_on, say, what_next):
    """Build what a run needs and train; see start_training."""
    cfg = run.cfg
    setup_multi_processes(cfg)
    torch.backends.cudnn.benchmark = bool(cfg.get('cudnn_benchmark'))
    logger = get_root_logger(run.log_file, cfg.get('log_level', 'INFO'))
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING if quiet else logger.level)
    if deterministic:
        cfg.deterministic = True
    cfg.seed = seed = init_random_seed(cfg.get('seed'))
    set_random_seed(seed + get_rank() if diff_seed else seed, cfg.get('deterministic', False))
    text = run.text()
    for note in [*notes, *run.notes]:
        logger.info(note)
    if quiet and get_rank() == 0:
        for note in [*run.notes, *([f'going on from {cfg.resume_from}'] if cfg.resume_from else [])]:
            say(note)

    env = collect_env()
    logger.info('Environment:\n%s', '\n'.join(f'{name}: {value}' for name, value in env.items()))
    logger.info('Distributed training: %s, seed: %d, deterministic: %s', distributed, seed,
                cfg.get('deterministic', False))
    logger.info('Config:\n%s', text)

    Descriptor.of(cfg)  # a wrong one would be found after the training
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
        runner = train_model(
            model, datasets, cfg, distributed, run.timestamp, meta, on_start=run.begin, progress=progress)
    except KeyboardInterrupt as stop:
        words = [
            *(stop.args or ['before the first iteration']), go_on and run.begun and f'go on with: {go_on(cfg.work_dir)}'
        ]
        stop.args = ('; '.join(filter(None, words)), )
        raise
    if what_next is not None and get_rank() == 0:
        logger.info(what_next(run, runner.meta.get('hook_msgs', {}).get('last_ckpt')))
    return runner


def _choose_gpu(gpu_id, gpus, distributed):
    """Take the GPU that the options name; returns words about what of them means nothing here."""
    notes = []
    if gpus not in (None, 1):
        notes.append(f'--gpus {gpus} is left aside: one process trains on one GPU, tools/dist_train.sh CONFIG '
                     f'{gpus} on {gpus}')
    if gpu_id is None:
        return notes
    given = ' '.join(map(str, gpu_id))
    if distributed or not torch.cuda.is_available():
        notes.append(f'--gpu-ids {given} is left aside: ' +
                     ('each process has the GPU of its local rank' if distributed else 'there is no GPU'))
    elif not 0 <= gpu_id[0] < torch.cuda.device_count():
        raise ConfigError(f'--gpu-ids {given}: there are GPUs 0 to {torch.cuda.device_count() - 1}')
    else:
        torch.cuda.set_device(gpu_id[0])
        if len(gpu_id) > 1:
            notes.append(f'--gpu-ids {given}: one process trains on one GPU, the first of these')
    return notes

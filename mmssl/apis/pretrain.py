# Copyright (c) mmssl contributors. All rights reserved.
"""From images to a trained network in one call: what `mmssl train`, `mmssl resume` and mmssl.train do."""
from __future__ import annotations
import logging
import re
import time as clock
from pathlib import Path
from typing import Any

import torch
from mmcv import Config

from mmssl.evaluation.features import random_state_kept
from mmssl.recipes import Recipe, fit
from mmssl.utils.command_words import in_our_words, shell_line
from mmssl.utils.config import check_sections, load_config, override
from mmssl.utils.config_names import check_settings
from mmssl.utils.dist import broadcast_object, get_rank, get_world_size, init_dist
from mmssl.utils.errors import ConfigError, check_integer, printable
from mmssl.utils.launch import find_launcher
from mmssl.utils.logger import quiet_logs
from mmssl.utils.training_log import TrainingLog
from .image_sources import data_in_files
from .run import Run
from .run_dir import last_start, training_checkpoints
from .start import start_training

# of the figures that hooks log, the one by which a run is told of: key, what it is, and how it is written
MEASURES = (
    ('knn_top1', 'accuracy of nearest neighbours', '{:.1%}'),
    ('quality_rankme', 'effective rank of the features (RankMe)', '{:.1f}'),
)


@quiet_logs(logging.WARNING, ['mmcv'])  # of each layer it tells how it is initialised; the config says so too
@random_state_kept()
def train(data: Any,
          method: str = 'auto',
          model: str = 'auto',
          out: str | Path | None = None,
          time: float | str | None = None,
          epochs: int | None = None,
          settings: dict[str, Any] | None = None,
          labels: Any = None,
          seed: int = 0,
          overwrite: bool = False,
          quiet: bool = False) -> Run:
    """Pre-train on images with settings that fit them, the machine and the time.

    The random generators of this process are afterwards as they were.

    Args:
        data (str | Path | dict | Sequence): A folder, a list, shards, a name of the catalog, or the config of a data
            source, see mmssl.recipes.fit; or images in memory, an array N x H x W x C or a list of Pillow images of one
            size, which are written into `out`.
        method (str): Such as 'simclr'; 'auto' takes what fits.
        model (str): Such as 'resnet18', 'timm:NAME' or 'torchvision:NAME'; 'auto' takes what fits.
        out (str | Path, optional): Folder of the run. Default: work_dirs/METHOD_MODEL_DATA.
        time (float | str, optional): Length of the training in seconds, or as text such as '10m'.
        epochs (int, optional): In place of the time.
        settings (dict, optional): Settings of the config by dotted key, which win over what is chosen.
        labels (str | Path | Sequence, optional): To measure by; see mmssl.recipes.fit.
        seed (int): Of all random numbers.
        overwrite (bool): Put away the run that is in `out`, and start anew.
        quiet (bool): Print nothing but warnings.

    Returns:
        Run: What came of it. With several processes, on each of them.

    Raises:
        ConfigError: The data, the method and the settings do not fit each other, or `out` holds another run; or there
            is a process group already, in which one process cannot measure iterations alone; or another thread trains.
        FileNotFoundError: There are no such data.
    """
    if get_world_size() > 1:
        raise ConfigError('mmssl.train joins the processes itself: call it before torch.distributed.init_process_group')
    if out is not None:
        if not str(out):
            raise ConfigError('--out is empty: give the folder of the run, or leave the option out')
        _keep_other_runs(Path(out), overwrite)  # before the images are looked at
    elif not isinstance(data, (str, Path, dict)):
        raise ConfigError('images in memory are written into the folder of the run: give it as out=')
    recipe, meeting = None, _dist_params(settings)
    if find_launcher()[1] == 0:
        if not quiet:
            what = printable(data) if isinstance(data, (str, Path)) else 'the images'
            print(f'looking at {what} and at this machine ...', flush=True)
        try:
            data = data_in_files(data, Path(out or '.'))
            recipe = fit(
                data,
                method,
                model,
                time,
                epochs,
                labels,
                settings,
                out and str(out),
                seed,
                on_folder=lambda folder: _keep_other_runs(folder, overwrite))
        except (ConfigError, OSError) as error:
            recipe = error
    # only now: iterations that are measured by one process would wait for the others
    met = init_dist('none', **meeting)
    recipe = broadcast_object(recipe)
    if isinstance(recipe, Exception):
        raise recipe
    return train_by(recipe, out, overwrite=overwrite, quiet=quiet, notes=[met])


@quiet_logs(logging.WARNING, ['mmcv'])
def train_by(recipe, out=None, *, settings=None, seed=None, overwrite=False, quiet=False, notes=()):
    """Train by a recipe.

    Args:
        recipe (Recipe | str | Path): Of mmssl.recipes.fit, or a config file.
        out (str | Path, optional): Folder of the run. Default: that of the recipe, else work_dirs/NAME.
        settings (dict, optional): Settings of the config file by dotted key.
        seed (int, optional): Of all random numbers; that of a Recipe by default.
        overwrite, quiet: See train.
        notes (Sequence[str]): Lines for the log.

    Returns:
        Run: What came of it.
    """
    name, comment = None, ''
    if isinstance(recipe, Recipe):
        cfg, settings = recipe.cfg, None
        comment = re.match('(#.*\n)*', recipe.text())[0]
    else:
        cfg, name = load_config(recipe, settings), Path(recipe).stem
    check_sections(cfg, ('model', 'data.train', 'data.samples_per_gpu', 'optimizer', 'runner'))
    out = Path(out or cfg.get('work_dir') or f'work_dirs/{name}')
    name = name or re.sub(r'[^\w-]', '-', out.resolve().name)
    _keep_other_runs(out, overwrite)
    if not quiet and get_rank() == 0:
        if isinstance(recipe, Recipe):
            print('\n'.join(told(recipe)), flush=True)
        else:
            _tell_of_gpus(['train', '--from', str(recipe), '--out', str(out)])
    return _run(
        out / f'{name}.py',
        cfg,
        settings,
        quiet,
        work_dir=str(out),
        seed=seed,
        overwrite=overwrite,
        comment=comment,
        notes=[*filter(None, notes)])


@quiet_logs(logging.WARNING, ['mmcv'])
@random_state_kept()
def resume(run: str | Path,
           epochs: int | None = None,
           settings: dict[str, Any] | None = None,
           quiet: bool = False) -> Run:
    """Go on with a run from the checkpoint that got furthest, as if it had never stopped.

    Args:
        run (str | Path): Its folder, or a file in it.
        epochs (int, optional): Train up to so many epochs, where the run was to have others.
        settings (dict, optional): Settings of the config by dotted key that are to change.
        quiet (bool): Print nothing but warnings.

    Returns:
        Run: What came of it.

    Raises:
        ConfigError: There is no run, or a setting cannot change in the midst of one.
    """
    folder = Path(run)
    if not folder.exists():
        raise FileNotFoundError(f'no such run: {folder.absolute()}')
    folder = folder.parent if folder.is_file() else folder
    start = last_start(folder)
    if start is None:
        raise ConfigError(f'{folder} holds no run that could go on: no config of a start (TIME_NAME.py) is in it')
    if not quiet:
        _tell_of_gpus(['resume', str(folder)])
    settings = dict(settings or {})
    if epochs is not None:
        check_integer(epochs, 'epochs', 1)
        if (load_config(start).get('runner') or {}).get('max_epochs') is None:
            raise ConfigError(f'--epochs {epochs}: this run counts iterations; --set runner.max_iters=N changes them')
        settings['runner.max_epochs'] = epochs
    return _run(start, load_config(start, settings), settings, quiet, work_dir=str(folder), auto_resume=True)


def _dist_params(settings):
    """dict: How processes are to meet by the settings, before there is a config."""
    cfg = Config({})
    override(cfg, {key: value for key, value in (settings or {}).items() if key.split('.')[0] == 'dist_params'})
    check_settings(cfg)
    return cfg.get('dist_params') or {}


def _keep_other_runs(out, overwrite):
    there = training_checkpoints(out)
    if there and not overwrite:
        furthest = max(there, key=lambda checkpoint: checkpoint.iter).path.name
        raise ConfigError(
            f'{out} holds a run up to {furthest}: go on with it by `mmssl resume {shell_line([str(out)])}`, '
            'put its files away by --overwrite (overwrite=True), or give another --out')


def _run(config, cfg, settings, quiet, **how):
    """Train in a folder, and tell what came of it."""
    begin, out = clock.monotonic(), how['work_dir']

    def say(words):
        if not quiet:
            print(in_our_words(words))

    runner = start_training(
        config,
        cfg,
        settings,
        progress=not quiet,
        quiet=True,
        go_on=lambda work_dir: shell_line(['mmssl', 'resume', work_dir]),
        say=say,
        **how)
    if runner is not None and not quiet and get_rank() == 0:
        print('\n'.join(outcome(out, clock.monotonic() - begin)), flush=True)
    return Run(out)


def told(recipe):
    """Lines about what was chosen and why, and the warnings.

    Args:
        recipe (Recipe): The recipe.

    Returns:
        list[str]: The lines.
    """
    return [*recipe.lines(), *(f'warning: {words}' for words in recipe.warnings), '']


def outcome(work_dir, seconds=None):
    """Lines about what came of a run: a figure at its begin, its end and at best.

    Args:
        work_dir (str | Path): Folder of the run.
        seconds (float, optional): That the training took.

    Returns:
        list[str]: The lines.
    """
    took = f' in {seconds / 60:.1f} min' if seconds else ''
    lines = ['', f'The training is done{took}; all of it is in {work_dir}']
    try:
        log = TrainingLog(work_dir)
    except FileNotFoundError:  # log_config writes none
        return lines
    for key, what, words in MEASURES:
        if key not in log.keys():
            continue
        epochs, values = log.curve(key)
        figures = [f'{words.format(values[0])} ' + ('with random weights' if epochs[0] == 0 else 'at first')]
        if len(values) > 1:
            figures.append(f'{words.format(values[-1])} at the end')
        lines.append(f'{what}: {", ".join(figures)}')
        if epochs[0] == 0 and key == 'knn_top1' and len(values) > 1 and values[-1] <= values[0] < 1:
            lines.append('warning: the features are no better than those of random weights; a longer training (--time, '
                         '--epochs) or another --method may help, and `mmssl methods` lists these')
    if 'loss' in log.keys():
        losses = log.curve('loss')[1]
        lines.append(f'loss: {losses[0]:.4f} at first, {losses[-1]:.4f} at the end' if len(losses) >
                     1 else f'loss: {losses[0]:.4f}')
    return lines


def _tell_of_gpus(words):
    """Say how a command of `mmssl` takes all GPUs, where this process is the only one; fit warns of it itself."""
    gpus = torch.cuda.device_count()
    if gpus > 1 and find_launcher()[2] == 1:
        print(f'{gpus} GPUs are there and one is used: torchrun --nproc_per_node {gpus} -m mmssl {shell_line(words)} '
              'uses all')

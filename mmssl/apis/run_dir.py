# Copyright (c) mmssl contributors. All rights reserved.
"""The life of a run on the disk: a new one, one that goes on, one that takes the place of another."""
import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from mmcv import Config

from mmssl.evaluation.run_report import PAGE, PICTURES
from mmssl.utils.checkpoint import find_latest_checkpoint, training_checkpoint, training_checkpoints
from mmssl.utils.config import load_config
from mmssl.utils.config_names import TOP_LEVEL
from mmssl.utils.config_text import config_text, differences
from mmssl.utils.config_version import with_version
from mmssl.utils.dist import broadcast_object, get_rank
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import close_log_file
from mmssl.utils.misc import atomic_write
from mmssl.utils.run_dir import (begun_by_this_launch, check_owner, checkpoint_folder, lock_folder, note_launches,
                                 note_owner)

# the config of a start: TIME_NAME.py
_START = re.compile(r'\d{8}_\d{6}_(.+)\.py')
_LOGS = re.compile(r'\d{8}_\d{6}\.log(\.json)?')
# settings of a start, not of a run
_OF_A_START = ('config_version', 'work_dir', 'resume_from', 'load_from', 'auto_resume', 'seed')


@dataclass
class Run:
    """A run and its folder.

    Attributes:
        cfg (mmcv.Config): What to train by. `work_dir`, `load_from` and `resume_from` are set, and `seed` as far as it
            is known.
        name (str): Of the config, without its end.
        timestamp (str): Time of the start, the name of its logs.
        notes (list[str]): What the log should say about this start.
        finished (str | None): Where there is nothing left to train, a line that says so.
        comment (str): Lines that begin with '#', for the top of the saved config; a run that goes on keeps its own.
        begun (bool): Whether the start has succeeded.
    """
    cfg: Config
    name: str
    timestamp: str = field(default_factory=lambda: time.strftime('%Y%m%d_%H%M%S'))
    notes: list = field(default_factory=list)
    finished: str = None
    comment: str = ''
    begun: bool = False
    _replaced: list = field(default_factory=list)
    _saved_text: str = None

    @property
    def log_file(self):
        """str: The log of this start."""
        return f'{self.cfg.work_dir}/{self.timestamp}.log'

    def text(self):
        """The text of the config: its settings, in which its variables are used up, without where a start goes on."""
        return config_text(
            with_version({
                key: value
                for key, value in _settings(self.cfg).items() if key != 'resume_from'
            }))

    def begin(self):
        """Put away what is to be replaced and save the config; to be called when the start has succeeded.

        The config goes to TIME_NAME.py and NAME.py, unless it is that of the start before.
        """
        self.begun = True
        for path in self._replaced:
            away = path.parent / f'replaced_{self.timestamp}'
            away.mkdir(exist_ok=True)
            path.rename(away / path.name)
        text = self.comment + self.text()
        if text != self._saved_text:
            for name in (f'{self.timestamp}_{self.name}.py', f'{self.name}.py'):
                with atomic_write(Path(self.cfg.work_dir) / name) as file:
                    file.write(text)
        note_launches(self.cfg.work_dir)
        out_dir = (self.cfg.get('checkpoint_config') or {}).get('out_dir')
        note_owner(checkpoint_folder(self.cfg.work_dir, out_dir), self.cfg.work_dir)

    @contextlib.contextmanager
    def no_log_of_nothing(self):
        """Context of a start. One that fails before the run has begun leaves no log."""
        try:
            yield
        except BaseException:
            if not self.begun and get_rank() == 0:
                close_log_file()
                Path(self.log_file).unlink(missing_ok=True)
            raise


def open_run(config, cfg, cfg_options=None, **how):
    """Say what a start of a training is to do, and hold its folder until this process ends.

    In several processes rank 0 looks and decides, so that all agree. A process that torchrun or Slurm has started again
    goes on with the run that it began before, whatever the options were.

    Args:
        config (str | Path): Config file that the user gave.
        cfg (mmcv.Config): What is in it, with `cfg_options`.
        cfg_options (dict, optional): Settings of the command line, by dotted key.
        how: See _plan.

    Returns:
        Run: The run.

    Raises:
        ConfigError: Another process writes in the folder; a run that is there would be overwritten; or a setting is
            changed that cannot change in the midst of a run.
        FileNotFoundError: There is no such checkpoint.
    """
    answer = None
    if get_rank() == 0:
        try:
            answer = _plan(Path(config), cfg, cfg_options or {}, **how)
        except (ConfigError, OSError) as error:
            answer = error
    answer = broadcast_object(answer)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _plan(config,
          cfg,
          options,
          work_dir=None,
          auto_resume=False,
          resume_from=None,
          load_from=None,
          seed=None,
          overwrite=False,
          goes_on=True):
    """See open_run.

    Args:
        work_dir (str, optional): Folder of the run. By default that of the run which goes on, where `resume_from` or
            the config lies in it; else that of the config, else work_dirs/NAME.
        auto_resume (bool): Go on from the checkpoint in the folder that got furthest, with the settings of the run.
        resume_from (str, optional): Go on from this checkpoint.
        load_from (str, optional): Begin with the weights of this checkpoint.
        seed (int, optional): Of all random numbers.
        overwrite (bool): Put away the files of the run that is in the way, in a folder beside the new ones.
        goes_on (bool): Whether the tool can go on with a run, so that messages may advise it.
    """
    auto_resume = (auto_resume or bool(cfg.get('auto_resume'))) and not resume_from and not overwrite
    resume_from = resume_from or cfg.get('resume_from')
    if work_dir is None:
        near = config.parent if auto_resume else Path(resume_from).parent if resume_from else None
        work_dir = near if near and last_start(near) else cfg.get('work_dir') or f'work_dirs/{_name(config)}'
    folder = Path(work_dir)
    run = Run(cfg, _name(config), notes=list(filter(None, [lock_folder(folder)])))
    if begun_by_this_launch(folder):
        out_dir = (cfg.get('checkpoint_config') or {}).get('out_dir')
        if not resume_from or any(
                find_latest_checkpoint(f, None) for f in (folder, checkpoint_folder(folder, out_dir))):
            run.notes.append('started again by its launcher: the run goes on')
            auto_resume, resume_from, overwrite = True, None, False
    saved = None
    if auto_resume or resume_from:
        of_folder, of_checkpoint = last_start(folder), resume_from and last_start(Path(resume_from).parent)
        saved = (of_folder or of_checkpoint) if auto_resume else (of_checkpoint or of_folder)
        if not saved and (folder / f'{run.name}.py').is_file():  # a run of MMSelfSup
            saved = folder / f'{run.name}.py'
    if saved:
        _take_settings(run, saved, config, options, auto_resume)

    cfg = run.cfg
    out_dir = (cfg.get('checkpoint_config') or {}).get('out_dir')
    folders = list(dict.fromkeys([folder, checkpoint_folder(folder, out_dir)]))
    run.notes += filter(None, map(lock_folder, folders[1:]))
    check_owner(folders[-1], folder)
    there = sorted((c for f in folders for c in training_checkpoints(f)), key=lambda c: (c.iter, c.epoch), reverse=True)
    start = None
    if auto_resume:
        latest = [find_latest_checkpoint(f, None) for f in folders]
        start = next((c for c in there if str(c.path) in latest), None)
        if there and not start:
            raise ConfigError(
                f'no training can go on from {there[0].path}, which is torn or without the state of the '
                'optimizer (checkpoint_config.save_optimizer): --load-from begins with its weights in another '
                '--work-dir, --overwrite begins anew')
        if saved and not start:
            run.notes.append(f'no checkpoint in {folder} yet: the run begins anew')
    if resume_from and not start and '://' not in resume_from:
        if not Path(resume_from).exists():  # a file, or a folder NAME.dcp
            raise FileNotFoundError(f'checkpoint {resume_from} does not exist')
        start = training_checkpoint(resume_from)
        if start is None:
            raise ConfigError(f'{resume_from} is no checkpoint that a training wrote, so there is no position to go on '
                              'from; --load-from begins with its weights')
    if not auto_resume:
        _clear_the_way(run, folders, there, start, overwrite, goes_on)

    asked = seed if seed is not None else cfg.get('seed') if 'seed' in options else None
    cfg.work_dir, cfg.load_from = str(folder), load_from or cfg.get('load_from')
    cfg.resume_from = str(start.path) if start else resume_from
    if asked is not None:
        cfg.seed = asked
    if start:
        cfg.seed = _seed(start, asked, cfg)
        changed = _changes(load_config(saved), cfg) if saved else []
        if saved and _name(saved) == run.name:
            _check_changes(start, changed)
        if changed:
            run.notes.append('settings changed since the start of the run:\n  ' + '\n  '.join(changed))
        if load_from:
            run.notes.append(f'--load-from {load_from} is not read: the run goes on from {start.path}')
        run.finished = _finished(start, cfg)
    return run


def _take_settings(run, saved, config, options, auto_resume):
    """Give a run that goes on the settings of its start, under the options of now."""
    if _name(saved) != run.name:
        if auto_resume and training_checkpoints(saved.parent):
            raise ConfigError(
                f'{saved.parent} holds a run of {_name(saved)}.py, not of {run.name}.py: give that config to '
                'go on with it, or another --work-dir')
        return
    run.cfg = load_config(saved, options)
    run._saved_text = saved.read_text(encoding='utf-8')
    run.comment = re.match('(#.*\n)*', run._saved_text)[0]
    kept = _changes(load_config(saved), load_config(config), '{}: {}, not {}')
    if kept:
        run.notes.append(f'the run goes on with the settings of its start, {saved}. {config} has others, which are not '
                         'taken (--cfg-options KEY=VALUE changes one):\n  ' + '\n  '.join(kept))


def _clear_the_way(run, folders, there, start, overwrite, goes_on):
    """Refuse to write over checkpoints, or put their run away."""
    folder = folders[0]
    of_this_run = start and any(c.path.samefile(start.path) for c in there)
    in_the_way = [c for c in there if not of_this_run or c.iter > start.iter]
    if not in_the_way:
        return
    if not overwrite:
        its_cfg = load_config(saved) if (saved := last_start(folder)) else run.cfg
        further = f', further than {start.path}' if of_this_run else ''
        raise ConfigError(f'{folder} holds a run up to {_position(in_the_way[0], its_cfg)}{further}: '
                          f'{"go on with it by --auto-resume, " if goes_on else ""}put its files away by --overwrite, '
                          'or give another --work-dir')
    run._replaced = [c.path for c in in_the_way] + ([] if of_this_run else _other_files(folder, run.timestamp))
    run._replaced += [link for f in folders if (link := f / 'latest.pth').is_symlink()]
    run.notes.append(f'{len(run._replaced)} files of the run in {folder} go to replaced_{run.timestamp} '
                     'in it when the start has succeeded')


def _name(path):
    """Name of the config that a file, perhaps one of a start, holds."""
    return (_START.fullmatch(path.name) or [None, path.stem])[1]


def last_start(folder):
    """The config of the last start that succeeded in a folder, None where there is none."""
    return max((path for path in folder.glob('*.py') if _START.fullmatch(path.name)), default=None)


def _settings(cfg):
    return {key: value for key, value in cfg.items() if key in TOP_LEVEL or key.startswith('_')}


def _changes(old, new, words='{}: {} -> {}'):
    found = differences(_settings(old), _settings(new))
    return [words.format(*change) for change in found if change[0] not in _OF_A_START]


def _other_files(folder, timestamp):
    """What a run leaves in its folder besides checkpoints; not the log of the start `timestamp`."""
    names = {match[1] + '.py' for match in (_START.fullmatch(path.name) for path in folder.iterdir()) if match}
    return [
        path for path in folder.iterdir()
        if path.name in (*names, 'tf_logs', PAGE, PICTURES) or path.match('nonfinite_iter_*.pth') or
        (_START.fullmatch(path.name) or _LOGS.fullmatch(path.name)) and not path.name.startswith(timestamp)
    ]


def _seed(start, asked, cfg):
    """The seed of a run that goes on; another one would bring some images twice in the epoch and others never."""
    of_run = start.meta.get('seed', cfg.get('seed'))
    if asked is not None and asked != of_run:
        raise ConfigError(
            f'the run of {start.path} has the seed {of_run}, and {asked} was asked for: leave it out to go '
            'on, or begin a new run in another --work-dir')
    return of_run


def _check_changes(start, changed):
    """Refuse changes that a run which goes on would not feel."""
    for change in changed:
        if 'init_cfg' in change.partition(':')[0].split('.'):
            raise ConfigError(
                f'{change}: the weights come from {start.path}, so this cannot change in the midst of a run; '
                'leave it out, or begin a new run in another --work-dir')


def _done(checkpoint, cfg):
    """What a run counts, how much of it is done, and of how much; epochs done include one whose hooks are due."""
    runner = cfg.get('runner') or {}
    if runner.get('max_epochs') is None:
        return 'iter', checkpoint.iter, runner.get('max_iters')
    length = checkpoint.meta.get('epoch_length', 0)
    full = length and checkpoint.meta.get('epoch_batches', 0) >= length
    return 'epoch', checkpoint.epoch + bool(full), runner['max_epochs']


def _position(checkpoint, cfg):
    unit, done, of = _done(checkpoint, cfg)
    return f'{checkpoint.path.name} (iteration {checkpoint.iter}, {done} of {of} {unit}s)'


def _finished(start, cfg):
    unit, done, of = _done(start, cfg)
    if not isinstance(of, int) or done < of:
        return None
    return (f'the run in {cfg.work_dir} is finished: {_position(start, cfg)}. A larger runner.max_{unit}s in '
            '--cfg-options trains on, another --work-dir begins a new run')

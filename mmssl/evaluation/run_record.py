# Copyright (c) mmssl contributors. All rights reserved.
"""What the folder of a run tells of it: logs, config, warnings, choices, evaluations. Imports nothing heavy."""
import datetime
import json
import os
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError, printable
from mmssl.utils.run_dir import LOCK
from mmssl.utils.training_log import TrainingLog

_STAMP = re.compile(r'\d{8}_\d{6}')
# a line of the log that begins a message; the lines after it belong to it
_MESSAGE = re.compile(r'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ - \S+ - (DEBUG|INFO|WARNING|ERROR|CRITICAL) - (.*)')
_QUIET = 600  # seconds without a word after which a run that nobody vouches for counts as stopped


@dataclass
class RunRecord:
    """What is known of a run.

    Attributes:
        folder (Path): Its work_dir.
        name (str): Of its config.
        state (str): 'running', 'finished' or 'stopped' (before its end).
        log (TrainingLog | None): Figures of the training; None before the first line.
        cfg (dict): Its config, {} where none can be read.
        unit (str): 'epoch' or 'iter', what the length of the training counts.
        done, total (int | None): How much of it is done, and of how much.
        iteration (int | None): Iterations done.
        seconds (float | None): Since its last start, or until its last word.
        seconds_left (float | None): Estimate; None where it does not run.
        warnings (list[tuple[str, str, int]]): Time of the first, text, and how often it was said.
        choices (list[dict]): `name`, `value`, `reason` and `fixed` of what was chosen for the data.
        suites (list[dict]): Tables of evaluation suites, see `_suites`.
        checkpoints (list[str]): Names of its checkpoint files.
    """
    folder: Path
    name: str
    state: str = 'running'
    log: object = None
    cfg: dict = field(default_factory=dict)
    unit: str = 'epoch'
    done: int = None
    total: int = None
    iteration: int = None
    seconds: float = None
    seconds_left: float = None
    warnings: list = field(default_factory=list)
    choices: list = field(default_factory=list)
    suites: list = field(default_factory=list)
    checkpoints: list = field(default_factory=list)


def check_run(folder):
    """See that a folder is that of a run.

    Raises:
        FileNotFoundError: There is no such folder, or neither a log nor a config in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'no such folder of a run: {folder}')
    if _config_file(folder) is None and next(folder.glob('*.log.json'), None) is None:
        raise FileNotFoundError(f'{folder} is no folder of a run: it holds neither a *.log.json nor a config')


def read_run(folder, cfg=None):
    """Read the folder of a run, under way, finished or of long ago.

    Args:
        folder (str | Path): Its work_dir.
        cfg (dict, optional): Its config; by default that in the folder.

    Returns:
        RunRecord: What is known.

    Raises:
        FileNotFoundError: There is no such folder, or neither a log nor a config in it.
    """
    folder = Path(folder)
    check_run(folder)
    config = _config_file(folder)
    record = RunRecord(folder, config.stem if config else folder.resolve().name)
    faults = []  # of files of long ago; what else is known is shown all the same
    if cfg is None and config is not None:
        try:
            cfg = load_config(config)
        except (ConfigError, OSError, ImportError) as error:
            faults.append(('', f'{config.name} cannot be read: {error}', 1))
    record.cfg = cfg or {}
    record.choices = list(record.cfg.get('choices') or ())
    try:
        record.log = TrainingLog(folder)
    except FileNotFoundError:
        pass
    except ConfigError as error:
        if 'holds no lines' not in str(error):
            faults.append(('', str(error), 1))
    logs = record.log.files if record.log else sorted(folder.glob('*.log'))[-1:]
    record.warnings = faults + _warnings(folder, [file.name for file in logs])
    record.suites = _suites(folder)
    record.checkpoints = sorted((path.name for path in folder.glob('*.pth') if not path.is_symlink()), key=_by_number)
    _find_position(record)
    return record


def _by_number(name):
    """Key of an order in which epoch_9 stands before epoch_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', name)]


def _config_file(folder):
    """The config of the last start; TIME_NAME.py has its copy NAME.py beside it, from long ago it may be alone.

    Then there is a log: a folder of programs is no run, and none of them is to be executed.
    """
    stamped = sorted(path for path in folder.glob('*.py') if _STAMP.match(path.name))
    plain = [folder / path.name[16:] for path in stamped[-1:] if (folder / path.name[16:]).is_file()]
    logged = next(folder.glob('*.log.json'), None) is not None
    others = sorted(path for path in folder.glob('*.py') if path not in stamped) if logged else []
    return (plain or others or stamped or [None])[-1]


def _find_position(record):
    """Set how far the run is, whether it still goes on, and how long it takes."""
    runner = record.cfg.get('runner') or {}
    record.unit = 'iter' if runner.get('max_iters') else 'epoch'
    record.total = runner.get(f'max_{record.unit}s')
    if record.log is None:
        record.done, record.state = 0, 'running' if seems_alive(record.folder) else 'stopped'
        return
    last = record.log.rows[-1]
    trained = [row for row in record.log.rows if row['mode'] == 'train']
    record.iteration = round(max(record.log.curve_position(row) for row in record.log.rows))
    length = record.log.epoch_length
    if record.unit == 'iter':
        record.done = record.iteration
    else:
        record.done = last['epoch'] if last['mode'] != 'train' or last['iter'] >= length else last['epoch'] - 1
    names = {f'{record.unit}_{record.total}.pth', f'{record.unit}_{record.total}.dcp'}
    finished = record.total is not None and (record.done >= record.total and len(trained) > 0
                                             and not _is_held(record.folder) or any(
                                                 (record.folder / name).exists() for name in names))
    record.state = 'finished' if finished else 'running' if seems_alive(record.folder) else 'stopped'
    end = time.time() if record.state == 'running' else record.log.files[-1].stat().st_mtime
    stamp = _STAMP.match(record.log.files[-1].name)
    if stamp:
        began = datetime.datetime.strptime(stamp[0], '%Y%m%d_%H%M%S').timestamp()
        record.seconds = max(0., end - began)
    if record.state == 'running' and record.total and trained and 'time' in trained[-1]:
        recent = [row['time'] for row in trained[-20:] if 'time' in row]
        iterations = record.total * (1 if record.unit == 'iter' else length)
        record.seconds_left = max(0., (iterations - record.iteration) * sum(recent) / len(recent))


def _holder(folder):
    """Process and host that the lock of a folder names, None where there is none."""
    try:
        words = (folder / LOCK).read_text(errors='replace')
    except OSError:
        return None
    found = re.match(r'process (\d+) on (\S+),', words)
    return (int(found[1]), found[2]) if found else None


def _is_held(folder):
    """Whether a process of this machine that wrote in the folder is still there."""
    holder = _holder(folder)
    if holder is None or holder[1] != socket.gethostname():
        return False
    try:
        os.kill(holder[0], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def seems_alive(folder):
    """Whether somebody trains: the process is known to be gone, or the logs tell by their age."""
    holder, lock = _holder(folder), folder / LOCK
    if holder is None and lock.is_file() and lock.stat().st_size == 0:  # see folders_let_go
        return False
    if holder is not None and holder[1] == socket.gethostname() and not _is_held(folder):
        return False
    ages = [time.time() - path.stat().st_mtime for path in (*folder.glob('*.log'), *folder.glob('*.log.json'))]
    return bool(ages) and min(ages) < _QUIET


def _warnings(folder, logs):
    """Warnings and errors in the text logs that belong to these JSON logs, the same words once."""
    first, count = {}, Counter()
    for name in logs:
        try:
            lines = (folder / name.removesuffix('.json')).read_text(encoding='utf-8', errors='replace').split('\n')
        except OSError:
            continue
        when, message, level = '', [], ''
        for line in [*lines, None]:
            found = line is not None and _MESSAGE.match(line)
            if found or line is None:
                if level in ('WARNING', 'ERROR', 'CRITICAL'):
                    text = '\n'.join(message).strip()[:1500]
                    first.setdefault(text, when)
                    count[text] += 1
                if found:
                    when, level, message = found[1], found[2], [found[3]]
            elif len(message) < 40:
                message.append(line)
    return [(when, text, count[text]) for text, when in first.items()][-30:]


def _suites(folder):
    """Reports of tools/benchmarks/run_suite.py in the folder: `title`, `file` (relative), `protocols` with figures.

    A protocol's figures are its metrics in each column, which are numbers by name.
    """
    found = []
    for path in sorted([*folder.glob('report.json'), *folder.glob('*/report.json')]):
        try:
            report = json.loads(path.read_text(encoding='utf-8'))
            table = (path.with_name('report.md')).read_text(encoding='utf-8')
        except (OSError, ValueError):
            continue
        if not isinstance(report, dict) or 'metrics' not in report:
            continue
        rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.split('\n')
                if line.startswith('| ')]  # yapf: disable
        page = path.with_name('report.html')
        found.append(
            dict(
                title=str(report.get('title', path.parent.name)),
                created=str(report.get('created', '')),
                headings=rows[0] if rows else [],
                rows=rows[1:],
                file=printable(page.relative_to(folder)) if page.is_file() else None))
    return found

# Copyright (c) mmssl contributors. All rights reserved.
"""Small things that the tools share: atomic files, digests, one-line errors, images. Imports nothing heavy."""
import contextlib
import errno
import hashlib
import json
import math
import os
import re
import select
import shutil
import signal
import sys
import warnings
from pathlib import Path

from mmssl import old_places

TEMPORARY = re.compile(r'\.\d+\.tmp$')  # the end of the names of files that atomic_write has not finished


@contextlib.contextmanager
def atomic_write(path, mode='w', size=None):
    """Open a file that appears under its name only when it is complete.

    The content goes to a temporary name in the same folder, is flushed to the disk and then renamed. After an error,
    or a crash at any moment, `path` is what it was before. A crash may leave `path`.PID.tmp; see TEMPORARY.

    Args:
        path (str | Path): The file. Its folder is made where there is none.
        mode (str): 'w' or 'wb'.
        size (int, optional): Bytes that it will take, for the message when the disk is full.

    Yields:
        file: Write into it.

    Raises:
        OSError: The disk is full; the message says how much space there is, and how much is needed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    with full_disk_told(path, size):
        try:
            # file names are bytes: those that are no UTF-8 come out as they were
            text = {} if 'b' in mode else dict(encoding='utf-8', errors='surrogateescape')
            with open(temporary, mode, **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_told(path, size=None):
    """Context in which the error of a full disk gets words.

    Args:
        path (Path): What is written.
        size (int, optional): Bytes that it takes.

    Raises:
        OSError: The disk is full; the message says how much space there is, and how much is needed.
    """
    try:
        yield
    except Exception as error:
        full = disk_full(error)
        if full is None:
            raise
        free, needs = shutil.disk_usage(path.parent).free / 1e6, f'{size / 1e6:.1f} MB' if size else 'more'
        message = (
            f'{path} could not be written: {os.strerror(full.errno).lower()} (it needs {needs}, {free:.1f} MB are '
            f'free in {path.parent}); what was there before is unchanged')
        raise OSError(full.errno, message) from error


def disk_full(error):
    """The error of a full disk behind an error, None where that is not the cause; torch's writer hides it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error
        error = error.__cause__ or error.__context__


def write_json(path, value, indent=2):
    """Write a value as JSON that every reader takes, whole or not at all.

    JSON has no NaN and no infinity: null stands there, and the list `not_finite` of a dict says where and which.

    Args:
        path (str | Path): The file.
        value (dict | list): Of plain values, and numbers and arrays of numpy; keys become strings.
        indent (int, optional): As of json.dump.
    """
    value, lost = json_ready(value)
    if lost and isinstance(value, dict):
        value['not_finite'] = lost
    with atomic_write(path) as file:
        json.dump(value, file, indent=indent, allow_nan=False)


def write_generated(path, text, tool, check=False):
    """Write a file that a tool makes from others, or see that it is what the tool would write.

    Args:
        path (Path): The file.
        text (str): What it is to hold.
        tool (str): Path of the tool, for the message.
        check (bool): Only compare.

    Raises:
        ConfigError: It is to be compared, and is absent or holds something else.
    """
    from .errors import ConfigError
    if not check:
        with atomic_write(path) as file:
            file.write(text)
    elif not path.is_file() or path.read_text(encoding='utf-8') != text:
        raise ConfigError(f'{path} is not current: run {tool}')


def json_ready(value):
    """A value as it will be read from JSON again, and a list that says where a number was not finite, and which."""
    lost = []

    def plain(value, place):
        if isinstance(value, dict):
            return {str(key): plain(entry, f'{place}.{key}' if place else str(key)) for key, entry in value.items()}
        if hasattr(value, 'tolist'):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [plain(entry, f'{place}[{i}]') for i, entry in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            lost.append(f'{place}: {value}')
            return None
        return value

    return plain(value, ''), lost


def atomic_symlink(target, link):
    """Make or replace the symbolic link `link` to `target` in one step; there is no moment without it."""
    link = Path(link)
    temporary = link.with_name(f'{link.name}.{os.getpid()}.tmp')
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    sync_folder(link.parent)


def sync_folder(folder):
    """A rename is safe from a power cut only when the folder is on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path):
    """SHA-256 of a file, or of the files in a folder by their names, as hexadecimal digits; None without a path."""
    if path is None:
        return None
    digest = hashlib.sha256()  # hashlib.file_digest came with Python 3.11
    path = Path(path)
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(part, 'rb') as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()


def existing_folder(path):
    """The folder of a file that is to be written, or the nearest one above it that is there.

    Args:
        path (str | Path): The file.

    Returns:
        tuple[Path, bool]: The folder, and whether something can be written into it.
    """
    folder = next(part for part in Path(path).absolute().parents if part.exists())
    return folder, folder.is_dir() and os.access(folder, os.W_OK)


def ask_for_part(path, offset=0, size=0):
    """Have the system fetch a part of a file, without waiting for it.

    Args:
        path (str | Path): The file.
        offset (int): Where the part begins.
        size (int): Its bytes; 0: up to the end of the file.
    """
    if hasattr(os, 'posix_fadvise'):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def table_lines(rows, headings, left=1):
    """Lines of a table of words and numbers under headings, columns aligned.

    Args:
        rows (Sequence[Sequence[str | float]]): Floats are printed with two decimals.
        headings (Sequence[str]): One a column.
        left (int): So many columns begin at the left, the others end at the right.

    Returns:
        list[str]: The headings, then the rows.
    """
    words = [[f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *words)]
    return [
        '  '.join(
            word.ljust(width) if i < left else word.rjust(width) for i, (word, width) in enumerate(zip(row, widths)))
        for row in (headings, *words)
    ]


def fast_bfloat16(device='cpu'):
    """Whether a device has instructions for bfloat16; on others it is emulated and slower than float32."""
    import torch
    device = torch.device(device)
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # not in every release of torch: then bool() stands in, which is False
    return any(getattr(torch.cpu, name, bool)() for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported'))


def _format_warning(message, category, filename, lineno, line=None, others=warnings.formatwarning):
    """Warnings of this package in one line, without the place in its code; of several processes one says them."""
    from .launch import find_launcher
    if category is UserWarning and Path(filename).resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        return '' if find_launcher()[1] else f'warning: {message}\n'
    return others(message, category, filename, lineno, line)


def run_tool(main, distributed=False):
    """Run a tool's main function; what the user can mend is told in one line instead of a traceback.

    MMSSL_DEBUG=1 in the environment brings the traceback back. An interrupted tool ends with the status of
    launch.STOP_SIGNALS: 130 (Ctrl-C), 143 (SIGTERM), 75 (SIGUSR1: go on later); one whose reader has gone (`| head`)
    with 141.

    Args:
        main (callable): Without arguments.
        distributed (bool): Whether it joins a group of processes, by init_dist; else it refuses to be one of several.
    """
    from .errors import BrokenImageError, ConfigError
    from .launch import (STOP_SIGNALS, find_launcher, leave_in_a_hurry, raise_at_signals, refuse_many, stop_status,
                         tell_once)
    raise_at_signals()
    debug = os.environ.get('MMSSL_DEBUG', '0') != '0'
    if not debug:
        warnings.formatwarning = _format_warning
    try:
        try:
            if not distributed:
                refuse_many()
            main()
            if 'torch.distributed' in sys.modules:
                from .dist import leave_together
                leave_together()
        finally:
            if sys.stdout is not None:  # a shell may close it
                sys.stdout.flush()
    except (BrokenImageError, ConfigError, OSError, FloatingPointError) as error:  # the last: a loss that is no number
        if isinstance(error, BrokenPipeError) and _reader_gone():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        if debug:
            raise
        message = str(error)
        if isinstance(error, OSError) and error.strerror:  # without the number
            message = ': '.join(str(part) for part in (error.filename, error.strerror) if part)
        if 'Original Traceback' in message:  # of a worker process of a loader: the error proper is the last line
            message = message.strip().splitlines()[-1].partition('Error: ')[2]
        _end_watch()
        tell_once(f'error: {message}')
        sys.exit(1)
    except KeyboardInterrupt as stop:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _end_watch()
        if find_launcher()[1] == 0:
            tell_once(' '.join(['interrupted', *map(str, stop.args)]), first=True)
        leave_in_a_hurry(stop_status(stop))
    except RuntimeError as error:
        from .watchdog import explain_loss
        words = None if debug or find_launcher()[2] == 1 else explain_loss(error)
        _end_watch()
        if words is None:
            raise
        tell_once(f'error: {words}')
        os._exit(1)  # the threads of a torn connection may wait on


def _end_watch():
    """Tell the other processes of a training, where there are any, that this one ends with its own words."""
    if 'mmssl.utils.watchdog' in sys.modules:
        sys.modules['mmssl.utils.watchdog'].say_goodbye()


def _reader_gone():
    """Whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def tensor2imgs(tensor, mean=(0, 0, 0), std=(1, 1, 1), to_rgb=True):
    """Turn normalised images back into uint8 arrays.

    Args:
        tensor (Tensor): N x 3 x H x W.
        mean (Sequence[float]): What was subtracted from each channel, on the scale 0 to 255.
        std (Sequence[float]): What each channel was divided by, on the same scale.
        to_rgb (bool): Whether the images are RGB; the arrays are BGR then, as OpenCV writes them.

    Returns:
        list[ndarray]: N images, H x W x 3, uint8.
    """
    import torch
    images = tensor.detach().cpu().float().permute(0, 2, 3, 1)
    images = (images * torch.tensor(std) + torch.tensor(mean)).round().clamp(0, 255).to(torch.uint8).numpy()
    return [image[..., ::-1].copy() if to_rgb else image.copy() for image in images]


def __getattr__(name):
    return old_places.lookup(__name__, name)

# Copyright (c) mmssl contributors. All rights reserved.
"""Whether the files that a list names are there, before hours of training have met the first that is not."""
import os
import os.path as osp
import time
from concurrent.futures import ThreadPoolExecutor

from mmssl.utils.dist import broadcast_object, get_rank
from mmssl.utils.errors import ConfigError, describe, printable
from mmssl.utils.logger import get_root_logger
from .dataset_wrappers import distinct, leaves, locate
from .loader import too_many_broken, write_broken

HOW = ('sample', 'all', False)
_SAMPLE = 300  # files that are looked at without being asked to
_THREADS = 16  # of which each waits for the disk
_CHUNK = 1000  # files that a thread looks for in one go
_SECONDS = 10  # between two words on how far it is


def _lists_files(dataset):
    """Whether a data set, or a part of it, has files on the disk that a list names."""
    return any(
        getattr(source, 'lists_files', False) for leaf in leaves(dataset)
        for source in getattr(leaf, 'data_sources', ()))


def _reason_of_absence(source, name):
    """What is wrong with the place of a file; '' where it is there."""
    if source.zip_folder is not None:
        return '' if source.has_file(name) else 'neither in the archive nor on disk'
    try:
        os.stat(name)  # tells of links to nowhere, and of folders that may not be looked into
    except (OSError, ValueError) as error:
        return getattr(error, 'strerror', None) or str(error)
    return ''


def _absent(dataset, indices):
    """(index, name, reason) of each file that cannot be found."""
    found = []
    for idx in indices:
        leaf, place = locate(dataset, idx)
        for source in getattr(leaf, 'data_sources', ()):
            if getattr(source, 'lists_files', False):
                name = source.get_filename(place)
                reason = _reason_of_absence(source, name)
                if reason:
                    found.append((idx, name, reason))
    return found


def find_absent(dataset, how='sample', progress=None):
    """Look for the files of those sources that a list names.

    Args:
        dataset (Dataset): Any data set.
        how (str): 'all', or 'sample' for 300 of them, evenly over the list.
        progress (callable, optional): Called now and then with the numbers of files looked for, and of those absent.

    Returns:
        tuple[list[tuple[int, str, str]], int]: Index, name and reason of each that is absent, and how many samples
            were looked at: 0 where no list names files on a disk.
    """
    dataset = distinct(dataset)
    if not len(dataset) or not _lists_files(dataset):
        return [], 0
    if how == 'sample':
        count = min(_SAMPLE, len(dataset))
        return _absent(dataset, (i * len(dataset) // count for i in range(count))), count
    absent, told = [], time.monotonic()
    chunks = range(0, len(dataset), _CHUNK)
    with ThreadPoolExecutor(_THREADS) as pool:
        for begin in range(0, len(chunks), 1000):  # all at once would be a task for each chunk in memory
            part = chunks[begin:begin + 1000]
            looks = pool.map(lambda at: _absent(dataset, range(at, min(at + _CHUNK, len(dataset)))), part)
            for at, found in zip(part, looks):
                absent += found
                if progress is not None and time.monotonic() - told > _SECONDS:
                    told = time.monotonic()
                    progress(min(at + _CHUNK, len(dataset)), len(absent))
    return absent, len(dataset)


def check_files(dataset, how='sample', broken_images=None, testing=False, work_dir=None):
    """See that the files of a data set are there, as `data.check_files` asks for; on one process for all.

    Args:
        dataset (Dataset): The data set.
        how (str | bool): 'sample' looks for 300 files. Where so many are absent that the training would end with too
            many broken images, that is an error now, else a warning. 'all' looks for all of them, and one that is
            absent is an error. False: nothing is looked for.
        broken_images (dict, optional): `policy` and `max_share`; see EpochLoader. With the policy 'stop' one absent
            file is an error.
        testing (bool): The data are evaluated: absent files of a sample are a warning, since broken images are left
            out.
        work_dir (str, optional): Folder for the list of absent files, absent_train.json or absent_test.json.

    Raises:
        ConfigError: `how` is something else, or files are absent.
    """
    if how not in HOW:
        raise ConfigError(f"data.check_files is 'sample', 'all' or False, got {how!r}")
    if not how:
        return
    error = warning = None
    if get_rank() == 0:
        try:
            error, warning = _verdict(dataset, how, broken_images or {}, testing, work_dir)
        except Exception as failure:  # the other processes wait for the verdict
            error = f'data.check_files={how!r} fails: {describe(failure)}'
    error, warning = broadcast_object((error, warning), patient=how == 'all')
    if error:
        raise ConfigError(error)
    if warning:
        get_root_logger().warning(warning)


def _verdict(dataset, how, broken_images, testing, work_dir):
    logger = get_root_logger()
    start = time.monotonic()
    absent, looked = find_absent(
        dataset, how, lambda done, missing: logger.info(f'looked for {done} of {len(distinct(dataset))} listed files, '
                                                        f'{missing} are absent'))
    if not looked:
        return None, None
    path = work_dir and osp.join(work_dir, f'absent_{"test" if testing else "train"}.json')
    if path:
        write_broken(path, absent)
    if not absent:
        if how == 'all':
            logger.info(f'all {looked} listed files are there, looked for in {time.monotonic() - start:.1f} s')
        return None, None
    names = ', '.join(f'{printable(name)} ({reason})' for _, name, reason in absent[:3])
    words = f'{len(absent)} of the {looked} listed files that were looked for are absent: {names}'
    words += ', ...' * (len(absent) > 3) + (f'; the list is {path}' if path else '')
    if how == 'all':
        return f"{words}. With data.check_files='sample' a few absent files count as broken images", None
    if broken_images.get('policy') == 'stop' or not testing and too_many_broken(
            len(absent), looked, broken_images.get('max_share', 0.01), first_pass=True):
        return f"{words}. data.check_files='all' looks for every file", None
    return None, f"{words}; {'they are left out' if testing else 'others stand in for them'}. " \
        "data.check_files='all' looks for every file, and False for none"

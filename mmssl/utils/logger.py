# Copyright (c) mmssl contributors. All rights reserved.
import contextlib
import logging
from pathlib import Path

from mmcv.utils import get_logger

from .dist import get_rank


def get_root_logger(log_file=None, log_level=logging.INFO):
    """The logger of this package: to the terminal, and on rank 0 to a file.

    Args:
        log_file (str, optional): Path of the log file.
        log_level (int | str): Such as logging.INFO or 'INFO'. With a log file it is taken each time, since a training
            begins; else the first time only.

    Returns:
        logging.Logger: The logger 'mmssl'.
    """
    logger = get_logger('mmssl', log_file, log_level)
    if log_file is not None:
        logger.setLevel(logging.ERROR if get_rank() else log_level)
        _write_to(logger, log_file)
    for handler in _files(logger):
        handler.handleError = _leave_out
    return logger


@contextlib.contextmanager
def quiet_logs(level, names=('mmcv', 'mmssl')):
    """Context in which loggers tell only what is of a level; afterwards they have the levels that they had.

    Args:
        level (int): Such as logging.WARNING.
        names (Sequence[str]): Of the loggers.
    """
    loggers = [get_logger(name) for name in names]  # one that is new gets its level here, and not in the context
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(level)
        yield
    finally:
        for logger, own in zip(loggers, levels):
            logger.setLevel(own)


def close_log_file():
    """Write no more to the file of the training that is over."""
    logger = logging.getLogger('mmssl')
    for handler in _files(logger):
        logger.removeHandler(handler)
        handler.close()


def _files(logger):
    return [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]


def _write_to(logger, log_file):
    """Of several trainings in one process each has its own file; mmcv knows that of the first call alone."""
    path = Path(log_file).absolute()
    if get_rank() or any(Path(handler.baseFilename) == path for handler in _files(logger)):
        return
    close_log_file()
    new = logging.FileHandler(path, 'w')
    new.setFormatter(logger.handlers[0].formatter)
    new.setLevel(logger.level)  # that of the terminal may be another one
    logger.addHandler(new)


def _leave_out(record):
    """A line that cannot be written, as on a full disk: the terminal has it, and logging would add a traceback."""

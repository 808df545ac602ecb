# Copyright (c) mmssl contributors. All rights reserved.
import logging

from mmcv.utils import get_logger


def get_root_logger(log_file=None, log_level=logging.INFO):
    """The logger of this package: to the terminal, and on rank 0 to a file.

    Args:
        log_file (str, optional): Path of the log file.
        log_level (int | str): Such as logging.INFO or 'INFO'.

    Returns:
        logging.Logger: The logger 'mmssl'.
    """
    logger = get_logger('mmssl', log_file, log_level)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _leave_out
    return logger


def _leave_out(record):
    """A line that cannot be written, as on a full disk: the terminal has it, and logging would add a traceback."""

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
    return get_logger('mmssl', log_file, log_level)

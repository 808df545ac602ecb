"""Levels of the loggers in a process that lives on, as that of a notebook does."""
import logging

import pytest
from mmcv.utils import get_logger

from mmssl.utils.logger import close_log_file, get_root_logger, quiet_logs


def test_a_logger_that_is_first_used_in_a_quiet_context_tells_all_after_it():
    """What it had before it was set up is no level: only warnings would be told from then on."""
    with pytest.raises(KeyError), quiet_logs(logging.ERROR, ['first used here']):
        assert get_logger('first used here').level == logging.ERROR
        raise KeyError
    logger = logging.getLogger('first used here')
    assert logger.level == logging.INFO
    logger.setLevel(logging.WARNING)
    with quiet_logs(logging.ERROR, ['first used here']):
        pass
    assert logger.level == logging.WARNING


def test_each_training_has_its_own_level(tmp_path):
    """That of the second one was left aside, as mmcv sets a logger up once."""
    before = get_root_logger().level
    for number, (level, told) in enumerate((('ERROR', []), ('INFO', ['some', 'words']), ('WARNING', ['words']))):
        logger = get_root_logger(str(tmp_path / f'{number}.log'), level)
        logger.info('some')
        logger.warning('words')
        assert get_root_logger() is logger and logger.level == getattr(logging, level)
        close_log_file()
        lines = (tmp_path / f'{number}.log').read_text().splitlines()
        assert [line.rpartition(' - ')[2] for line in lines] == told
    logger.setLevel(before)

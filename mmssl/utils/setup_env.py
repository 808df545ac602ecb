# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of the process that a config carries."""
import contextlib

from mmssl.utils.errors import check_integer


def setup_multi_processes(cfg):
    """Set how worker processes start and how many threads OpenCV and torch use.

    Args:
        cfg (mmcv.Config): `mp_start_method` ('fork' by default, 'spawn' or 'forkserver') and `opencv_num_threads`
            (0 by default: OpenCV works in the thread that calls it, as each worker has a core of its own), and
            `torch_num_threads`, with which torch computes on a CPU (default: what torch takes, see OMP_NUM_THREADS).

    Raises:
        ConfigError: `torch_num_threads` is no whole number from 1 on.
    """
    import cv2
    import torch.multiprocessing as mp
    mp.set_start_method(cfg.get('mp_start_method', 'fork'), force=True)
    cv2.setNumThreads(cfg.get('opencv_num_threads', 0))
    _set_torch_threads(cfg)


@contextlib.contextmanager
def torch_threads_of(cfg):
    """Compute with the threads of a config, and with as many as before afterwards.

    Args:
        cfg (mmcv.Config): See setup_multi_processes.
    """
    import torch
    before = torch.get_num_threads()
    _set_torch_threads(cfg)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _set_torch_threads(cfg):
    import torch
    number = cfg.get('torch_num_threads')
    if number is not None:
        check_integer(number, 'torch_num_threads', 1)
        torch.set_num_threads(number)

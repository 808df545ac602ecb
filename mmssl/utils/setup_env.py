# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of the process that a config carries."""


def setup_multi_processes(cfg):
    """Set how worker processes start and how many threads OpenCV uses.

    Args:
        cfg (mmcv.Config): `mp_start_method` ('fork' by default, 'spawn' or 'forkserver') and `opencv_num_threads`
            (0 by default: OpenCV works in the thread that calls it, as each worker has a core of its own).
    """
    import cv2
    import torch.multiprocessing as mp
    mp.set_start_method(cfg.get('mp_start_method', 'fork'), force=True)
    cv2.setNumThreads(cfg.get('opencv_num_threads', 0))

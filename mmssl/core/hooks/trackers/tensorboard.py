# Copyright (c) mmssl contributors. All rights reserved.
import json
import os

from ...builder import HOOKS
from .base import TrackerHook


@HOOKS.register_module()
class TensorboardLoggerHook(TrackerHook):
    """Write event files for TensorBoard.

    Args:
        log_dir (str | None): Their folder, by default tf_logs in the work_dir.
        flush_secs (int): Seconds until what was logged is in the file.
        kwargs: Of TrackerHook.
    """
    module = 'tensorboard'

    def __init__(self, log_dir=None, flush_secs=120, **kwargs):
        super().__init__(**kwargs)
        self.log_dir = log_dir
        self.flush_secs = flush_secs

    def start(self, runner, config):
        from torch.utils.tensorboard import SummaryWriter
        self.log_dir = self.log_dir or os.path.join(runner.work_dir, 'tf_logs')
        # what an interrupted training has written after the checkpoint that this one goes on from is left out
        purge = runner.iter + 1 if runner.iter else None
        self.writer = SummaryWriter(self.log_dir, purge_step=purge, flush_secs=self.flush_secs)
        self.writer.add_text('config', f'```json\n{json.dumps(config, indent=2)}\n```', runner.iter)

    def write(self, values, step):
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def write_histogram(self, name, histogram, step):
        """See HistogramHook."""
        self.writer.add_histogram_raw(
            name,
            min=histogram.low,
            max=histogram.high,
            num=histogram.total,
            sum=histogram.sum,
            sum_squares=histogram.sum_squares,
            bucket_limits=histogram.edges[1:],
            bucket_counts=histogram.counts,
            global_step=step)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self.writer.add_image(name, image, step, dataformats='HWC')

    def finish(self, status):
        self.writer.close()

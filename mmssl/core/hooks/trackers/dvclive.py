# Copyright (c) mmssl contributors. All rights reserved.
import os

from ...builder import HOOKS
from .base import TrackerHook


@HOOKS.register_module()
class DvcliveLoggerHook(TrackerHook):
    """Log to DVCLive, which writes files and needs no network.

    Args:
        init_kwargs (dict | None): Of dvclive.Live, such as dir, report or save_dvc_exp. By default the files are in
            dvclive in the work_dir, and no DVC experiment is saved.
        kwargs: Of TrackerHook.
    """
    module = 'dvclive'

    def __init__(self, init_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self.init_kwargs = init_kwargs or {}

    def start(self, runner, config):
        from dvclive import Live
        options = dict(dir=os.path.join(runner.work_dir, 'dvclive'), save_dvc_exp=False, dvcyaml=False)
        self._live = Live(**{**options, 'resume': runner.iter > 0, **self.init_kwargs})
        self._live.log_params(dict(config, work_dir=runner.work_dir))

    def write(self, values, step):
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.make_summary()

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self._live.step = step
        self._live.log_image(f'{name}.png', image)

    def finish(self, status):
        self._live.end()

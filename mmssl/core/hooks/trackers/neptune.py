# Copyright (c) mmssl contributors. All rights reserved.
import uuid

from ...builder import HOOKS
from .base import TrackerHook, run_name


@HOOKS.register_module()
class NeptuneLoggerHook(TrackerHook):
    """Log to Neptune, by the library `neptune` from 1.0 on.

    Args:
        init_kwargs (dict | None): Of neptune.init_run, such as project, name, tags or mode; the token is better kept
            in NEPTUNE_API_TOKEN.
        with_step (bool): Whether values are logged with their iteration.
        kwargs: Of TrackerHook.
    """
    module = 'neptune'
    offline = "init_kwargs=dict(mode='offline') or NEPTUNE_MODE=offline, and `neptune sync` later"

    def __init__(self, init_kwargs=None, with_step=True, **kwargs):
        super().__init__(**kwargs)
        self.init_kwargs = init_kwargs or {}
        self.with_step = with_step

    def start(self, runner, config):
        import neptune
        from neptune.utils import stringify_unsupported
        self._neptune = neptune
        self.run_id = self.run_id or str(uuid.uuid4())  # an id of our own, which works without a server too
        self._run = neptune.init_run(**{'custom_run_id': self.run_id, 'name': run_name(runner), **self.init_kwargs})
        self._run['config'] = stringify_unsupported(config)
        self._run['work_dir'] = runner.work_dir

    def write(self, values, step):
        for name, value in values.items():
            self._run[name].append(value, **(dict(step=step) if self.with_step else {}))

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self._run[name].append(self._neptune.types.File.as_image(image / 255.), step=step)

    def finish(self, status):
        self._run['status'] = status
        self._run.stop()

# Copyright (c) mmssl contributors. All rights reserved.
from ...builder import HOOKS
from .base import TrackerHook, run_name


@HOOKS.register_module()
class AimLoggerHook(TrackerHook):
    """Log to Aim, which keeps its data in a folder and needs no network.

    Args:
        init_kwargs (dict | None): Of aim.Run, such as repo (a folder or the address of a server) or experiment. By
            default the repository is that of the current folder, and the experiment has the name of the work_dir.
        kwargs: Of TrackerHook.
    """
    module = 'aim'

    def __init__(self, init_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self.init_kwargs = init_kwargs or {}

    def start(self, runner, config):
        import aim
        self._aim = aim
        same = dict(run_hash=self.run_id, force_resume=True) if self.run_id else dict(experiment=run_name(runner))
        self._run = aim.Run(**{'capture_terminal_logs': False, **same, **self.init_kwargs})
        self.run_id = self._run.hash
        self._run['config'] = config
        self._run['work_dir'] = runner.work_dir

    def write(self, values, step):
        for name, value in values.items():
            subset, _, single = name.partition('/')
            context = dict(subset=subset) if single in name and subset in ('train', 'val') else {}
            self._run.track(value, name=single if context else name, step=step, context=context)

    def write_histogram(self, name, histogram, step):
        """See HistogramHook."""
        hist = self._aim.Distribution(hist=histogram.counts, bin_range=(histogram.low, histogram.high))
        self._run.track(hist, name=name, step=step)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        from PIL import Image
        self._run.track(self._aim.Image(Image.fromarray(image)), name=name, step=step)

    def finish(self, status):
        self._run['status'] = status
        if status == 'finished':
            self._run.report_successful_finish(block=False)
        self._run.close()

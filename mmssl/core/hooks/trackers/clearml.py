# Copyright (c) mmssl contributors. All rights reserved.
from ...builder import HOOKS
from .base import TrackerHook, run_name


@HOOKS.register_module()
class ClearMLLoggerHook(TrackerHook):
    """Log to ClearML.

    Args:
        init_kwargs (dict | None): Of clearml.Task.init, such as project_name, task_name or output_uri. By default the
            project is 'mmssl', the task has the name of the work_dir, and a new task is made.
        kwargs: Of TrackerHook.
    """
    module = 'clearml'
    offline = 'CLEARML_OFFLINE_MODE=1, and clearml.Task.import_offline_session(FILE.zip) later'

    def __init__(self, init_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self.init_kwargs = init_kwargs or {}

    def start(self, runner, config):
        from clearml import Task
        same = dict(continue_last_task=self.run_id) if self.run_id else dict(reuse_last_task_id=False)
        options = dict(project_name='mmssl', task_name=run_name(runner), auto_connect_frameworks=False, **same)
        self._task = Task.init(**{**options, **self.init_kwargs})
        self.run_id = self._task.id
        self._task.connect_configuration(config, name='config')
        self._logger = self._task.get_logger()

    def write(self, values, step):
        for name, value in values.items():
            title, _, series = name.partition('/')
            self._logger.report_scalar(title, series or title, value, step)

    def write_histogram(self, name, histogram, step):
        """See HistogramHook."""
        title, _, series = name.partition('/')
        labels = [f'{edge:.3g}' for edge in histogram.edges[1:]]
        self._logger.report_histogram(title, series, histogram.counts, step, xlabels=labels)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self._logger.report_image(name, name, step, image=image)

    def finish(self, status):
        if status == 'failed':
            self._task.mark_failed(status_reason='the training ended with an error')
        self._task.close()

# Copyright (c) mmssl contributors. All rights reserved.
from ...builder import HOOKS
from .base import TrackerHook, flat, run_name


@HOOKS.register_module()
class CometLoggerHook(TrackerHook):
    """Log to Comet.

    Args:
        init_kwargs (dict | None): Of comet_ml.start, such as project_name, workspace or online; the key is better kept
            in COMET_API_KEY.
        kwargs: Of TrackerHook.
    """
    module = 'comet_ml'
    offline = 'init_kwargs=dict(online=False), and `comet upload` later'

    def __init__(self, init_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self.init_kwargs = init_kwargs or {}

    def start(self, runner, config):
        import comet_ml
        settings = comet_ml.ExperimentConfig(
            name=run_name(runner),
            offline_directory=runner.work_dir,
            display_summary_level=0,
            parse_args=False,
            auto_param_logging=False,
            auto_metric_logging=False)
        options = dict(experiment_key=self.run_id, experiment_config=settings)
        self._experiment = comet_ml.start(**{**options, **self.init_kwargs})
        self.run_id = self._experiment.get_key()
        self._experiment.log_parameters(flat(config))
        self._experiment.log_other('work_dir', runner.work_dir)

    def write(self, values, step):
        self._experiment.log_metrics(values, step=step)

    def write_histogram(self, name, histogram, step):
        """See HistogramHook."""
        self._experiment.log_histogram_3d(histogram.samples(), name=name, step=step)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self._experiment.log_image(image, name=name, step=step)

    def finish(self, status):
        self._experiment.log_other('status', status)
        self._experiment.end()

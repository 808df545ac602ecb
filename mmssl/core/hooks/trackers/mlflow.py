# Copyright (c) mmssl contributors. All rights reserved.
from mmssl.utils.checkpoint import unwrap
from ...builder import HOOKS
from .base import TrackerHook, flat, run_name

_STATUS = dict(finished='FINISHED', stopped='KILLED', failed='FAILED')
# a server takes no more in one request, and no longer texts
_PARAMS, _LENGTH = 100, 500


@HOOKS.register_module()
class MlflowLoggerHook(TrackerHook):
    """Log to MLflow.

    Args:
        exp_name (str | None): Experiment, made where it is not there; by default MLflow's own choice.
        tags (dict | None): Of the run.
        params (dict | None): Of the run, besides the settings of the config.
        log_model (bool): Whether the trained model goes there at the end, pickled; the checkpoints are in the work_dir
            in any case. mmcv's hook does so by default.
        kwargs: Of TrackerHook.
    """
    module = 'mlflow'
    offline = 'MLFLOW_TRACKING_URI=sqlite:////FOLDER/mlflow.db, which is what it does by default in the current folder'

    def __init__(self, exp_name=None, tags=None, params=None, log_model=False, **kwargs):
        super().__init__(**kwargs)
        self.exp_name = exp_name
        self.tags = tags
        self.params = params or {}
        self.log_model = log_model

    def start(self, runner, config):
        import mlflow
        self._mlflow, self._model = mlflow, unwrap(runner.model)
        if self.exp_name is not None:
            mlflow.set_experiment(self.exp_name)
        goes_on = self.run_id is not None
        run = mlflow.start_run(run_id=self.run_id) if goes_on else mlflow.start_run(run_name=run_name(runner))
        self.run_id = run.info.run_id
        mlflow.set_tags({'work_dir': runner.work_dir, **(self.tags or {})})
        mlflow.log_dict(config, 'config.json')
        params = list({**flat(config), **self.params}.items())
        for first in range(0, 0 if goes_on else len(params), _PARAMS):  # those of a run cannot be changed
            part = params[first:first + _PARAMS]
            mlflow.log_params({name: str(value)[:_LENGTH] for name, value in part})

    def write(self, values, step):
        self._mlflow.log_metrics(values, step=step)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self._mlflow.log_image(image, artifact_file=f'{name}_{step}.png')

    def finish(self, status):
        if self.log_model and status == 'finished':
            import torch
            self._mlflow.pytorch.log_model(self._model, 'models', pip_requirements=[f'torch=={torch.__version__}'])
        self._mlflow.end_run(_STATUS[status])

# Copyright (c) mmssl contributors. All rights reserved.
import os
from pathlib import Path

from mmssl.utils.errors import ConfigError
from ...builder import HOOKS
from .base import TrackerHook, run_name

_SUMMARIES = ('min', 'max', 'mean', 'best', 'last', 'none')


@HOOKS.register_module()
class WandbLoggerHook(TrackerHook):
    """Log to Weights & Biases.

    Args:
        init_kwargs (dict | None): Of wandb.init, such as project, entity, name, tags or mode. By default the name is
            that of the work_dir, where its files are too.
        commit (bool): With False, which needs with_step=False, values wait for a call of wandb.log elsewhere.
        with_step (bool): Whether wandb's own step counts iterations; with False each line has a `global_step` instead,
            for a training that also logs elsewhere.
        log_artifact (bool): Whether logs and configs of the work_dir go there at the end, as an artifact.
        out_suffix (str | Sequence[str]): Ends of the names of these files.
        define_metric_cfg (dict[str, str] | None): The summary of a name: 'min', 'max', 'mean', 'best', 'last' or
            'none', such as {'val/knn_top1': 'max'}.
        kwargs: Of TrackerHook.
    """
    module = 'wandb'
    offline = "init_kwargs=dict(mode='offline') or WANDB_MODE=offline, and `wandb sync` later"

    def __init__(self,
                 init_kwargs=None,
                 commit=True,
                 with_step=True,
                 log_artifact=True,
                 out_suffix=('.log.json', '.log', '.py'),
                 define_metric_cfg=None,
                 **kwargs):
        super().__init__(**kwargs)
        for metric, summary in (define_metric_cfg or {}).items():
            if summary not in _SUMMARIES:
                raise ConfigError(f'define_metric_cfg: the summary of {metric} is one of {_SUMMARIES}, got {summary!r}')
        if with_step and not commit:
            raise ConfigError('commit=False needs with_step=False: a step is committed when the next one begins')
        self.init_kwargs = init_kwargs or {}
        self.commit = commit
        self.with_step = with_step
        self.log_artifact = log_artifact
        self.out_suffix = (out_suffix, ) if isinstance(out_suffix, str) else tuple(out_suffix)
        self.define_metric_cfg = define_metric_cfg or {}

    def start(self, runner, config):
        import wandb
        self._wandb, self._folder = wandb, runner.work_dir
        os.makedirs(runner.work_dir, exist_ok=True)
        same = dict(id=self.run_id, resume='allow') if self.run_id else {}
        options = dict(name=run_name(runner), dir=runner.work_dir, config=config, **same)
        self._run = wandb.init(**{**options, **self.init_kwargs})
        self.run_id = self._run.id
        for metric, summary in self.define_metric_cfg.items():
            self._run.define_metric(metric, summary=summary)

    def write(self, values, step):
        if self.with_step:  # lines of one step are one, so that an evaluation stands beside the losses
            self._run.log(values, step=step)
        else:
            self._run.log(dict(values, global_step=step), commit=self.commit)

    def write_histogram(self, name, histogram, step):
        """See HistogramHook."""
        self.write({name: self._wandb.Histogram(np_histogram=(histogram.counts, histogram.edges))}, step)

    def write_image(self, name, image, step):
        """See ViewsHook."""
        self.write({name: self._wandb.Image(image)}, step)

    def finish(self, status):
        if self.log_artifact and status == 'finished':
            artifact = self._wandb.Artifact(name='artifacts', type='model')
            for path in sorted(Path(self._folder).iterdir()):
                if path.is_file() and path.name.endswith(self.out_suffix):
                    artifact.add_file(str(path))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=0 if status == 'finished' else 1)

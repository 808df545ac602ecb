# Copyright (c) mmssl contributors. All rights reserved.
"""Runs side by side: settings that differ, figures and curves."""
from dataclasses import dataclass
from pathlib import Path

from mmssl.utils.config import load_config
from mmssl.utils.config_text import differences
from mmssl.utils.errors import ConfigError
from mmssl.utils.training_log import TrainingLog
from .run_dir import last_start

# settings of a folder or a start, and why others are what they are
_LEFT_OUT = ('work_dir', 'resume_from', 'config_version', 'choices')
# what each figure is read from, and whether its last or its highest value counts
_FIGURES = (
    ('kNN, last', 'knn_top1', False),
    ('kNN, best', 'knn_top1', True),
    ('RankMe, last', 'quality_rankme', False),
    ('cluster learnability, last', 'quality_cluster_learnability', False),
    ('loss, last', 'loss', False),
)
CURVES = ('loss', 'knn_top1', 'quality_rankme')


@dataclass
class Comparison:
    """Runs side by side.

    Attributes:
        names (list[str]): Of the runs.
        settings (dict[str, list[str]]): By dotted key of the config, the text of each run's value, where they differ.
        figures (dict[str, list]): By name, each run's figure; None where a run has none.
        logs (list[TrainingLog]): Of the runs.
    """
    names: list
    settings: dict
    figures: dict
    logs: list

    def plot(self, out, keys=None):
        """Draw the curves of all runs, a panel for each key.

        Args:
            out (str | Path): .png, .pdf or .svg.
            keys (Sequence[str], optional): Of the logs. Default: those of CURVES that there are.

        Raises:
            ConfigError: No run has such a key, or the file has another end.
        """
        from mmssl.evaluation.plots import plot_curves
        if Path(out).suffix not in ('.png', '.pdf', '.svg'):
            raise ConfigError(f'--out must end with .png, .pdf or .svg, got {out}')
        panels = {
            key: [(name, *log.curve(key)) for name, log in zip(self.names, self.logs) if keys or key in log.keys()]
            for key in keys or CURVES
        }
        plot_curves({key: curves for key, curves in panels.items() if curves}, Path(out), 'Runs', 'epoch')


def compare(runs):
    """Put runs side by side.

    Args:
        runs (Sequence[str | Path]): Folders of runs, or logs TIME.log.json, whose settings stay unknown.

    Returns:
        Comparison: What differs and what came of each.

    Raises:
        FileNotFoundError: There is no such run, or no log in it.
        ConfigError: Less than two are given, or one holds no training.
    """
    if len(runs) < 2:
        raise ConfigError(f'a comparison takes two runs or more, got {len(runs)}')
    for run in runs:
        if not Path(run).exists():
            raise FileNotFoundError(f'no such run: {run}')
        if Path(run).is_file() and Path(run).suffix != '.json':
            raise ConfigError(f'{run} is neither the folder of a run nor a log (TIME.log.json)')
    logs = [TrainingLog(run) for run in runs]
    names = [log.name for log in logs]
    names = names if len(set(names)) == len(names) else [str(run) for run in runs]
    starts = [last_start(Path(run)) if Path(run).is_dir() else None for run in runs]
    configs = [None if start is None else load_config(start) for start in starts]
    return Comparison(names, _settings(configs), _figures(logs), logs)


def _settings(configs):
    """Where configs differ; 'unknown' stands for those that are not there."""
    first = next((cfg for cfg in configs if cfg is not None), None)
    changes = [dict() if cfg is None else {key: (a, b) for key, a, b in differences(first, cfg)} for cfg in configs]
    keys = [
        key for key in dict.fromkeys(key for change in changes for key in change)
        if key.partition('.')[0] not in _LEFT_OUT
    ]
    of_first = {key: a for change in changes for key, (a, _) in change.items()}
    return {
        key: [
            'unknown' if cfg is None else change[key][1] if key in change else of_first[key]
            for cfg, change in zip(configs, changes)
        ]
        for key in keys
    }


def _figures(logs):
    figures = {}
    for name, key, best in _FIGURES:
        values = [log.curve(key)[1] if key in log.keys() else None for log in logs]
        if any(values):
            figures[name] = [None if v is None else max(v) if best else v[-1] for v in values]
    for name, key in (('epochs', 'epoch'), ('iterations', 'iter')):
        figures[name] = [max(log.curve('time', key)[0]) if 'time' in log.keys() else None for log in logs]
    times = [log.times(include_outliers=True) if 'time' in log.keys() else None for log in logs]
    figures['images a second'] = [found and found['img_per_sec'] for found in times]
    figures['waiting for data'] = [found and found['data_share'] for found in times]
    figures['minutes of training'] = [
        found and found['mean'] * iterations / 60 for found, iterations in zip(times, figures['iterations'])
    ]
    return figures

# Copyright (c) mmssl contributors. All rights reserved.
"""JSON logs of trainings: reading, curves, times. Imports nothing heavy."""
import json
from pathlib import Path

from .errors import ConfigError, nearest

_PLACE = ('mode', 'epoch', 'iter')


class TrainingLog:
    """What TextLoggerHook wrote, of this toolbox or of another one on mmcv 1.x.

    Args:
        path (str | Path): A file TIME.log.json, or a work_dir: then its newest log, and where that one goes on from a
            checkpoint, before it what the earlier ones hold up to there.

    Attributes:
        name (str): The file's name without its ends, or that of the work_dir.
        files (list[Path]): The files read, oldest first.
        rows (list[dict]): Their lines, in order; the last line of a training under way may be half written and is
            passed over.

    Raises:
        FileNotFoundError: No such file, or no log in the folder.
        ConfigError: The file is no JSON log, or holds no lines of a training.
    """

    def __init__(self, path):
        path = Path(path)
        if path.is_dir():
            logs = sorted(path.glob('*.log.json'))
            if not logs:
                raise FileNotFoundError(f'no *.log.json in {path}')
            self.name, self.files, self.rows = path.resolve().name, [], []
            for file in reversed(logs):
                header, rows = _read(file)
                if self.rows:
                    rows = [row for row in rows if _position(row) < _position(self.rows[0])]
                self.files, self.rows = [file, *self.files], rows + self.rows
                # MMSelfSup has it in the config
                if not header.get('resume_from') and "resume_from = '" not in str(header.get('config')):
                    break
        else:
            if not path.is_file():
                raise FileNotFoundError(f'no such log: {path}')
            self.name, self.files, self.rows = path.name.removesuffix('.json').removesuffix('.log'), [path], \
                _read(path)[1]
        self.source = path
        if not self.rows:
            raise ConfigError(f'{path} holds no lines of a training (yet)')
        train = [row for row in self.rows if row['mode'] == 'train']
        # an iteration-based runner counts on from epoch to epoch
        spans = {}
        for row in train:
            low, high = spans.get(row['epoch'], (row['iter'], row['iter']))
            spans[row['epoch']] = min(low, row['iter']), max(high, row['iter'])
        spans = [spans[epoch] for epoch in sorted(spans)]
        self.by_epoch = len(spans) < 2 or any(b[0] <= a[1] for a, b in zip(spans, spans[1:]))
        # up to a log interval less than the truth, which no line tells
        longest = max((row['iter'] for row in train), default=1)
        self.epoch_length = longest if self.by_epoch else longest / len(spans)

    def keys(self):
        """list[str]: Names of the numbers in it, by first appearance."""
        return list(dict.fromkeys(k for row in self.rows for k, v in row.items() if k not in _PLACE and _is_number(v)))

    def curve(self, key, unit='epoch'):
        """What the log holds under a key.

        Args:
            key (str): Such as 'loss' or 'knn_top1'; 'lr.backbone' for one of several learning rates.
            unit (str): 'epoch' or 'iter', what is counted along the curve.

        Returns:
            tuple[list[float], list[float]]: Epochs done (with fractions) or iterations done, and the values.

        Raises:
            ConfigError: There is no such key; the nearest is named.
        """
        rows = [row for row in self.rows if _is_number(row.get(key))]
        if not rows:
            raise ConfigError(f'{self.source} has no key {key!r}; {nearest(key, self.keys(), "its keys")}')
        iterations = [self.curve_position(row) for row in rows]
        return [i / (self.epoch_length if unit == 'epoch' else 1) for i in iterations], [row[key] for row in rows]

    def curve_position(self, row):
        """float: Iterations that were done when a line was written."""
        if row['mode'] != 'train':
            # its own `iter` may be that of the validation's data
            return row['epoch'] * self.epoch_length if self.by_epoch else row['iter']
        return (row['epoch'] - 1) * self.epoch_length + row['iter'] if self.by_epoch else row['iter']

    def times(self, include_outliers=False):
        """How long iterations took.

        Args:
            include_outliers (bool): Also count the first line of each epoch, in which workers start, kernels are
                chosen and networks are compiled. It is counted anyway where an epoch has no other.

        Returns:
            dict: `epochs` (dict[int, float]: mean seconds an iteration by epoch), `mean` (seconds an iteration),
                `std` (between epochs), `data_share` (part of the time spent waiting for data) and `img_per_sec`
                (None where not logged).

        Raises:
            ConfigError: The log holds no times.
        """
        by_epoch = {}
        for row in self.rows:
            if row['mode'] == 'train' and _is_number(row.get('time')):
                by_epoch.setdefault(row['epoch'], []).append(row)
        if not by_epoch:
            raise ConfigError(f'{self.source} holds no times of training iterations (yet)')
        if not include_outliers:
            by_epoch = {epoch: rows[1:] or rows for epoch, rows in by_epoch.items()}
        rows = [row for epoch_rows in by_epoch.values() for row in epoch_rows]
        epochs = {epoch: _mean([row['time'] for row in rows]) for epoch, rows in by_epoch.items()}
        mean = _mean([row['time'] for row in rows])
        middle = _mean(list(epochs.values()))
        rates = [row['img_per_sec'] for row in rows if 'img_per_sec' in row]
        return dict(
            epochs=epochs,
            mean=mean,
            std=_mean([(time - middle)**2 for time in epochs.values()])**0.5,
            data_share=_mean([row.get('data_time', 0.) for row in rows]) / max(1e-12, mean),
            # images over time, not a mean of rates
            img_per_sec=sum(row.get('img_per_sec', 0.) * row['time']
                            for row in rows) / max(1e-12, sum(row['time'] for row in rows)) if rates else None)


def _read(path):
    """The first line of a log where it describes the run ({} elsewhere), and the lines of the training."""
    header, rows = {}, []
    lines = path.read_text(encoding='utf-8', errors='replace').split('\n')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):  # no line end behind it: it is being written, or was when the training died
                continue
            raise ConfigError(f'{path}, line {number} is no JSON: {line[:60]!r}') from None
        if not isinstance(row, dict):
            raise ConfigError(f'{path}, line {number} is no line of a log: {line[:60]!r}')
        if all(key in row for key in _PLACE):
            if row['mode'] != 'train':
                row.pop('lr', None)  # nothing is trained by it; before the training it is the one without warm-up
            for name, rate in (row['lr'].items() if isinstance(row.get('lr'), dict) else ()):
                row[f'lr.{name}'] = rate
            rows.append(row)
        elif not header:
            header = row
    return header, rows


def _position(row):
    """Order of lines: validation comes after the epoch's training."""
    return row['epoch'], row['mode'] != 'train', row['iter']


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _mean(values):
    return sum(values) / len(values)

# Copyright (c) mmssl contributors. All rights reserved.
"""How good features of a run are for classes, in one call: nearest neighbours, few labels, a linear classifier."""
import html
import logging
from dataclasses import dataclass, field

import numpy as np

from mmssl.datasets.classes import match_labels
from mmssl.datasets.data_sources.labels import read_labels_and_names
from mmssl.datasets.single_view import SingleViewDataset
from mmssl.evaluation.descriptor import Descriptor
from mmssl.recipes.data import find_data
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError
from mmssl.utils.indices import rows_by_value
from mmssl.utils.logger import quiet_logs
from .embedding import told_of
from .image_sources import source_of
from .suite import Context, random_model, run_protocols

# protocol of the suite -> metric of it, and what the figure is
PROTOCOLS = dict(
    knn='accuracy of 20 nearest neighbours',
    few_label='logistic regression, 10 labels a class',
    linear='linear classifier, all labels')
HELD_OUT = 5  # every fifth image of a class is scored where there are no others


@dataclass
class Evaluation:
    """Accuracies, as fractions of the images that are scored; None for what could not be computed.

    Attributes:
        knn (float | None): Of 20 weighted nearest neighbours.
        few_label (float | None): Of logistic regression with 10 labels a class, mean over 5 draws of them.
        linear (float | None): Of a linear classifier on all labels, its learning rate chosen by a held-out part.
        random_weights (dict[str, float | None]): The same of the network before it was trained.
        images (dict[str, int]): Numbers of labelled images, 'train' and 'val'.
        not_run (dict[str, str]): Why a figure is None, by its name.
    """
    knn: float
    few_label: float
    linear: float
    random_weights: dict
    images: dict
    not_run: dict = field(default_factory=dict)

    def rows(self):
        """list[tuple[str, str, str]]: What is measured, its figure, and that of random weights."""
        return [(words, _percent(getattr(self, name)), _percent(self.random_weights.get(name)))
                for name, words in PROTOCOLS.items()]

    def __repr__(self):
        lines = [f'{self.images["val"]} images scored, labels of {self.images["train"]}']
        for words, value, other in self.rows():
            lines.append(f'  {words:40} {value:>7}' + (f'   random weights {other:>7}' if other else ''))
        return '\n'.join(lines + [f'  {name}: {reason}' for name, reason in self.not_run.items()])

    def _repr_html_(self):
        head = f'<tr><th>{self.images["val"]} images scored</th><th>this run</th><th>random weights</th></tr>'
        rows = ''.join(f'<tr><td style="text-align:left">{html.escape(words)}</td><td>{value}</td><td>{other}</td></tr>'
                       for words, value, other in self.rows())
        return f'<table>{head}{rows}</table>' + ''.join(f'<p>{name}: {html.escape(reason)}</p>'
                                                        for name, reason in self.not_run.items())


def _percent(value):
    return '' if value is None else f'{100 * value:.1f} %'


def evaluate(run, train, val=None, layer=None, size=None, workers=0, seed=0, random_weights=True):
    """Measure the features of a run by labels.

    Args:
        run (Run): The run.
        train (str | Path | dict | tuple): Labelled images, from which labels are drawn and neighbours taken: a folder
            of class folders, a list with labels, a name of the catalog, the config of a data source, or a pair
            (images, labels) with images in any form that Run.features takes, and numbers or words as labels.
        val (str | Path | dict | tuple, optional): Those that are scored. None: what stands beside `train`, such as a
            folder `val` or the test split of the catalog, else every fifth image of each class of `train`, which
            then takes no part in it.
        layer, size, workers: See Run.features; of a whitening, which is learned from the features of `train`.
        seed (int): Of all draws.
        random_weights (bool): Measure the network with random weights as well.

    Returns:
        Evaluation: The accuracies.

    Raises:
        ConfigError: There are no labels.
    """
    with quiet_logs(logging.ERROR):  # what the user is to know is in the result
        return _evaluate(run, train, val, layer, size, workers, seed, random_weights)


def _evaluate(run, train, val, layer, size, workers, seed, random_weights):
    if val is None and not isinstance(train, tuple):
        val = find_data(train).val
    model, transform, by = run.model(layer), run.preprocessing(size), Descriptor.by(layer, run.cfg)
    datasets = {
        name: SingleViewDataset(_labelled(run, data, transform, name), transform.steps, prefetch=transform.prefetch)
        for name, data in (('train', train), ('val', val)) if data is not None
    }
    models = dict(checkpoint=model)
    if random_weights:
        models['random weights'] = random_model(run.cfg, seed)
    contexts, images = {}, {}
    for column, network in models.items():
        with told_of(', '.join(by.layers)):
            found = {
                name: by.extract(network, dataset, img_norm_cfg=transform.img_norm_cfg, workers=workers)
                for name, dataset in datasets.items()
            }
        found = _held_out(found['train']) if val is None else _matched(found)
        whitening = by.learn(found['train']['descriptor'])
        for part in found.values() if whitening is not None else ():
            part.layers['descriptor'] = whitening.apply(part['descriptor'])
        images = {name: int((part.labels >= 0).sum()) for name, part in found.items()}
        contexts[column] = Context(found['train'], found['val'], ('descriptor', ), 'descriptor', seed, default_device(),
                                   False)
    metrics, failures = run_protocols([*PROTOCOLS], contexts)
    figures = {column: _figures(parts) for column, parts in metrics.items()}
    not_run = {entry['protocol']: entry['reason'] for entry in failures if entry['column'] == 'checkpoint'}
    return Evaluation(
        **figures['checkpoint'], random_weights=figures.get('random weights', {}), images=images, not_run=not_run)


def _labelled(run, data, transform, name):
    """The source of labelled images."""
    if not isinstance(data, tuple):
        found = find_data(data)
        source = source_of(found.source, run.cfg, transform.channels)
        told = found.words
    elif len(data) == 2:
        source, told = source_of(data[0], run.cfg, transform.channels), 'the images'
        if len(data[1]) != len(source):
            raise ConfigError(f'{name} has {len(source)} images and {len(data[1])} labels')
        source.labels, words = read_labels_and_names(list(data[1]), len(source), f'labels of {name}')
        source.CLASSES = words
    else:
        raise ConfigError(f'{name} is a folder or another name of data, or a pair (images, labels); got a tuple of '
                          f'{len(data)}')
    if not (np.asarray(source.get_gt_labels()) >= 0).any():
        raise ConfigError(
            f'{name}: no labels are known ({told}). Give a folder with a folder for each class, a list with '
            'labels, or a pair (images, labels)')
    return source


def _held_out(features):
    """The features as two parts: every fifth image of each class, and the others."""
    scored = np.zeros(len(features), bool)
    for value, rows in zip(*rows_by_value(features.labels)):
        if value >= 0:
            scored[rows[::HELD_OUT]] = True
    if not scored.any() or scored[features.labels >= 0].all():
        raise ConfigError(
            f'{int((features.labels >= 0).sum())} labelled images are too few to score some of them: give '
            'val as well')
    return dict(train=features.take(features.index[~scored]), val=features.take(features.index[scored]))


def _matched(found):
    """The features, with labels of both parts counted in the order of the classes of the first."""
    train, val = found['train'], found['val']
    val.labels, _ = match_labels(val.labels, val.classes, train.labels, train.classes, 'val')
    return found


def _figures(parts):
    """The figure of each protocol of one column."""
    values = dict.fromkeys(PROTOCOLS)
    for name, part in parts.items():
        values[name] = next(iter(part['headline'].values()))
    return values

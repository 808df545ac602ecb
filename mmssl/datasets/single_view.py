# Copyright (c) mmssl contributors. All rights reserved.
"""One view of each image, with its label."""
import numpy as np
from mmcv.utils import print_log

from mmssl.utils.errors import ConfigError
from .base import BaseDataset
from .pipelines.rng import seed_view
from .registry import DATASETS


class SeveralLabelsError(ConfigError, AttributeError):
    """An image has several labels where one is needed. `getattr` and `hasattr` see that there is no such attribute."""


@DATASETS.register_module()
class SingleViewDataset(BaseDataset):
    """One view of each image, with its label.

    Where a source has several labels an image (a true attribute `multi_label`), the label is an int8 vector: the row of
    its `targets` (1, 0, or -1 = left open), or else a 1 for each class that `get_cat_ids` names and 0 for the others.

    Args: see BaseDataset.

    Attributes:
        gt_labels (ndarray): Labels of all samples, -1 = unlabelled; an AttributeError where there are several an image.
        num_classes (int | None): Length of the vector of several labels, None for one label an image.
    """
    num_classes = None

    def __init__(self, data_source, pipeline, prefetch=False):
        super().__init__(data_source, pipeline, prefetch)
        if getattr(self.data_source, 'multi_label', False):
            targets, labels = getattr(self.data_source, 'targets', None), self.data_source.labels
            self.num_classes = len(self.CLASSES) if self.CLASSES is not None else \
                int(labels.max()) + 1 if targets is None else targets.shape[1]
        else:
            self.gt_labels = self.data_source.get_gt_labels()

    @property
    def gt_labels(self):
        if self.num_classes is None:
            return self._labels
        raise SeveralLabelsError(f'{type(self.data_source).__name__}(multi_label=True) has several labels an image, '
                                 'and one is needed here: set multi_label=False, or for an evaluation while training '
                                 'metric="mean_average_precision"')

    @gt_labels.setter
    def gt_labels(self, labels):
        self._labels = labels

    def _label(self, idx):
        if self.num_classes is None:
            return int(self._labels[idx])
        if getattr(self.data_source, 'targets', None) is not None:
            return np.array(self.data_source.targets[idx], np.int8)
        label = np.zeros(self.num_classes, np.int8)
        label[self.data_source.get_cat_ids(idx)] = 1
        return label

    def __getitem__(self, idx):
        label = self._label(idx)
        img = self.stored_for([self.pipeline], idx)
        seed_view(0)
        return dict(img=self.finish(self.pipeline(img)), label=label, idx=idx)

    def evaluate(self, results, logger=None, topk=(1, 5)):
        """Top-k accuracy over the labelled samples.

        Args:
            results (dict[str, ndarray]): Scores, N x classes, by name of the head. An attribute `index` says of which
                samples they are, where images were left out.
            logger (logging.Logger | str, optional): Where the accuracies are printed; 'silent' for nowhere.
            topk (tuple[int]): Values of k.

        Returns:
            dict[str, float]: Accuracy in percent by '<head>_top<k>'.
        """
        return top_k_accuracies(results, self.gt_labels, logger, topk)


def top_k_accuracies(results, labels, logger=None, topk=(1, 5)):
    """Top-k accuracy over the labelled samples; see SingleViewDataset.evaluate.

    Raises:
        ValueError: No sample has a label, there is not one row of scores a sample, or scores are NaN.
    """
    labels = np.asarray(labels)[getattr(results, 'index', slice(None))]
    known = labels >= 0
    if not known.any():
        raise ValueError('no sample has a label, so there is no accuracy')
    metrics = {}
    for name, scores in results.items():
        scores = np.asarray(scores)
        if len(scores) != len(labels):
            raise ValueError(f'{name}: {len(scores)} results for {len(labels)} samples')
        bad = np.isnan(scores).any(1)
        if bad.any():
            raise FloatingPointError(f'{name}: the scores of {bad.sum()} of {len(scores)} samples are NaN, the first '
                                     f'is sample {bad.argmax()}: the network has diverged, or its input is no number')
        order = np.argsort(-scores[known], axis=1, kind='stable')
        hit = order == labels[known, None]
        for k in topk:
            metrics[f'{name}_top{k}'] = value = float(hit[:, :k].any(1).mean() * 100)
            if logger != 'silent':
                print_log(f'{name}_top{k}: {value:.3f}', logger=logger)
    return metrics

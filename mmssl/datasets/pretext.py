# Copyright (c) mmssl contributors. All rights reserved.
"""What data sets share whose samples hold one view of each class."""
import numpy as np
from mmcv.utils import print_log

from .base import BaseDataset


class PretextDataset(BaseDataset):
    """A data set that makes the labels itself: each sample holds one view (or pair) of each class, in their order.

    Attributes:
        num_classes (int): Number of classes.
    """

    def evaluate(self, results, logger=None):
        """Accuracy over all views of all samples.

        Args:
            results (dict[str, ndarray]): Scores, N x views x classes, by name of the head.
            logger (logging.Logger | str, optional): Where the accuracy is printed; 'silent' for nowhere.

        Returns:
            dict[str, float]: Accuracy in percent by '<head>_top1'.

        Raises:
            ValueError: Scores of another shape.
        """
        metrics = {}
        for name, scores in results.items():
            samples = len(getattr(results, 'index', self))
            scores, shape = np.asarray(scores), (samples, self.num_classes, self.num_classes)
            if scores.shape != shape:
                raise ValueError(f'{name}: scores of the shape {scores.shape} instead of {shape} (samples, views, '
                                 'classes)')
            hit = scores.argmax(2) == np.arange(self.num_classes)
            metrics[f'{name}_top1'] = value = float(hit.mean() * 100)
            if logger != 'silent':
                print_log(f'{name}_top1: {value:.3f}', logger=logger)
        return metrics

# Copyright (c) mmssl contributors. All rights reserved.
"""One view of each image, with its label."""
import numpy as np
from mmcv.utils import print_log

from .base import BaseDataset
from .pipelines.rng import seed_view
from .registry import DATASETS


@DATASETS.register_module()
class SingleViewDataset(BaseDataset):
    """One view of each image, with its label.

    Args: see BaseDataset.
    """

    def __init__(self, data_source, pipeline, prefetch=False):
        super().__init__(data_source, pipeline, prefetch)
        self.gt_labels = self.data_source.get_gt_labels()

    def __getitem__(self, idx):
        label = int(self.gt_labels[idx])
        img = self.stored(idx)
        seed_view(0)
        return dict(img=self.finish(self.pipeline(img)), label=label, idx=idx)

    def evaluate(self, results, logger=None, topk=(1, 5)):
        """Top-k accuracy over the labelled samples.

        Args:
            results (dict[str, ndarray]): Scores, N x classes, by name of the head.
            logger (logging.Logger | str, optional): Where the accuracies are printed; 'silent' for nowhere.
            topk (tuple[int]): Values of k.

        Returns:
            dict[str, float]: Accuracy in percent by '<head>_top<k>'.
        """
        labels = np.asarray(self.gt_labels)
        known = labels >= 0
        if not known.any():
            raise ValueError('no sample has a label, so there is no accuracy')
        metrics = {}
        for name, scores in results.items():
            scores = np.asarray(scores)
            if len(scores) != len(labels):
                raise ValueError(f'{name}: {len(scores)} results for {len(labels)} samples')
            order = np.argsort(-scores[known], axis=1, kind='stable')
            hit = order == labels[known, None]
            for k in topk:
                metrics[f'{name}_top{k}'] = value = float(hit[:, :k].any(1).mean() * 100)
                if logger != 'silent':
                    print_log(f'{name}_top{k}: {value:.3f}', logger=logger)
        return metrics

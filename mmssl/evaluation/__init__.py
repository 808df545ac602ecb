# Copyright (c) mmssl contributors. All rights reserved.
"""Evaluation of frozen features: `features` extracts them, each other module has `run(...) -> dict of metrics`.

Modules are imported when they are first named, since they import torch: `from mmssl.evaluation import knn`.
"""
import importlib

_HOME = dict(extract_features='features', Extractor='extractor', Features='features', knn_classifier='knn')

__all__ = [
    'Extractor', 'Features', 'average_precision', 'best_nn', 'clusterfit', 'clustering', 'extract_features',
    'few_label', 'instance_discrimination', 'knn', 'knn_classifier', 'linear', 'meters', 'plots', 'quality', 'report',
    'representation', 'retrieval', 'scatter_page', 'svm', 'view_statistics', 'views', 'whitening'
]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f'.{_HOME[name]}', __name__), name)
    if name in __all__:
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

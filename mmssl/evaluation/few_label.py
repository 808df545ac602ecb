# Copyright (c) mmssl contributors. All rights reserved.
"""Linear classification of frozen features with a few labels per class."""
import warnings

import numpy as np

from mmssl.utils.indices import rows_by_value
from .checks import check_features, labelled


def run(train_features, train_labels, test_features, test_labels, labels_per_class=10, draws=5, seed=0, C=1.0):
    """Logistic regression on frozen features, with n labelled samples of each class, over several draws of them.

    Features are standardised by the mean and standard deviation of all training features: these need no label.
    The test samples serve for the score alone.

    Args:
        train_features (Tensor | ndarray): N x D, the samples that labels are drawn from.
        train_labels (Tensor | ndarray): N integers, -1 where unlabelled; classes need not be contiguous.
        test_features (Tensor | ndarray): M x D.
        test_labels (Tensor | ndarray): M integers, as `train_labels`.
        labels_per_class (int): Labelled samples of each class, n.
        draws (int): How often n samples per class are drawn.
        seed (int): Draw i takes its samples by (seed, i): the same ones for whatever features.
        C (float): Inverse strength of the L2 regularisation, as in scikit-learn.

    Returns:
        dict: 'mean' and 'std' (population) of the accuracies as fractions, and 'accuracies', one a draw.

    Raises:
        ValueError: A class has fewer than n labelled samples, or features and labels do not fit together.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if labels_per_class < 1 or draws < 1:
        raise ValueError(f'labels_per_class and draws must be at least 1, got {labels_per_class} and {draws}')
    everything, train_labels = check_features(train_features, train_labels, 'training')
    x, y = (t.cpu().numpy() for t in labelled(everything, train_labels, 'training'))
    x_test, y_test = (t.cpu().numpy() for t in labelled(*check_features(test_features, test_labels, 'test'), 'test'))
    if x.shape[1] != x_test.shape[1]:
        raise ValueError(f'training features have {x.shape[1]} dimensions, test features {x_test.shape[1]}')
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < labels_per_class:
        raise ValueError(f'class {classes[counts.argmin()]} has {counts.min()} labelled samples, '
                         f'fewer than labels_per_class={labels_per_class}')
    if len(classes) < 2:
        raise ValueError(f'there is one class only, {classes[0]}: nothing to tell apart')

    everything = everything.double()
    mean, std = everything.mean(0).cpu().numpy(), everything.std(0, correction=0).cpu().numpy()
    std[std == 0] = 1  # a constant dimension tells nothing
    x, x_test = (x - mean) / std, (x_test - mean) / std
    accuracies, members = [], rows_by_value(y)[1]
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        chosen = np.concatenate([rng.choice(own, labels_per_class, replace=False) for own in members])
        with warnings.catch_warnings():
            # a step from the optimum moves the accuracy by less than the next draw does
            warnings.simplefilter('ignore', ConvergenceWarning)
            classifier = LogisticRegression(C=C, max_iter=1000).fit(x[chosen], y[chosen])
        accuracies.append(float((classifier.predict(x_test) == y_test).mean()))
    return dict(mean=float(np.mean(accuracies)), std=float(np.std(accuracies)), accuracies=accuracies)

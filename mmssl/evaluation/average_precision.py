# Copyright (c) mmssl contributors. All rights reserved.
"""Average precision: the area under the curve of precision over recall, by the definitions in use."""
import numpy as np

METHODS = ('full', 'voc2010', '11point')


def get_precision_recall(targets, scores, weights=None, method='voc2010'):
    """Precision and recall at each threshold, and their average precision.

    Samples of equal score share one threshold: no order among them is made up.

    Args:
        targets (ndarray): N numbers; above 0 (how often the class occurs in the image) is positive.
        scores (ndarray): N numbers, higher for what is found to be positive.
        weights (ndarray, optional): N numbers, 0 for samples to ignore and 1 for the others.
        method (str): See `average_precision`.

    Returns:
        tuple: Precision, recall and threshold as float64 arrays, one entry for each distinct score in descending
        order, and the average precision. Without a positive sample recall and average precision are nan.

    Raises:
        ValueError: Of different length, empty, NaN scores, other weights than 0 and 1, an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f'method must be one of {METHODS}, got {method!r}')
    targets, scores = np.asarray(targets), np.asarray(scores, np.float64)
    if targets.ndim != 1 or targets.shape != scores.shape:
        raise ValueError(f'targets and scores must be N numbers each, got shapes {targets.shape} and {scores.shape}')
    if np.isnan(scores).any():
        raise ValueError(f'{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN, the first is that of sample '
                         f'{int(np.isnan(scores).argmax())}')
    if weights is not None:
        weights = np.asarray(weights)
        if weights.shape != targets.shape or not np.isin(weights, (0, 1)).all():
            raise ValueError(f'weights must be {len(targets)} zeros and ones, got {weights!r}')
        targets, scores = targets[weights == 1], scores[weights == 1]
    if not len(targets):
        raise ValueError('there is no sample to rank')
    order = np.argsort(-scores, kind='stable')
    positive, scores = (targets > 0)[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of the samples at each threshold
    found = np.cumsum(positive)[last]
    precision = found / (last + 1)
    recall = found / found[-1] if found[-1] else np.full(len(found), np.nan)
    return precision, recall, scores[last], calculate_ap(recall, precision, method)


def calculate_ap(recall, precision, method='voc2010'):
    """Average precision of a curve.

    Args:
        recall (ndarray): T numbers that do not fall.
        precision (ndarray): T numbers.
        method (str): See `average_precision`.

    Returns:
        float: nan where a recall is.
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if np.isnan(recall).any():
        return float('nan')
    if method == 'full':
        return float((np.diff(recall, prepend=0) * precision).sum())
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    if method == 'voc2010':
        return float((np.diff(recall, prepend=0) * envelope).sum())
    # recall is a count by the number of positives, here told from tenths by less than any such count differs
    first = np.searchsorted(recall, np.arange(11) / 10 - 1e-12)
    return float(np.append(envelope, 0)[first].mean())


def average_precision(targets, scores, weights=None, method='full'):
    """Average precision of one class.

    Args:
        targets (ndarray): N numbers, above 0 for positives.
        scores (ndarray): N numbers.
        weights (ndarray, optional): N numbers, 0 for samples to ignore and 1 for the others.
        method (str): 'full': mean of the precision at each positive, as scikit-learn's average_precision_score;
            'voc2010': the same with precision made monotone, as Pascal VOC since 2010 and the published SVM
            benchmarks; '11point': mean of the monotone precision at recall 0, 0.1, ..., 1, as Pascal VOC 2007.

    Returns:
        float: Between 0 and 1; nan without a positive sample.

    Raises:
        ValueError: See get_precision_recall.
    """
    return get_precision_recall(targets, scores, weights, method)[3]


def mean_average_precision(targets, scores, method='full'):
    """Mean over classes of the average precision.

    Args:
        targets (ndarray): N x C: 1 where the class is in the image, 0 where not, -1 where that is left open.
        scores (ndarray): N x C.
        method (str): See `average_precision`.

    Returns:
        tuple[float, ndarray]: Mean over the classes that have a positive, and C values, nan for those that have none.

    Raises:
        ValueError: Wrong shapes, NaN scores, or no class with a positive.
    """
    targets, scores = np.asarray(targets), np.asarray(scores)
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise ValueError(f'targets and scores must be N x C both, got shapes {targets.shape} and {scores.shape}')
    each = np.array(
        [average_precision(t, s, t >= 0, method) if (t >= 0).any() else np.nan for t, s in zip(targets.T, scores.T)])
    if np.isnan(each).all():
        raise ValueError(f'none of the {len(each)} classes has a positive sample: there is no mean')
    return float(np.nanmean(each)), each

"""Average precision against scikit-learn, loops by the definitions, and examples by hand."""
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from mmssl.evaluation.average_precision import (METHODS, average_precision, calculate_ap, get_precision_recall,
                                                mean_average_precision)


def ranking(seed, ties):
    rng = np.random.default_rng(seed)
    targets = rng.random(83) < 0.3
    scores = rng.normal(size=83) + targets
    return targets.astype(int), scores.round(1) if ties else scores


def by_definition(targets, scores, method):
    """Thresholds one after another, in plain Python."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        found = [t for t, s in zip(targets, scores) if s >= threshold]
        points.append((sum(found) / sum(targets), sum(found) / len(found)))
    if method == '11point':
        return sum(max([p for r, p in points if r >= tenth / 10 - 1e-12], default=0) for tenth in range(11)) / 11
    area, before = 0, 0
    for i, (recall, precision) in enumerate(points):
        if method == 'voc2010':
            precision = max(p for _, p in points[i:])
        area, before = area + (recall - before) * precision, recall
    return area


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(3))
def test_against_sklearn_and_definitions(seed, ties):
    targets, scores = ranking(seed, ties)
    for method in METHODS:
        assert average_precision(
            targets, scores, method=method) == pytest.approx(
                by_definition(targets, scores, method), abs=1e-12)
    assert average_precision(targets, scores) == pytest.approx(average_precision_score(targets, scores), abs=1e-12)
    precision, recall, thresholds, ap = get_precision_recall(targets, scores)
    p, r, t = precision_recall_curve(targets, scores)
    np.testing.assert_allclose(precision, p[-2::-1], atol=1e-15)
    np.testing.assert_allclose(recall, r[-2::-1], atol=1e-15)
    np.testing.assert_array_equal(thresholds, t[::-1])
    assert ap == average_precision(targets, scores, method='voc2010') == calculate_ap(recall, precision)


def test_by_hand():
    """Ranks 1, 4 and 5 of six are right: precision 1, 2/4 and 3/5, of which the second becomes 3/5 when monotone."""
    targets, scores = [1, 0, 0, 2, 1, 0], [6, 5, 4, 3, 2, 1]
    assert average_precision(targets, scores) == pytest.approx((1 + 1 / 2 + 3 / 5) / 3)
    assert average_precision(targets, scores, method='voc2010') == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)
    # recall 0 to 0.3 is reached at precision 1, 0.4 to 1 at 3/5
    assert average_precision(targets, scores, method='11point') == pytest.approx((4 * 1 + 7 * 3 / 5) / 11)
    # without rank 2, precision is 1, 2/3 and 3/4
    assert average_precision(targets, scores, [1, 0, 1, 1, 1, 1]) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # ten positives first: recall 0.3 and 0.7 are not missed by rounding
    assert average_precision([1] * 10, range(10), method='11point') == 1
    # all of one score: one threshold, whose precision is the share of positives
    assert [average_precision([1, 0, 0, 0], [0] * 4, method=m) for m in METHODS] == pytest.approx([0.25] * 3)


def test_mean_leaves_out_classes_without_positives_and_open_samples():
    targets = np.array([[1, 0, -1], [0, 0, -1], [-1, 0, -1], [1, -1, -1]])
    scores = np.array([[3., 0, 0], [2, 1, 0], [9, 2, 0], [1, 3, 0]])
    mean, each = mean_average_precision(targets, scores)
    assert mean == each[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(each[1:]).all()


def test_bad_input():
    for arguments, message in [
        (([1, 0], [1.]), r'shapes \(2,\) and \(1,\)'),
        (([], []), 'no sample to rank'),
        (([1, 0], [1, 2], [0, 0]), 'no sample to rank'),
        (([1, 0], [1, float('nan')]), '1 of 2 scores are NaN, the first is that of sample 1'),
        (([1, 0], [1, 2], [1, 0.5]), 'zeros and ones'),
        (([1, 0], [1, 2], None, 'voc2007'), "got 'voc2007'"),
    ]:
        with pytest.raises(ValueError, match=message):
            average_precision(*arguments)
    assert np.isnan(average_precision([0, 0], [1, 2]))
    with pytest.raises(ValueError, match='none of the 2 classes'):
        mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r'shapes \(3, 2\) and \(3,\)'):
        mean_average_precision(np.zeros((3, 2)), np.zeros(3))

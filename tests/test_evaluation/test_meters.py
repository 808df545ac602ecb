"""Meters against scikit-learn, over batches and processes."""
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from mmssl.evaluation.meters import METERS, AccuracyListMeter, MeanAPListMeter, MeanAPMeter


@pytest.fixture(scope='module')
def scores():
    """Scores of two classifiers on the digits that they did not see, and the labels."""
    x, y = load_digits(return_X_y=True)
    outputs = [LogisticRegression(C=c, max_iter=50).fit(x[:200] / 16, y[:200]) for c in (1e-3, 1)]
    return [torch.from_numpy(o.decision_function(x[200:700] / 16)).float()
            for o in outputs], torch.from_numpy(y[200:700])


def measured(meter, outputs, target, rows=64):
    for part in torch.arange(len(target)).split(rows):
        meter.update([output[part] for output in outputs], target[part])
    return meter.value


def test_accuracy(scores):
    outputs, target = scores
    meter = METERS.build(dict(type='AccuracyListMeter', num_meters=2, topk_values=[1, 5], meter_names=['res4', 'res5']))
    found = measured(meter, outputs, target)
    for k in (1, 5):
        expected = [top_k_accuracy_score(target, output, k=k) for output in outputs]
        assert found[f'top_{k}'] == pytest.approx(dict(zip(('res4', 'res5'), expected)))
    same = AccuracyListMeter(meter_names=['a', 'a'], topk_values=(1, ))
    assert measured(same, outputs, target) == {'top_1': {'a': list(found['top_1'].values())}}
    resumed = AccuracyListMeter(meter_names=['res4', 'res5'])
    resumed.load_state_dict(meter.state_dict())
    assert resumed.value == found
    meter.reset()
    with pytest.raises(ValueError, match='no batch'):
        meter.value


def test_mean_average_precision(scores):
    outputs, labels = scores
    target = torch.nn.functional.one_hot(labels, 10)
    target[:20, 3] = -1  # difficult
    target[:, 9] = 0  # a class without a positive
    keep = target[:, 3] >= 0
    found = measured(MeanAPListMeter(10), outputs, target)
    for i, output in enumerate(outputs):
        each = found['AP'][f'output{i}']
        expected = [average_precision_score(target[:, c], output[:, c]) for c in range(9) if c != 3]
        assert [each[c] for c in range(9) if c != 3] == pytest.approx(expected)
        assert each[3] == pytest.approx(average_precision_score(target[keep, 3], output[keep, 3]))
        assert np.isnan(each[9]) and found['mAP'][f'output{i}'] == pytest.approx(np.mean(each[:9]))
    single = measured(MeanAPMeter(10), outputs[:1], target)
    assert single['mAP'] == found['mAP']['output0']


def on_rank(rank, world_size, outputs, target):
    found = []
    for meter, truth in ((AccuracyListMeter(), target), (MeanAPListMeter(10), torch.nn.functional.one_hot(target, 10))):
        mine = range(rank, 301 if rank else 500, world_size)  # not the same number on each
        for i in mine:
            meter.update([output[i:i + 1] for output in outputs], truth[i:i + 1])
        meter.sync_state()
        found.append(meter.value)
    return found


def test_two_processes_equal_one(scores, run_distributed):
    outputs, target = scores
    rows = torch.tensor([*range(0, 500, 2), *range(1, 301, 2)])
    one_hot = torch.nn.functional.one_hot(target, 10)
    expected = [
        measured(AccuracyListMeter(), [o[rows] for o in outputs], target[rows]),
        measured(MeanAPListMeter(10), [o[rows] for o in outputs], one_hot[rows])
    ]
    for found in run_distributed(on_rank, outputs, target):
        assert found == expected


def test_what_is_wrong_is_named(scores):
    outputs, target = scores
    with pytest.raises(ValueError, match='2 outputs are measured, got 1'):
        AccuracyListMeter(num_meters=2).update(outputs[:1], target)
    with pytest.raises(ValueError, match="as many names, got .'a'."):
        AccuracyListMeter(num_meters=2, meter_names=['a'])
    with pytest.raises(ValueError, match='top-11 accuracy needs as many classes, got 10'):
        AccuracyListMeter(topk_values=[11]).update(outputs, target)
    with pytest.raises(ValueError, match='labels from 0 to 9'):
        AccuracyListMeter().update(outputs, target + 1)
    with pytest.raises(ValueError, match='499 targets'):
        AccuracyListMeter().update(outputs, target[1:])
    with pytest.raises(ValueError, match='targets must be B x 10'):
        MeanAPMeter(10).update(outputs[0], target)

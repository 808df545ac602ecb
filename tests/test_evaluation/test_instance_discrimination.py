"""Instance discrimination against one query after another."""
import numpy as np
import pytest

from mmssl.evaluation import instance_discrimination


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def naive(queries, answers, k, negatives):
    hits = 0
    for i, query in enumerate(queries):
        own = answers if negatives == 'views' else answers[:1]
        positive = max(cosine(query, view[i]) for view in own)
        others = answers if negatives == 'views' else [queries]
        nearer = [cosine(query, x[j]) >= positive for x in others for j in range(len(queries)) if j != i]
        hits += sum(nearer) < k
    return hits / len(queries)


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, 3))
    return originals, [originals + rng.normal(scale=s, size=originals.shape) for s in (0.4, 0.5, 0.6)]


@pytest.mark.parametrize('negatives', ['views', 'queries'])
@pytest.mark.parametrize('memory_limit', [512, 0.001])
def test_against_loops(data, negatives, memory_limit):
    originals, views = data
    for mode, queries, answers in (('d-sd', originals, views), ('sd-sd', views[0], views[1:2])):
        found = instance_discrimination.run(
            originals, views, mode, topk=(1, 2, 5, 39), negatives=negatives, memory_limit=memory_limit)
        for k in (1, 2, 5, 39):
            assert found[f'top{k}'] == naive(queries, answers, k, negatives)
        assert 0.1 < found['top1'] < found['top5'] < 1
        assert (found['mode'], found['negatives'], found['num_queries']) == (mode, negatives, 40)
        assert found['num_candidates'] == (40 * len(answers) if negatives == 'views' else 40)


def test_views_that_are_copies_are_found():
    x = np.random.default_rng(1).normal(size=(20, 8)).astype('float32')
    for negatives in instance_discrimination.NEGATIVES:
        assert instance_discrimination.run(x, [x, x], negatives=negatives)['top1'] == 1
        assert instance_discrimination.run(x, [x, x], 'sd-sd', negatives=negatives)['top1'] == 1
    assert instance_discrimination.run(x, [np.roll(x, 1, axis=0)], topk=[1])['top1'] == 0


def test_ties_count_against_the_query():
    """Features that are all the same tell nothing apart; two images with one and the same view are not told apart."""
    same = np.ones((9, 4))
    for negatives in instance_discrimination.NEGATIVES:
        found = instance_discrimination.run(same, [same, same], negatives=negatives, topk=(1, 8))
        assert found['top1'] == found['top8'] == 0
    x = np.random.default_rng(2).normal(size=(10, 4))
    x[1] = 3 * x[0]
    found = instance_discrimination.run(x, [x, x + 0.5], topk=(1, 2, 3))
    assert found['top1'] == 0.8 and found['top3'] == 1


def test_errors(data):
    originals, views = data
    for options, words in [(dict(mode='sd-d'), "got 'sd-d'"), (dict(negatives='all'), "'all'"),
                           (dict(topk=(1, 121)), 'k must be 1 to 117'), (dict(topk=(0, )), r'got \[0\]'),
                           (dict(topk=()), 'k must be'), (dict(topk=(40, ), negatives='queries'), 'k must be 1 to 39')]:
        with pytest.raises(ValueError, match=words):
            instance_discrimination.run(originals, views, **options)
    with pytest.raises(ValueError, match='compares two views, there is one'):
        instance_discrimination.run(originals, views[:1], 'sd-sd')
    with pytest.raises(ValueError, match='shape'):
        instance_discrimination.run(originals, [views[0][:, :2]])

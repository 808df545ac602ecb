"""Rankings and average precision against naive references, and near-duplicates of real photographs."""
import io

import numpy as np
import pytest
from PIL import Image

from mmssl.evaluation import retrieval


def naive_ap(similarity, ok, junk):
    """By the definition: a whole stable sort, then the area under the curve, image by image."""
    order = [j for j in np.argsort(-similarity, kind='stable') if j not in set(junk)]
    area, hits, recall, precision = 0., 0, 0., 1.
    for seen, j in enumerate(order, 1):
        hits += j in set(ok)
        new_recall, new_precision = hits / len(ok), hits / seen
        area += (new_recall - recall) * (precision + new_precision) / 2
        recall, precision = new_recall, new_precision
    return area


def naive_precision(similarity, ok, junk, k):
    order = [j for j in np.argsort(-similarity, kind='stable') if j not in set(junk)]
    last = max(i for i, j in enumerate(order, 1) if j in set(ok))
    return len(set(order[:min(k, last)]) & set(ok)) / min(k, last)


@pytest.mark.parametrize('levels', [None, 3, 1])
def test_against_brute_force(levels):
    """`levels` similarities only: many ties, or nothing but ties."""
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((20, 60)) if levels is None else rng.integers(0, levels, (20, 60)) / 4
    truth = []
    for _ in range(20):
        order = rng.permutation(60)
        truth.append(dict(ok=order[:rng.integers(1, 9)], junk=order[10:10 + rng.integers(0, 9)]))
    ranks = np.argsort(-similarity, axis=1, kind='stable').T
    mean, aps, pr, prs = retrieval.compute_map(ranks, truth, (1, 5, 10))
    for i, gnd in enumerate(truth):
        kept = [j for j in ranks[:, i] if j not in gnd['junk']]
        wanted = [rank for rank, j in enumerate(kept) if j in gnd['ok']]
        assert retrieval.positive_ranks(similarity[i], gnd['ok'], gnd['junk']).tolist() == wanted
        assert aps[i] == pytest.approx(naive_ap(similarity[i], gnd['ok'], gnd['junk']), abs=1e-12)
        assert prs[i] == pytest.approx([naive_precision(similarity[i], **gnd, k=k) for k in (1, 5, 10)], abs=1e-12)
    assert mean == pytest.approx(aps.mean()) and pr == pytest.approx(prs.mean(0))


def test_run_is_the_full_sort():
    rng = np.random.default_rng(1)
    queries, database = (rng.standard_normal((n, 8)).astype(np.float32) for n in (7, 50))
    database[10:20] = database[:10]  # ties
    truth = [dict(ok=rng.permutation(50)[:5], junk=[i]) for i in range(7)]
    truth[3] = dict(ok=[])
    found = retrieval.run(queries, database, dict(a=truth, b=truth[:3] + [dict(ok=[4])] * 4), memory_limit=1e-3)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, database)]
    ranks = np.argsort(-np.round(unit[0] @ unit[1].T, 5), axis=1, kind='stable').T
    truth = [dict(ok=np.setdiff1d(g['ok'], g.get('junk', [])), junk=g.get('junk', [])) for g in truth]
    mean, aps, pr, _ = retrieval.compute_map(ranks, truth, (1, 5, 10))
    assert found['a']['mAP'] == pytest.approx(mean, abs=1e-12)
    assert [found['a'][f'mP@{k}'] for k in (1, 5, 10)] == pytest.approx(pr, abs=1e-12)
    assert found['a']['num_queries'] == 6 and found['a']['num_skipped'] == 1 and found['a']['aps'][3] is None
    assert found['b']['num_queries'] == 7 and found['b']['num_database'] == 50


def test_by_hand():
    assert retrieval.compute_ap([0, 1, 2], 3) == 1
    # precision 0 before and 1/2 at the second place
    assert retrieval.compute_ap([1], 1) == retrieval.score_ap_from_ranks_1([1], 1) == 1 / 4
    assert retrieval.compute_ap([0, 3], 2) == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)
    assert retrieval.compute_ap([0], 2) == 1 / 2 and retrieval.compute_ap([], 2) == 0
    ranks = np.array([[2, 0], [0, 1], [1, 2], [3, 3]])
    mean, aps, pr, prs = retrieval.compute_map(ranks, [dict(ok=[0], junk=[2]), dict(ok=[], junk=[1])], (1, 5))
    assert mean == 1 and aps[0] == 1 and np.isnan(aps[1]) and pr.tolist() == [1, 1] and np.isnan(prs[1]).all()
    # a ranking that ends early, and one in which nothing is found
    assert retrieval.compute_map(ranks[:2], [dict(ok=[0, 1]), dict(ok=[3])], (1, ))[1].tolist() == [1 / 8, 0]


def test_labels():
    truth = retrieval.labels_to_ground_truth([0, 1, 0, -1])
    assert [t['ok'].tolist() for t in truth] == [[2], [], [0], []] and truth[2]['junk'].tolist() == [2]
    truth = retrieval.labels_to_ground_truth([1, -1], [1, 0, 1, -1])
    assert [t['ok'].tolist() for t in truth] == [[0, 2], []] and not len(truth[0]['junk'])


def test_copies_of_photographs(photographs):
    """Crops find the photograph part that they were cut from and compressed."""
    parts = [photo[y:y + 200, x:x + 200] for photo in photographs for y in (0, 200) for x in (0, 200, 400)]

    def descriptor(img):
        small = np.asarray(Image.fromarray(img).resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
        return small - small.mean()

    def copy(img):
        buffer = io.BytesIO()
        Image.fromarray(img[10:-10, 10:-10]).save(buffer, 'jpeg', quality=20)
        return np.asarray(Image.open(buffer))

    found = retrieval.run(
        np.stack([descriptor(copy(img)) for img in parts]), np.stack([descriptor(img) for img in parts]),
        [dict(ok=[i]) for i in range(len(parts))])
    assert found['all']['mAP'] > 0.9 and found['all']['mP@1'] > 0.9


def test_wrong_arguments():
    one, truth = np.ones((2, 3), np.float32), [dict(ok=[0])] * 2
    bad = one.copy()
    bad[1, 2] = np.nan
    for arguments, message in [
        ((bad, one, truth), 'query features.*sample 1'),
        ((one, bad, truth), 'database features.*sample 1'),
        ((one, one[:, :2], truth), '3 dimensions, database features 2'),
        ((one, one, truth[:1]), '2 queries, but the ground truth of 1'),
        ((one, one, [dict(ok=[2])] * 2), 'position 2 .ok., the database 2 images'),
        ((one, one, [dict(ok=[0], junk=[-1])] * 2), 'position -1 .junk.'),
        ((one, one, [dict(ok=[])] * 2), 'all: none of the 2 queries'),
        ((one, one, truth, (0, )), 'kappas'),
        ((one, one[:0], truth), 'database features are empty'),
    ]:
        with pytest.raises(ValueError, match=message):
            retrieval.run(*arguments)
    with pytest.raises(ValueError, match='database x 2 queries'):
        retrieval.compute_map(np.zeros((3, 1), int), truth)


def test_ground_truth_of_images_that_can_be_read():
    truth = [dict(ok=np.array([0, 3]), junk=np.array([2])), dict(ok=np.array([1]), junk=np.array([], int))]
    found = retrieval.restrict(dict(all=truth), np.array([0]), np.array([0, 2, 3]), 5)
    assert [{
        part: places.tolist()
        for part, places in entry.items()
    } for entry in found['all']] == [dict(ok=[0, 2], junk=[1])]
    found = retrieval.restrict(truth, np.array([0, 1]), np.array([3, 4]), 5)
    assert [entry['ok'].tolist() for entry in found] == [[0], []]

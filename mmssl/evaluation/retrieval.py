# Copyright (c) mmssl contributors. All rights reserved.
"""Instance retrieval by exact search: mean average precision and mean precision at k."""
import numpy as np
import torch
import torch.nn.functional as F

from .checks import check_features


def run(query_features, database_features, ground_truth, kappas=(1, 5, 10), memory_limit=512, device=None):
    """Rank a database for each query by cosine similarity and score the rankings.

    Images of equal similarity rank in the order of the database. Only the ranks of the images to be found are
    computed, by counting what is more similar: the result is that of a full sort.

    Args:
        query_features (Tensor | ndarray): M x D.
        database_features (Tensor | ndarray): N x D.
        ground_truth (dict[str, list[dict]] | list[dict]): By protocol (a list alone is the protocol 'all'), for each
            query `ok` and, optionally, `junk`: positions in the database of what is to be found, and of what is
            left out of the ranking. A query without anything to be found does not count.
        kappas (Sequence[int]): Values of k for the precision among the first k.
        memory_limit (float): MiB for similarities.
        device (torch.device | str, optional): Where to compute them; by default where the features are.

    Returns:
        dict[str, dict]: For each protocol 'mAP' and 'mP@{k}' as fractions, 'num_queries' that counted,
            'num_skipped', 'num_database', and 'aps': that of each query, None for one that did not count.

    Raises:
        ValueError: Features and ground truth do not fit together, NaN features, or nothing is to be found.
    """
    queries, _ = check_features(query_features, what='query')
    database, _ = check_features(database_features, what='database')
    if queries.shape[1] != database.shape[1]:
        raise ValueError(f'query features have {queries.shape[1]} dimensions, database features {database.shape[1]}')
    kappas = _check_kappas(kappas)
    if not memory_limit > 0:
        raise ValueError(f'memory_limit must be a positive number of MiB, got {memory_limit!r}')
    if not isinstance(ground_truth, dict):
        ground_truth = dict(all=ground_truth)
    truth = {
        protocol: [_entry(entry, len(database)) for entry in _entries(entries, len(queries))]
        for protocol, entries in ground_truth.items()
    }
    aps = {protocol: np.full(len(queries), np.nan) for protocol in truth}
    precisions = {protocol: np.full((len(queries), len(kappas)), np.nan) for protocol in truth}
    device = device or database.device
    database = F.normalize(database.to(device, torch.float32), dim=1)
    rows = max(1, int(memory_limit * 2**20 / 8 / len(database)))
    for start in range(0, len(queries), rows):
        part = F.normalize(queries[start:start + rows].to(device, torch.float32), dim=1)
        for i, similarity in enumerate((part @ database.T).cpu().numpy(), start):
            for protocol, entries in truth.items():
                if len(entries[i][0]):
                    ranks = positive_ranks(similarity, *entries[i])
                    aps[protocol][i], precisions[protocol][i] = _scores(ranks, len(ranks), kappas)
    return {p: _summary(p, aps[p], precisions[p], kappas, len(database)) for p in truth}


def labels_to_ground_truth(query_labels, database_labels=None):
    """Ground truth where images of one class should find each other.

    Args:
        query_labels (ndarray): M integers, -1 where unlabelled: nothing is to be found there.
        database_labels (ndarray, optional): N integers. None: the queries are the database, and none finds itself.

    Returns:
        list[dict]: For each query `ok` and `junk`.
    """
    query_labels = np.asarray(query_labels)
    labels = query_labels if database_labels is None else np.asarray(database_labels)
    truth = []
    for i, label in enumerate(query_labels):
        same = (labels == label) & (label >= 0)
        if database_labels is None:
            same[i] = False
        truth.append(dict(ok=np.flatnonzero(same), junk=np.array([i] if database_labels is None else [], np.int64)))
    return truth


def restrict(truth, queries, database, size):
    """Ground truth of the images that could be read.

    Args:
        truth (list[dict] | dict[str, list[dict]]): For each query `ok` and `junk`; by protocol where there are several.
        queries (ndarray): Positions of the queries that are kept.
        database (ndarray): Positions of the images of the database that are kept.
        size (int): Number of images in the database.

    Returns:
        list[dict] | dict[str, list[dict]]: The same for kept queries, with positions among the kept images.
    """
    if isinstance(truth, dict):
        return {protocol: restrict(entries, queries, database, size) for protocol, entries in truth.items()}
    place = np.full(size, -1)
    place[database] = np.arange(len(database))
    return [{part: place[found][place[found] >= 0] for part, found in truth[i].items()} for i in queries]


def positive_ranks(similarity, ok, junk=()):
    """Ranks from 0, ascending, that images have in the order of descending similarity; equal ones by their position.

    Args:
        similarity (ndarray): N values of one query.
        ok (ndarray): Positions of the images asked for, without repetitions.
        junk (ndarray): Positions of images that are left out of the ranking.

    Returns:
        ndarray: int64, one rank for each of `ok` that is no junk.
    """
    kept = np.ones(len(similarity), bool)
    kept[np.asarray(junk, np.int64)] = False
    ok = np.asarray(ok, np.int64)
    ok = ok[kept[ok]]
    kept = np.flatnonzero(kept)
    values = similarity[kept]
    own, which = np.unique(similarity[ok], return_inverse=True)  # ascending
    if not len(own):
        return np.empty(0, np.int64)
    below = np.searchsorted(own, values)  # how many of `own` lie below each image
    above = np.bincount(below, minlength=len(own) + 1)[::-1].cumsum()[::-1]  # [k]: images with k or more below them
    ranks = above[which + 1]
    # what is equally similar and stands earlier comes first
    level = np.minimum(below, len(own) - 1)
    equal = np.flatnonzero(own[level] == values)
    order = equal[np.lexsort((kept[equal], level[equal]))]
    first = np.searchsorted(level[order], which)
    place = np.empty(len(similarity), np.int64)
    place[kept[order]] = np.arange(len(order))
    return np.sort(ranks + place[ok] - first)


def compute_ap(ranks, nres):
    """Average precision as the Oxford benchmark defines it: the area under the curve by the trapezoidal rule.

    Args:
        ranks (Sequence[int]): Ranks from 0, ascending, of what was found.
        nres (int): Number of images that are to be found.

    Returns:
        float: 0 to 1.
    """
    ranks = np.asarray(ranks, np.float64)
    found = np.arange(len(ranks))
    # precision just before each image that was found, which is 1 at the top of the list, and with it
    before = np.where(ranks == 0, 1., found / np.maximum(ranks, 1))
    return float(((before + (found + 1) / (ranks + 1)) / 2).sum() / nres)


def score_ap_from_ranks_1(ranks, nres):
    """Average precision as Holidays and INSTRE define it: the same as compute_ap."""
    return compute_ap(ranks, nres)


def compute_map(ranks, gnd, kappas=()):
    """Mean average precision of whole rankings (Radenovic et al., 2018, arXiv:1803.11285).

    Args:
        ranks (ndarray): Database x queries: column i lists the database's positions, the most similar first. Rankings
            may end early: what is not in them was not found.
        gnd (list[dict]): For each query `ok` and, optionally, `junk`: positions in the database.
        kappas (Sequence[int]): Values of k for the precision among the first k, or among the ranking up to the last
            image that was found, where that is shorter.

    Returns:
        tuple[float, ndarray, ndarray, ndarray]: mAP, average precision by query, mean precision by k, and precision
            queries x kappas. Queries with nothing to be found are NaN, and left out of means.
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 2 or ranks.shape[1] != len(gnd):
        raise ValueError(f'ranks must be database x {len(gnd)} queries, got shape {ranks.shape}')
    kappas = _check_kappas(kappas) if len(kappas) else ()
    aps, precisions = np.full(len(gnd), np.nan), np.full((len(gnd), len(kappas)), np.nan)
    for i, entry in enumerate(gnd):
        ok = np.unique(entry['ok'])
        if not len(ok):
            continue
        found = np.flatnonzero(np.isin(ranks[:, i], ok))
        junk = np.flatnonzero(np.isin(ranks[:, i], entry.get('junk', ())))
        aps[i], precisions[i] = _scores(found - np.searchsorted(junk, found), len(ok), kappas)
    counted = ~np.isnan(aps)
    if not counted.any():
        raise ValueError(f'none of the {len(gnd)} queries has anything to be found')
    return float(aps[counted].mean()), aps, precisions[counted].mean(0), precisions


def _scores(ranks, nres, kappas):
    """Average precision, and precision at each k, of ascending ranks from 0."""
    if not len(ranks):
        return 0., np.zeros(len(kappas))
    limits = np.minimum(np.asarray(kappas, np.int64), ranks[-1] + 1)
    return compute_ap(ranks, nres), np.searchsorted(ranks, limits) / limits


def _check_kappas(kappas):
    kappas = tuple(kappas)
    if not kappas or any(not isinstance(k, int) or k < 1 for k in kappas):
        raise ValueError(f'kappas must be positive integers, got {kappas!r}')
    return kappas


def _entries(entries, num_queries):
    if len(entries) != num_queries:
        raise ValueError(f'{num_queries} queries, but the ground truth of {len(entries)}')
    return entries


def _entry(entry, size):
    """Positions to be found and junk, checked; what is both is junk."""
    ok, junk = (np.unique(np.asarray(entry.get(name, ()), np.int64)) for name in ('ok', 'junk'))
    for name, found in (('ok', ok), ('junk', junk)):
        if len(found) and not 0 <= found[0] <= found[-1] < size:
            bad = found[0] if found[0] < 0 else found[-1]
            raise ValueError(f'the ground truth has the position {bad} ({name}), the database {size} images')
    return np.setdiff1d(ok, junk), junk


def _summary(protocol, aps, precisions, kappas, size):
    counted = ~np.isnan(aps)
    if not counted.any():
        raise ValueError(f'{protocol}: none of the {len(aps)} queries has anything to be found')
    return {
        'mAP': float(aps[counted].mean()),
        **{
            f'mP@{k}': float(value)
            for k, value in zip(kappas, precisions[counted].mean(0))
        },
        'num_queries': int(counted.sum()),
        'num_skipped': int((~counted).sum()),
        'num_database': size,
        'aps': [None if np.isnan(ap) else float(ap) for ap in aps],
    }

# Copyright (c) mmssl contributors. All rights reserved.
"""Accuracy of instance discrimination: does an image find its own augmented view among those of all others?"""
import torch
import torch.nn.functional as F

from .knn import nearest_neighbours
from .view_statistics import check_views

MODES = ('d-sd', 'sd-sd')
NEGATIVES = ('views', 'queries')
_TIE = 1e-6  # what rounding can make of two equal similarities in float32


@torch.no_grad()
def run(originals, views, mode='d-sd', topk=(1, 2, 3, 4, 5), negatives='views', memory_limit=512, device=None):
    """Accuracy of the pretext task on a static augmented data set (Shi et al., 2021, arXiv:2107.14762).

    A query counts as right at k when fewer than k negatives are as similar to it (cosine) as the most similar of its
    own views. Ties count against the query, so that features that are all the same score 0; similarities that differ
    by less than 1e-6 are ties.

    Args:
        originals (Tensor | ndarray): N x D.
        views (Sequence[Tensor | ndarray]): One N x D array a view; row i belongs to original i.
        mode (str): 'd-sd': originals look for their views, all of them; 'sd-sd': view 1 looks for view 2.
        topk (Sequence[int]): Values of k.
        negatives (str): 'views': the views of all other images. 'queries': the other queries (d-sd: the originals;
            sd-sd: the first views), with the first view that is looked for as the only positive, as in the authors'
            code; to compare with their figures.
        memory_limit (float): MiB for a tile of similarities.
        device (torch.device | str, optional): Where to compute; by default where the features are.

    Returns:
        dict: 'top{k}' as a fraction for each k, 'mode', 'negatives', and the integers 'num_queries' and
        'num_candidates' (how many a query is compared with, its own included).

    Raises:
        ValueError: Arrays that do not fit together, NaN, or a k that the number of negatives does not allow.
    """
    if mode not in MODES or negatives not in NEGATIVES:
        raise ValueError(f'mode is one of {MODES} and negatives one of {NEGATIVES}, got {mode!r} and {negatives!r}')
    originals, views, _ = check_views(originals, views)
    if mode == 'sd-sd' and len(views) < 2:
        raise ValueError('mode sd-sd compares two views, there is one')
    queries, answers = (originals, views) if mode == 'd-sd' else (views[0], views[1:2])
    size, owners = len(queries), 1 if negatives == 'queries' else len(answers)
    largest, possible = max(topk, default=0), (size - 1) * owners
    if min(topk, default=0) < 1 or largest > possible:
        raise ValueError(f'k must be 1 to {possible}, the number of negatives; got {list(topk)}')

    bank = queries if negatives == 'queries' else torch.cat(answers)
    # with as many more as there may be own ones, the negatives among the found are enough to decide
    similarity, index = nearest_neighbours(bank, queries, largest + owners, memory_limit,
                                           torch.device(device) if device is not None else queries.device)
    own = index % size == torch.arange(size, device=index.device)[:, None]
    if negatives == 'views':
        positive = similarity.masked_fill(~own, -torch.inf).amax(1)  # -inf: not found, so that all found are nearer
    else:
        positive = F.cosine_similarity(queries.double(), answers[0].double(), dim=1).to(similarity)
    rank = (~own & (similarity >= positive[:, None] - _TIE)).sum(1)
    return dict({f'top{k}': float((rank < k).double().mean())
                 for k in topk},
                mode=mode,
                negatives=negatives,
                num_queries=size,
                num_candidates=possible + owners)

# Copyright (c) mmssl contributors. All rights reserved.
"""Alignment, intra-class alignment and uniformity of originals and of their augmented views."""
import itertools

import torch

from .checks import check_features, labelled
from .representation import alignment, intra_class_alignment, uniformity


@torch.no_grad()
def run(originals, views, labels=None, t=2, device=None):
    """The six figures of the small-models evaluation (Shi et al., 2021, arXiv:2107.14762).

    D stands for the data as it is, SD for the static augmented data. Features are normalised to length one first.

    - alignment (Wang and Isola, arXiv:2005.10242): the mean of |x - y|^2 over images; D-SD of an original and its view,
      SD-SD of two views of one image;
    - intra-class alignment: the mean of |x - y|^2 over all pairs of different images of a class, then over classes; of
      originals (D) and of views with the same number (SD);
    - uniformity: log of the mean of exp(-t |x - y|^2) over all pairs of different images; of originals (D) and of
      views with the same number (SD).

    Where several views (or pairs of views) could serve, the figure is the mean over them. The authors' code looks at
    views 1 and 2 alone and, for uniformity, averages over three random batches of 128; the expectations of the first
    four figures are the same, that of uniformity differs slightly, as the log of a mean is no mean of logs.

    Args:
        originals (Tensor | ndarray): N x D.
        views (Sequence[Tensor | ndarray]): One N x D array a view; row i belongs to original i.
        labels (Tensor | ndarray, optional): N integers, -1 where unlabelled. Without, or where all are -1, there is no
            intra-class alignment.
        t (float): Scale of the potential.
        device (torch.device | str, optional): Where pairs are compared; by default where the features are.

    Returns:
        dict: 'd_sd_alignment', 'sd_sd_alignment' (two views or more), 'd_class_alignment', 'sd_class_alignment',
        'd_uniformity', 'sd_uniformity', and the integers 'num_images', 'num_views', 'num_classes'.

    Raises:
        ValueError: Arrays that do not fit together, NaN, less than two images, or no class with two images.
    """
    originals, views, labels = check_views(originals, views, labels)
    if len(originals) < 2:
        raise ValueError('one image makes no pair: at least 2 are needed')
    if not t > 0:
        raise ValueError(f't must be positive, got {t!r}')
    metrics = dict(d_sd_alignment=_mean(alignment(originals, view) for view in views))
    if len(views) > 1:
        metrics['sd_sd_alignment'] = _mean(alignment(x, y) for x, y in itertools.combinations(views, 2))
    num_classes = 0
    if labels is not None and (labels >= 0).any():
        # counted where the features are: atomic additions of a GPU would make the last digits vary
        found = [intra_class_alignment(*labelled(x, labels)) for x in (originals, *views)]
        num_classes = found[0][1]
        metrics['d_class_alignment'] = float(found[0][0])
        metrics['sd_class_alignment'] = _mean(value for value, _ in found[1:])
    metrics['d_uniformity'] = float(uniformity(originals.to(device), t))
    metrics['sd_uniformity'] = _mean(uniformity(view.to(device), t) for view in views)
    return dict(metrics, num_images=len(originals), num_views=len(views), num_classes=num_classes)


def check_views(originals, views, labels=None):
    """Features of originals and views as tensors, after a look at whether they fit together.

    Args:
        originals (Tensor | ndarray): N x D.
        views (Sequence[Tensor | ndarray]): One N x D array a view.
        labels (Tensor | ndarray, optional): N integers.

    Returns:
        tuple[Tensor, list[Tensor], Tensor | None]: The same.

    Raises:
        ValueError: They differ in shape, hold NaN, or there is no view.
    """
    originals, labels = check_features(originals, labels, 'original')
    views = [check_features(view, what=f'view {number}')[0] for number, view in enumerate(views, 1)]
    if not views:
        raise ValueError('there are no views')
    for number, view in enumerate(views, 1):
        if view.shape != originals.shape:
            raise ValueError(f'view {number} features have shape {tuple(view.shape)}, those of the originals '
                             f'{tuple(originals.shape)}')
    return originals, views, labels


def _mean(values):
    values = [float(value) for value in values]
    return sum(values) / len(values)

# Copyright (c) mmssl contributors. All rights reserved.
"""What every evaluation asks of features and labels."""
import torch


def check_features(features, labels=None, what=''):
    """Features and labels as tensors, after a look at whether they fit together.

    Args:
        features (Tensor | ndarray): N x D.
        labels (Tensor | ndarray, optional): N integers, -1 where unlabelled.
        what (str): Which features these are, for the message.

    Returns:
        tuple[Tensor, Tensor | None]: Floating-point features and int64 labels.

    Raises:
        ValueError: Wrong shape or kind, no sample, NaN or infinity; the first such sample is named.
    """
    name = f'{what} features'.strip()
    features = torch.as_tensor(features)
    if features.ndim != 2:
        raise ValueError(f'{name} must be N x D, got shape {tuple(features.shape)}')
    if not features.numel():
        raise ValueError(f'{name} are empty: shape {tuple(features.shape)}')
    if not features.is_floating_point():
        features = features.float()
    # sums of a row are finite only if the row is; float64 so that no sum overflows
    bad = ~torch.isfinite(features.sum(1, dtype=torch.float64))
    if bad.any():
        raise ValueError(f'{name}: {int(bad.sum())} of {len(features)} samples hold NaN or infinity, '
                         f'the first is sample {int(bad.nonzero()[0])}')
    if labels is None:
        return features, None
    labels = torch.as_tensor(labels)
    if labels.shape != features.shape[:1]:
        raise ValueError(f'{name} have {len(features)} samples, their labels the shape {tuple(labels.shape)}')
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f'labels of the {name} must be integers, got {labels.dtype}')
    return features, labels.long().to(features.device)


def labelled(features, labels, what=''):
    """Only the samples whose label is not negative.

    Raises:
        ValueError: There is none.
    """
    known = labels >= 0
    if not known.any():
        raise ValueError(f'none of the {len(labels)} {what} samples has a label (-1 means unlabelled)')
    return (features, labels) if known.all() else (features[known], labels[known])

# Copyright (c) mmssl contributors. All rights reserved.
"""Linear classifiers on frozen features: one for each learning rate and weight decay, all trained at once."""
import math

import numpy as np
import torch

from .checks import check_features, labelled

LRS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1., 3., 10.)


def run(train_features,
        train_labels,
        test_features,
        test_labels,
        lrs=LRS,
        weight_decays=(0., ),
        epochs=30,
        batch_size=256,
        momentum=0.9,
        val_fraction=0.1,
        standardize=True,
        seed=0,
        device=None):
    """Linear evaluation with a sweep over learning rates (as in DINOv2, Oquab et al., 2023, arXiv:2304.07193, B.3).

    The classifiers share each batch: their weights stand side by side in one matrix, so that all scores are one product
    and all gradients another. Softmax regression by SGD with momentum, from zero weights, rates falling along half a
    cosine. With several views of the training images epoch e sees view e modulo their number.

    The setting is chosen on a held-out part of the training set; then all classifiers are trained on the whole of it.
    Its accuracy is `top1`. The best by the test set itself, `best_on_test`, flatters.

    Args:
        train_features (Tensor | ndarray): N x D, or V x N x D for V augmented views of the N images.
        train_labels (Tensor | ndarray): N integers, -1 where unlabelled; classes need not be contiguous.
        test_features (Tensor | ndarray): M x D.
        test_labels (Tensor | ndarray): M integers, as `train_labels`. Classes unknown in training count as wrong.
        lrs (Sequence[float]): Learning rates, for batches of any size as they are.
        weight_decays (Sequence[float]): Each is combined with each rate; of weights, not of biases.
        epochs (int): Passes over the training set.
        batch_size (int): Samples in a batch.
        momentum (float): Of SGD.
        val_fraction (float): Share of the labelled training samples that is held out for the choice; 0 for none, when
            one setting is given.
        standardize (bool): Subtract mean and divide by standard deviation of the training features, as a batch norm
            without parameters before the classifier does.
        seed (int): Of the held-out part and the order of samples.
        device (torch.device | str, optional): Where to train; by default where the training features are.

    Returns:
        dict: `top1` and `top5` of the chosen setting as fractions, its `lr` and `weight_decay`, `best_on_test`, and
        `sweep`: a list of dicts of lr, weight_decay, val_top1, top1, top5 and diverged; accuracies of a classifier
        that diverged are None. Integers num_train, num_test, num_classes, views.

    Raises:
        ValueError: Settings out of range, one class only, or features and labels that do not fit together.
        FloatingPointError: All classifiers diverged.
    """
    grid = [(float(lr), float(wd)) for lr in lrs for wd in weight_decays]
    if not grid or any(not lr > 0 or wd < 0 for lr, wd in grid):
        raise ValueError(f'learning rates must be positive and weight decays not negative, got {lrs} and '
                         f'{weight_decays}')
    if epochs < 1 or batch_size < 1:
        raise ValueError(f'epochs and batch_size must be at least 1, got {epochs} and {batch_size}')
    if not 0 <= val_fraction < 1 or (val_fraction == 0 and len(grid) > 1):
        raise ValueError('val_fraction must be from 0 to less than 1, and above 0 where a setting is to be chosen; '
                         f'got {val_fraction} for {len(grid)} settings')
    views = torch.as_tensor(train_features)
    views = views[None] if views.ndim == 2 else views
    if views.ndim != 3:
        raise ValueError(f'training features must be N x D or V x N x D, got shape {tuple(views.shape)}')
    parts = [labelled(*check_features(view, train_labels, 'training'), 'training') for view in views]
    views, labels = torch.stack([part[0].float() for part in parts]), parts[0][1]
    test, targets = labelled(*check_features(test_features, test_labels, 'test'), 'test')
    if test.shape[1] != views.shape[2]:
        raise ValueError(f'training features have {views.shape[2]} dimensions, test features {test.shape[1]}')
    classes, labels = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f'there is one class only, {int(classes[0])}: nothing to tell apart')
    device = torch.device(device) if device is not None else views.device
    if standardize:
        test = test.float().clone()
        _standardize(views.view(-1, views.shape[2]), test)
    views, labels, test = views.to(device), labels.to(device), test.to(device).float()
    place = torch.searchsorted(classes, targets.to(classes.device)).clamp_(max=len(classes) - 1)
    targets = torch.where(classes[place] == targets.to(classes.device), place, -1).to(device)

    options = dict(grid=grid, classes=len(classes), epochs=epochs, batch_size=batch_size, momentum=momentum, seed=seed)
    order = torch.from_numpy(np.random.default_rng([seed, 0]).permutation(len(labels))).to(device)
    held = math.ceil(val_fraction * len(labels))
    if held >= len(labels):
        raise ValueError(f'{len(labels)} labelled training samples are too few to hold out {val_fraction:g} of them')
    accuracies = [[None] * 2 for _ in grid]
    if held:
        weight, bias = train_classifiers(views, labels, rows=order[held:], **options)
        # the plain image is not among augmented views: the first view stands for it
        accuracies = _accuracies(views[0, order[:held]], labels[order[:held]], weight, bias)
    weight, bias = train_classifiers(views, labels, **options)
    sweep = [
        dict(lr=lr, weight_decay=wd, val_top1=val[0], top1=top1, top5=top5, diverged=top1 is None)
        for (lr, wd), val, (top1, top5) in zip(grid, accuracies, _accuracies(test, targets, weight, bias))
    ]
    sound = [row for row in sweep if not row['diverged'] and (row['val_top1'] is not None or not held)]
    if not sound:
        raise FloatingPointError(f'linear classifiers of all learning rates diverged: {[lr for lr, _ in grid]}; '
                                 'smaller ones are needed')
    best = max(sound, key=lambda row: row['val_top1'] or 0)
    return dict(
        top1=best['top1'],
        top5=best['top5'],
        lr=best['lr'],
        weight_decay=best['weight_decay'],
        best_on_test=max(row['top1'] for row in sound),
        sweep=sweep,
        num_train=len(labels),
        num_test=len(targets),
        num_classes=len(classes),
        views=len(views))


@torch.no_grad()
def train_classifiers(views, labels, grid, classes, epochs, batch_size=256, momentum=0.9, seed=0, rows=None):
    """Softmax regressions of all settings at once.

    Args:
        views (Tensor): V x N x D float32.
        labels (Tensor): N int64 from 0 to `classes` - 1.
        grid (Sequence[tuple[float, float]]): Learning rate and weight decay of each classifier.
        classes (int): Number of classes C.
        epochs, batch_size, momentum, seed: See `run`.
        rows (Tensor, optional): Those of the N samples that take part; all by default.

    Returns:
        tuple[Tensor, Tensor]: Weights, H x D x C, and biases, H x C.
    """
    rows = torch.arange(len(labels), device=views.device) if rows is None else rows
    count, size, heads = len(rows), views.shape[2], len(grid)
    # D + 1 rows, the last being the biases; the columns of a classifier stand together
    weight = views.new_zeros(size + 1, heads * classes)
    velocity = torch.zeros_like(weight)
    rates = weight.new_tensor([lr for lr, _ in grid]).repeat_interleave(classes)
    decays = weight.new_tensor([wd for _, wd in grid]).repeat_interleave(classes)
    steps = epochs * math.ceil(count / batch_size)
    step = 0
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng([seed, 1, epoch]).permutation(count))
        order = order.to(views.device, non_blocking=True)
        view = views[epoch % len(views)]
        for batch in rows[order].split(batch_size):
            x, y = view[batch], labels[batch]
            scores = torch.addmm(weight[-1], x, weight[:-1]).view(len(batch), heads, classes)
            gradient = scores.softmax(2)
            own = y[:, None, None].expand(-1, heads, 1)
            gradient.scatter_add_(2, own, gradient.new_full((len(batch), heads, 1), -1))
            gradient = gradient.flatten(1) / len(batch)
            velocity *= momentum
            velocity[:-1].addmm_(x.T, gradient)
            velocity[:-1].addcmul_(weight[:-1], decays)
            velocity[-1] += gradient.sum(0)
            rate = 0.5 * (1 + math.cos(math.pi * step / steps))
            weight.addcmul_(velocity, rates, value=-rate)
            step += 1
    weight = weight.view(size + 1, heads, classes).permute(1, 0, 2)
    return weight[:, :-1], weight[:, -1]


def _standardize(train, test, rows=4096):
    """Give both, in place, the mean 0 and standard deviation 1 of the columns of `train`; computed in float64."""
    mean = sum(part.double().sum(0) for part in train.split(rows)) / len(train)
    std = (sum((part.double() - mean).square_().sum(0) for part in train.split(rows)) / len(train)).sqrt_()
    std[std == 0] = 1  # a constant dimension tells nothing
    for x in (train, test):
        here, scale = mean.to(x.device), std.to(x.device)
        for part in x.split(rows):
            part.copy_((part.double() - here) / scale)


def _accuracies(features, targets, weight, bias):
    """Top-1 and top-5 accuracy of each classifier as fractions; None for one with weights that are no numbers."""
    found = []
    for w, b in zip(weight, bias):
        scores = features @ w + b
        if not torch.isfinite(scores).all():
            found.append((None, None))
            continue
        own = scores.gather(1, targets.clamp(min=0)[:, None])
        earlier = torch.arange(scores.shape[1], device=scores.device) < targets[:, None]
        rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
        found.append(tuple(float(((rank < n) & (targets >= 0)).double().mean()) for n in (1, 5)))
    return found

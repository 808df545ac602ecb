# Copyright (c) mmssl contributors. All rights reserved.
"""Linear SVMs on frozen features, with all labels or a few, as on Pascal VOC 2007 (Goyal et al., arXiv:1905.01235)."""
import warnings

import numpy as np

from .average_precision import METHODS, average_precision, mean_average_precision
from .checks import check_features, labelled

COSTS = (1.0, 10.0, 100.0)
SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)
FEW_NUMBERS = 5 * 10**7  # fits that read fewer take a few seconds, as the start of processes does


def run(train_features,
        train_targets,
        test_features,
        test_targets,
        costs=COSTS,
        folds=3,
        ap='voc2010',
        open_labels='negative',
        n_jobs=-1):
    """One SVM a class against the rest, each with the cost of the best cross-validated average precision.

    Features are divided by their L2 norm. An SVM has the squared hinge loss, an L2 penalty, double weight on
    positives, and is solved in its dual in at most 2000 iterations. Costs are compared by the mean of scikit-learn's
    average precision over the folds; of equal ones the first is taken. The test samples serve for the score alone.

    Args:
        train_features (Tensor | ndarray): N x D.
        train_targets (Tensor | ndarray): N x C, 1 where the class is in the image, 0 where not, -1 where that is
            open, as for objects that are difficult to see; or N integer labels, -1 where unlabelled.
        test_features (Tensor | ndarray): M x D.
        test_targets (Tensor | ndarray): As `train_targets`. Open ones stay out of the score.
        costs (Sequence[float]): Weights of the loss to choose from. With one only there is no cross-validation.
        folds (int): Parts of the cross-validation, with equal shares of positives, in the order of the samples.
        ap (str): Definition of average precision on the test samples, see average_precision.METHODS.
        open_labels (str): What training makes of -1 in N x C targets: 'negative', as in the published benchmark,
            or 'out', to leave those samples out.
        n_jobs (int): Processes, -1 for as many as cores. The result does not depend on it.

    Returns:
        dict: 'mAP', and by class 'AP' (None without a positive test sample: such a class is not in the mean), 'cost'
        and 'cross_validated_AP' (one a cost; None with one cost); 'accuracy' of the highest score, for integer labels
        (a test label that is not trained counts as wrong); 'classes' (labels or columns), 'without_positives'
        (number of them), 'ap', 'costs', 'folds', 'num_fits', 'unconverged' (fits that reached the limit of
        iterations), 'num_train' and 'num_test'.

    Raises:
        ValueError: Features and targets do not fit together, hold NaN, or a class has too few samples.
    """
    costs = _check_options(costs, ap)
    if not isinstance(folds, int) or folds < 2:
        raise ValueError(f'folds must be an integer of at least 2, got {folds!r}')
    if open_labels not in ('negative', 'out'):
        raise ValueError(f"open_labels must be 'negative' or 'out', got {open_labels!r}")
    x, y, z, truth, classes, labels = _prepare(train_features, train_targets, test_features, test_targets)
    rows = [np.flatnonzero(column >= 0) if open_labels == 'out' else np.arange(len(x)) for column in y.T]
    least = folds if len(costs) > 1 else 1
    for column, of_class, name in zip(y.T, rows, classes):
        counts = dict(positive=(column[of_class] > 0).sum(), negative=(column[of_class] <= 0).sum())
        for kind, count in counts.items():
            if count < least:
                raise ValueError(f'class {name} has {count} {kind} training samples, ' +
                                 (f'fewer than folds={folds}' if count and least > 1 else 'at least one is needed'))

    cross_validated, unconverged, num_fits = None, 0, len(classes)
    if len(costs) > 1:
        parts = [_folds(column[of_class] > 0, of_class, folds) for column, of_class in zip(y.T, rows)]
        jobs = [(c, i, f) for i in np.argsort(costs)[::-1] for c in range(len(classes)) for f in range(folds)]
        found = _fit_all([(x, *parts[c][f], y[:, c] > 0, costs[i]) for c, i, f in jobs], n_jobs)
        aps = np.empty((len(classes), len(costs), folds))
        for (c, i, f), (scores, converged) in zip(jobs, found):
            aps[c, i, f] = average_precision(y[parts[c][f][1], c] > 0, scores)
            unconverged += not converged
        cross_validated = aps.mean(2)
        num_fits += len(jobs)
    best = np.zeros(len(classes), int) if cross_validated is None else cross_validated.argmax(1)
    found = _fit_all([(x, of_class, z, column > 0, costs[b]) for of_class, column, b in zip(rows, y.T, best)], n_jobs)
    scores = np.stack([s for s, _ in found], 1)
    unconverged += sum(not converged for _, converged in found)
    mean, each = mean_average_precision(truth, scores, ap)
    result = dict(mAP=mean)
    if labels is not None:
        result['accuracy'] = float((classes[scores.argmax(1)] == labels).mean())
    return dict(
        result,
        AP=[None if np.isnan(value) else float(value) for value in each],
        cost=[costs[b] for b in best],
        cross_validated_AP=cross_validated if cross_validated is None else cross_validated.tolist(),
        classes=classes.tolist(),
        without_positives=int(np.isnan(each).sum()),
        ap=ap,
        costs=list(costs),
        folds=folds,
        num_fits=num_fits,
        unconverged=int(unconverged),
        num_train=len(x),
        num_test=len(z))


def run_low_shot(train_features,
                 train_targets,
                 test_features,
                 test_targets,
                 k=SHOTS,
                 draws=5,
                 costs=COSTS,
                 ap='voc2010',
                 seed=0,
                 samples=None,
                 n_jobs=-1):
    """SVMs that learn from k positives a class, over several draws of them.

    Everything else is as in `run`. Of each k that cost is reported whose mean over the draws is best. As in the
    published benchmark it is the test samples that choose it, so its figures are those of the best cost in hindsight;
    'by_cost' has the others.

    Args:
        train_features, train_targets, test_features, test_targets: As in `run`.
        k (Sequence[int]): Numbers of positives.
        draws (int): How often the training samples are drawn.
        costs (Sequence[float]): Weights of the loss.
        ap (str): As in `run`.
        seed (int): Of the draws, see `draw_samples`.
        samples (callable, optional): (k, draw) to N x C targets, 1 and 0 for samples that are taken and -1 for
            others, instead of those of `draw_samples`.
        n_jobs (int): As in `run`.

    Returns:
        dict: 'k{k}' for each k, with 'mean', 'min', 'max' and 'std' (population) over the draws of the mean average
        precision over classes, the 'cost' that they belong to, and 'by_cost', a list of the same for each cost;
        'costs', 'draws', and 'ap', 'without_positives', 'num_fits', 'unconverged', 'num_train' and 'num_test' as in
        `run`.

    Raises:
        ValueError: As in `run`, or a class has fewer samples than are drawn.
    """
    costs = _check_options(costs, ap)
    ks = (k, ) if isinstance(k, int) else tuple(k)
    if not ks or any(not isinstance(n, int) or n < 1 for n in ks) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f'k and draws must be positive integers, got {k!r} and {draws!r}')
    x, y, z, truth, classes, labels = _prepare(train_features, train_targets, test_features, test_targets)

    def drawn(n, draw):
        if samples is None:
            return draw_samples(y, n, draw, seed, shared=labels is not None, classes=classes)
        targets = np.asarray(samples(n, draw))
        if targets.shape != y.shape:
            raise ValueError(f'samples of k={n}, draw {draw}: expected {" x ".join(map(str, y.shape))} targets, '
                             f'got shape {targets.shape}')
        return targets

    jobs, tasks = [], []
    for i, n in enumerate(ks):
        for draw in range(draws):
            for column, c in zip(drawn(n, draw).T, range(len(classes))):
                rows = np.flatnonzero(column >= 0)
                if len(np.unique(column[rows] > 0)) < 2:
                    raise ValueError(f'k={n}, draw {draw}: class {classes[c]} needs positive and negative samples')
                for j, cost in enumerate(costs):
                    jobs.append((i, draw, j, c))
                    tasks.append((x, rows, z, column > 0, cost))
    scored = (truth > 0).any(0)
    aps = np.zeros((len(ks), draws, len(costs), len(classes)))
    unconverged = 0
    for job, (scores, converged) in zip(jobs, _fit_all(tasks, n_jobs)):
        unconverged += not converged
        if scored[job[-1]]:
            column = truth[:, job[-1]]
            aps[job] = average_precision(column, scores, column >= 0, ap)
    mean_ap = aps[..., scored].mean(-1)  # k x draws x costs
    result = {}
    for n, values in zip(ks, mean_ap):
        by_cost = [
            dict(
                cost=cost,
                mean=float(column.mean()),
                min=float(column.min()),
                max=float(column.max()),
                std=float(column.std())) for cost, column in zip(costs, values.T)
        ]
        result[f'k{n}'] = {**max(by_cost, key=lambda row: row['mean']), 'by_cost': by_cost}
    return dict(
        result,
        costs=list(costs),
        draws=draws,
        ap=ap,
        without_positives=int((~scored).sum()),
        num_fits=len(tasks),
        unconverged=int(unconverged),
        num_train=len(x),
        num_test=len(z))


def draw_samples(targets, k, draw, seed=0, shared=False, classes=None):
    """The training targets of one draw: for each class k positives and (C - 1) k negatives.

    Args:
        targets (ndarray): N x C with 1, 0 and -1 (never drawn).
        k (int): Number of positives of each class.
        draw (int): Number of the draw.
        seed (int): A draw depends on (seed, draw, k) and the targets.
        shared (bool): The k positives of each class are the negatives of all others: for images of one class each.
        classes (Sequence, optional): Names of the classes, for the message.

    Returns:
        ndarray: N x C int8, as `targets` where drawn and -1 elsewhere.

    Raises:
        ValueError: A class has fewer samples than are drawn.
    """
    rng = np.random.default_rng([seed, draw, k])
    num_classes = targets.shape[1]
    output = np.full(targets.shape, -1, np.int8)
    for c, column in enumerate(targets.T):
        for value, count in ((1, k), ) if shared else ((1, k), (0, (num_classes - 1) * k)):
            candidates = np.flatnonzero(column == value)
            if len(candidates) < count:
                raise ValueError(f'k={k}: class {c if classes is None else classes[c]} has {len(candidates)} '
                                 f'{"positive" if value else "negative"} samples, {count} are drawn')
            chosen = rng.choice(candidates, count, replace=False)
            if shared:
                output[chosen] = targets[chosen]
            else:
                output[chosen, c] = value
    return output


def _check_options(costs, ap):
    costs = (costs, ) if isinstance(costs, (int, float)) else tuple(float(cost) for cost in costs)
    if not costs or any(not 0 < cost < float('inf') for cost in costs):
        raise ValueError(f'costs must be positive numbers, got {costs!r}')
    if ap not in METHODS:
        raise ValueError(f'ap must be one of {METHODS}, got {ap!r}')
    return costs


def _prepare(train_features, train_targets, test_features, test_targets):
    """Normalised features, N x C targets and classes, and the test labels where these are integers."""
    kinds = np.ndim(train_targets), np.ndim(test_targets)
    if kinds == (1, 1):
        x, y = labelled(*check_features(train_features, train_targets, 'training'), 'training')
        z, labels = labelled(*check_features(test_features, test_targets, 'test'), 'test')
        y, labels = y.cpu().numpy(), labels.cpu().numpy()
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(f'there is one class only, {classes[0]}: nothing to tell apart')
        y, truth = ((values[:, None] == classes).astype(np.int8) for values in (y, labels))
    elif kinds == (2, 2):
        (x, y), (z, truth) = (_multi_label(features, targets, what)
                              for features, targets, what in ((train_features, train_targets, 'training'),
                                                              (test_features, test_targets, 'test')))
        if y.shape[1] != truth.shape[1]:
            raise ValueError(f'training targets are of {y.shape[1]} classes, test targets of {truth.shape[1]}')
        labels, classes = None, np.arange(y.shape[1])
    else:
        raise ValueError(f'targets must be N integers or N x C, for training and test alike, got {kinds[0]} and '
                         f'{kinds[1]} dimensions')
    if x.shape[1] != z.shape[1]:
        raise ValueError(f'training features have {x.shape[1]} dimensions, test features {z.shape[1]}')
    if not (truth > 0).any():
        raise ValueError('no test sample is of a class that is trained')
    return _normalized(x), y, _normalized(z), truth, classes, labels


def _multi_label(features, targets, what):
    features, _ = check_features(features, what=what)
    targets = np.asarray(targets.cpu() if hasattr(targets, 'cpu') else targets)
    if len(targets) != len(features):
        raise ValueError(f'{what} features have {len(features)} samples, their targets {len(targets)}')
    wrong = targets[~np.isin(targets, (1, 0, -1))]
    if wrong.size:
        raise ValueError(f'{what} targets of N x C must be 1, 0 or -1, got {wrong.flat[0]!r}')
    return features, targets.astype(np.int8)


def _normalized(features):
    """Rows of about unit norm in float64. The small number in the denominator is that of the published benchmark."""
    features = features.cpu().numpy().astype(np.float64)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-5)


def _folds(positive, rows, folds):
    """(training rows, held-out rows) of each fold."""
    from sklearn.model_selection import StratifiedKFold
    return [(rows[a], rows[b]) for a, b in StratifiedKFold(folds).split(positive, positive)]


def _fit_all(tasks, n_jobs):
    """`_fit` of each task, in order."""
    return in_parallel(_fit, tasks, n_jobs, sum(len(rows) * features.shape[1] for features, rows, *_ in tasks))


def in_parallel(function, tasks, n_jobs, numbers):
    """`function(*task)` of each task, in order. Processes share the large arrays, which lie in a mapped file.

    Args:
        function (callable): Of this module or another one that processes can import.
        tasks (Sequence[tuple]): Arguments of each call.
        n_jobs (int): Processes, -1 for as many as cores; then this one alone does what others would take longer to
            start for.
        numbers (int): How many numbers the tasks read together.
    """
    from sklearn.utils.parallel import Parallel, delayed
    if n_jobs == -1 and numbers < FEW_NUMBERS:
        n_jobs = 1
    return Parallel(n_jobs=n_jobs)(delayed(function)(*task) for task in tasks)


def _fit(features, rows, held_out, positive, cost):
    """Train one SVM and score with it.

    Args:
        features (ndarray): N x D.
        rows (ndarray): Those to learn from.
        held_out (ndarray): Features to score, M x D, or the rows of `features` to score.
        positive (ndarray): N bool.
        cost (float): Weight of the loss.

    Returns:
        tuple[ndarray, bool]: M scores, and whether the solver converged.
    """
    svm = train_svm(features[rows], positive[rows], cost)
    test = features[held_out] if held_out.ndim == 1 else held_out
    return svm.decision_function(test), svm.n_iter_ < svm.max_iter


def train_svm(features, positive, cost):
    """One SVM of a class against the rest, with the settings of the published benchmark; see `run`.

    Args:
        features (ndarray): N x D.
        positive (ndarray): N bool.
        cost (float): Weight of the loss.

    Returns:
        LinearSVC: Trained.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC
    svm = LinearSVC(
        C=cost,
        class_weight={
            True: 2,
            False: 1
        },
        intercept_scaling=1.0,
        tol=1e-4,
        dual=True,
        max_iter=2000,
        random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)  # counted instead
        svm.fit(features, positive)
    return svm

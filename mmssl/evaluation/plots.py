# Copyright (c) mmssl contributors. All rights reserved.
"""Pictures of what was learned. Functions take arrays and write PNG files; no display is needed."""
import numpy as np

from mmssl.utils.misc import atomic_write

_INK, _MUTED, _RIGHT, _WRONG = '#222222', '#8a8a8a', '#2a9d4f', '#d1342f'


def _figure(width, height):
    from matplotlib.figure import Figure  # has its own canvas: no display, no global state
    return Figure(figsize=(width, height), layout='constrained', facecolor='white')


def _save(figure, path):
    with atomic_write(path, 'wb') as file:
        figure.savefig(file, format='png', dpi=130)


def _head(axes, text, color=_INK):
    """A heading that may run over the columns to its right; a short one of the row keeps its space."""
    axes.text(0, 1.1, text, transform=axes.transAxes, fontsize=9, color=color).set_in_layout(False)


def _show(axes, image, frame=None):
    """Draw an H x W x C uint8 image of one or three channels; small ones with their pixels to be seen."""
    image = np.asarray(image)
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    axes.imshow(image, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=frame is not None, color=frame, linewidth=2.5)


def plot_views(originals, views, path, title='What the network is taught to see as the same'):
    """Samples, one a row: the image as it is, then its augmented views.

    Args:
        originals (Sequence[ndarray]): Images, uint8 H x W x C.
        views (Sequence[Sequence[ndarray]]): The views of each.
        path (str): PNG file.
        title (str): Above the picture.
    """
    columns = 1 + max(len(v) for v in views)
    figure = _figure(0.95 * columns + 0.3, 0.95 * len(originals) + 0.8)
    figure.suptitle(title, fontsize=11, color=_INK)
    grid = figure.subplots(
        len(originals),
        columns + 1,
        squeeze=False,
        gridspec_kw=dict(width_ratios=[1, 0.12, *[1] * (columns - 1)], wspace=0.04, hspace=0.04))
    for row, original, row_views in zip(grid, originals, views):
        _show(row[0], original)
        for axes in row[1:]:
            axes.axis('off')
        for axes, view in zip(row[2:], row_views):
            axes.axis('on')
            _show(axes, view)
    grid[0][0].set_title('image', fontsize=9, color=_MUTED)
    _head(grid[0][2], 'its views', _MUTED)
    _save(figure, path)


def plot_loss(steps, losses, path, knn=None, title='Pre-training'):
    """The loss over training, and below it, if given, the accuracy of kNN while training.

    Args:
        steps (Sequence[float]): Epochs (fractions of one too) of the losses.
        losses (Sequence[float]): The loss at each.
        path (str): PNG file.
        knn (tuple[Sequence[float], Sequence[float]], optional): Epochs, and accuracies as fractions.
        title (str): Above the picture.
    """
    knn = knn if knn and len(knn[0]) else None
    figure = _figure(7, 4.8 if knn else 3.4)
    plots = figure.subplots(2 if knn else 1, 1, sharex=True, squeeze=False)[:, 0]
    curves = [('loss', steps, losses, '#2b6cb0')
              ] + ([('kNN accuracy, %', knn[0], np.multiply(knn[1], 100), _RIGHT)] if knn else [])
    for axes, (name, x, y, color) in zip(plots, curves):
        axes.plot(x, y, color=color, linewidth=1.6, marker='o' if len(x) < 40 else None, markersize=3)
        axes.set_ylabel(name, color=_INK)
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
        if len(x):
            axes.annotate(
                f'{y[-1]:.2f}' if name == 'loss' else f'{y[-1]:.1f}', (x[-1], y[-1]),
                xytext=(6, 0),
                textcoords='offset points',
                va='center',
                color=color,
                fontsize=9,
                annotation_clip=False)
    plots[0].set_title(title, fontsize=11, color=_INK)
    plots[-1].set_xlabel('epoch')
    _save(figure, path)


def embed_tsne(features, seed=0):
    """t-SNE of L2-normalised features in the plane (van der Maaten and Hinton, 2008), by scikit-learn.

    Args:
        features (ndarray): N x D; a few thousand samples take some seconds.
        seed (int): Of the random start.

    Returns:
        ndarray: N x 2.
    """
    from sklearn.manifold import TSNE
    features = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    perplexity = min(30, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init='pca', random_state=seed).fit_transform(features)


def plot_embeddings(embeddings, labels, classes, path, title='t-SNE of the features'):
    """Points in the plane, coloured by class, one panel an embedding.

    Args:
        embeddings (dict[str, ndarray]): N x 2 points under the title of their panel.
        labels (ndarray): N integers.
        classes (Sequence[str]): Names of the classes 0, 1, ...
        path (str): PNG file.
        title (str): Above the picture.
    """
    import matplotlib
    figure = _figure(4.4 * len(embeddings) + 1.4, 4.7)
    figure.suptitle(title, fontsize=11, color=_INK)
    present = np.unique(labels)
    colors = matplotlib.colormaps['tab10' if len(present) <= 10 else 'gist_rainbow']
    for axes, (name, points) in zip(figure.subplots(1, len(embeddings), squeeze=False)[0], embeddings.items()):
        for i, label in enumerate(present):
            color = colors(i) if len(present) <= 10 else colors(i / len(present))
            chosen = points[labels == label]
            axes.scatter(*chosen.T, s=9, color=color, label=str(classes[label]), linewidths=0, alpha=0.8)
        axes.set_title(name, fontsize=10, color=_INK)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color('#dddddd')
    if len(present) <= 30:
        figure.legend(*axes.get_legend_handles_labels(), loc='outside right center', frameon=False, markerscale=2.2)
    _save(figure, path)


def plot_neighbours(queries, neighbours, path, title='Nearest neighbours: same class green, another one red'):
    """Queries, one a row, and their nearest neighbours by each kind of features.

    Args:
        queries (Sequence[ndarray]): Images, uint8 H x W x C.
        neighbours (dict[str, tuple]): Under the heading of each kind of features: for each query the images of its
            neighbours, nearest first, and for each query whether each of them is of its class.
        path (str): PNG file.
        title (str): Above the picture.
    """
    shown = len(next(iter(neighbours.values()))[0][0])
    gap = 0.3
    widths = [1]
    for _ in neighbours:
        widths += [gap, *[1] * shown]
    figure = _figure(0.72 * sum(widths), 0.76 * len(queries) + 0.8)
    figure.suptitle(title, fontsize=11, color=_INK)
    grid = figure.subplots(
        len(queries), len(widths), squeeze=False, gridspec_kw=dict(width_ratios=widths, wspace=0.08, hspace=0.08))
    for axes in grid.flat:
        axes.axis('off')
    for row, query in zip(grid, queries):
        row[0].axis('on')
        _show(row[0], query)
    grid[0][0].set_title('query', fontsize=9, color=_MUTED)
    for block, (heading, (images, right)) in enumerate(neighbours.items()):
        first = 2 + block * (shown + 1)
        for row, row_images, row_right in zip(grid, images, right):
            for axes, image, same in zip(row[first:], row_images, row_right):
                axes.axis('on')
                _show(axes, image, _RIGHT if same else _WRONG)
        _head(grid[0][first], heading)
    _save(figure, path)

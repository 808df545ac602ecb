# Copyright (c) mmssl contributors. All rights reserved.
"""Pictures of what was learned. Functions take arrays and write PNG files; no display is needed."""
import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmssl.utils.misc import atomic_write

_INK, _MUTED, _RIGHT, _WRONG = '#222222', '#8a8a8a', '#2a9d4f', '#d1342f'


def _figure(width, height, layout='constrained', facecolor='white'):
    from matplotlib.figure import Figure  # has its own canvas: no display, no global state
    return Figure(figsize=(width, height), layout=layout, facecolor=facecolor)


def _save(figure, path):
    """Write a figure into a file by its name, or as PNG into one that is open."""
    if hasattr(path, 'write'):
        return figure.savefig(path, format='png', dpi=130)
    with atomic_write(path, 'wb') as file:
        figure.savefig(file, format=Path(path).suffix[1:] or 'png', dpi=130)


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


class Tile(NamedTuple):
    """An image in a sheet.

    Attributes:
        image (ndarray): uint8, H x W x C.
        caption (str): A line or two below it.
        mask (ndarray, optional): h x w, true where the image is hidden; each entry covers a cell of a grid over it.
    """
    image: np.ndarray
    caption: str = ''
    mask: np.ndarray = None


def plot_views(samples,
               path,
               title='What the network is taught to see as the same',
               headings=('image', 'its views'),
               cell=1.):
    """A sheet of samples: each image as it is stored, and what a pipeline makes of it.

    Views are drawn in their true relative sizes; the stored images are scaled to those of the largest view.

    Args:
        samples (Sequence[tuple[Tile, Sequence]]): Of each sample the stored image and its blocks; a block is a list of
            rows of Tiles. Blocks stand side by side, in several lines where they do not fit in one.
        path (str): PNG file.
        title (str): Above the sheet.
        headings (tuple[str, str]): Above the stored images and above the blocks.
        cell (float): Length of the side of the largest view and of the stored images, in inches.
    """
    gap, gutter, line, widest = 0.05, 0.16, 0.135, 11.  # inches
    largest = max(
        max(tile.image.shape[:2]) for _, blocks in samples for block in blocks for row in block for tile in row)

    placed, bottom, right = [], 0.62, 0.

    def place(row, x, y, scale):
        """Put a row of tiles down from (x, y) on; its right and lower ends."""
        height = 0.
        for tile in row:
            h, w = (n * scale for n in tile.image.shape[:2])
            words = [part for text in tile.caption.splitlines() for part in textwrap.wrap(text, max(8, int(w / 0.049)))]
            placed.append((tile, '\n'.join(words), x, y, w, h))
            height = max(height, h + line * len(words))
            x += w + gap
        return x, y + height

    for original, blocks in samples:
        top, left = bottom, 2 * gap
        x, below = place([original], left, top, cell / max(original.image.shape[:2]))
        first = x = left + cell + 2 * gutter
        for block in blocks:
            width = max(sum(tile.image.shape[1] * cell / largest + gap for tile in row) for row in block)
            if x > first and x + width > widest:
                x, top = first, below + gap
            y, end = top, x
            for row in block:
                row_end, y = place(row, x, y, cell / largest)
                y, end = y + gap, max(end, row_end)
            below, right, x = max(below, y), max(right, end), end + gutter - gap
        bottom = below + gutter
    width = max(right + gap, 0.09 * len(title), first + 0.08 * len(headings[1]))
    figure = _figure(width, bottom, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(bottom, 0))
    axes.axis('off')
    axes.text(width / 2, 0.2, title, fontsize=11, color=_INK, ha='center', va='center')
    for text, x in zip(headings, (2 * gap, first)):
        axes.text(x, 0.56, text, fontsize=9, color=_MUTED, va='bottom')
    for tile, caption, x, y, w, h in placed:
        box = dict(extent=(x, x + w, y + h, y), aspect='auto')
        image = tile.image[..., 0] if tile.image.shape[2] == 1 else tile.image[..., :3]
        # small images keep their pixels to be seen, large ones are shrunk without aliasing
        smooth = 'nearest' if image.shape[1] < 60 else 'antialiased'
        axes.imshow(image, cmap='gray', vmin=0, vmax=255, interpolation=smooth, **box)
        axes.plot([x, x + w, x + w, x, x], [y, y, y + h, y + h, y], color='#cccccc',
                  linewidth=0.5)  # white ones end too
        if tile.mask is not None:
            cover = np.zeros((*tile.mask.shape, 4))
            cover[tile.mask.astype(bool)] = (0.5, 0.5, 0.5, 0.93)
            axes.imshow(cover, interpolation='nearest', **box)
            rows, columns = tile.mask.shape
            if w / columns > 0.04:  # lines of a finer grid would hide what is seen
                style = dict(color='white', linewidth=0.3)
                axes.hlines(np.linspace(y, y + h, rows + 1), x, x + w, **style)
                axes.vlines(np.linspace(x, x + w, columns + 1), y, y + h, **style)
        axes.text(x, y + h + 0.02, caption, fontsize=6, color=_INK, va='top', linespacing=1.15)
    axes.set(xlim=(0, width), ylim=(bottom, 0))
    _save(figure, path)


def smoothed(values, weight):
    """Exponential moving average, without a pull towards its start.

    Args:
        values (Sequence[float]): The values.
        weight (float): Of the past, 0 to below 1.

    Returns:
        list[float]: As many.
    """
    mean, averages = 0., []
    for count, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        averages.append(mean / (1 - weight**count))
    return averages


def plot_curves(panels, path, title='Training', xlabel='epoch', smooth=0., style=None, backend=None):
    """Curves of one or several trainings, a panel for each thing measured.

    Args:
        panels (dict[str, list[tuple[str, Sequence[float], Sequence[float]]]]): Under the name of each panel a name, x
            and y of each curve; curves of one name have one colour.
        path (str | BinaryIO | None): File, PNG or what its ending says; or an open one for a PNG.
        title (str): Above the picture.
        xlabel (str): Below it.
        smooth (float): Weight of the past in a moving average, 0 to below 1; the values themselves are drawn pale.
        style (str, optional): A style of matplotlib, or of seaborn: 'dark', 'whitegrid', ...
        backend (str, optional): A backend of matplotlib that opens a window, such as 'TkAgg'.
    """
    import matplotlib
    import matplotlib.style
    if backend:
        matplotlib.use(backend)
    if style is None:
        style = {'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True, 'grid.alpha': 0.25}
    elif f'seaborn-v0_8-{style}' in matplotlib.style.available:
        style = f'seaborn-v0_8-{style}'
    names = list(dict.fromkeys(name for curves in panels.values() for name, _, _ in curves))
    with matplotlib.style.context(style):
        size = (7.5, 0.9 + 2.6 * len(panels))
        if backend:
            from matplotlib import pyplot
            figure = pyplot.figure(figsize=size, layout='constrained')
        else:
            figure = _figure(*size, facecolor=None)
        figure.suptitle(title, fontsize=11)
        for axes, (panel,
                   curves) in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels.items()):
            ends = []
            for name, x, y in curves:
                i = names.index(name)
                look = dict(color=f'C{i % 10}', linestyle=('-', '--', ':', '-.')[i // 10 % 4])
                marker = dict(marker='o', markersize=3) if len(x) < 40 else {}
                if smooth:
                    axes.plot(x, y, linewidth=1, alpha=0.25, **look)
                    y = smoothed(y, smooth)
                axes.plot(x, y, linewidth=1.6, label=name, **look, **marker)
                if len(names) <= 3:
                    ends.append((x[-1], y[-1], look['color']))
            _write_ends(axes, ends)
            axes.set_ylabel(panel)
        axes.set_xlabel(xlabel)
        figure.align_ylabels()
        if len(names) > 1:
            figure.legend(*_once(figure), loc='outside lower center', ncols=min(3, len(names)), frameon=False)
        if path is not None:
            _save(figure, path)
        if backend:
            pyplot.show()
            pyplot.close(figure)


def _write_ends(axes, ends):
    """Write the last values of curves behind them, none over another."""
    low, high = axes.get_ylim()
    points, free = 140 / (high - low), -math.inf  # about the height of a panel
    for x, y, color in sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1]):
        place = max(y * points, free)
        free = place + 9
        look = dict(color=color, fontsize=8, va='center', annotation_clip=False)
        axes.annotate(f'{y:.4g}', (x, y), xytext=(6, place - y * points), textcoords='offset points', **look)


def _once(figure):
    """Handles and names for a legend, of each name the first."""
    found = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels()):
            found.setdefault(name, handle)
    return list(found.values()), list(found)


def embed_tsne(features,
               seed=0,
               n_components=2,
               perplexity=None,
               early_exaggeration=12.,
               learning_rate='auto',
               max_iter=1000,
               n_iter_without_progress=300,
               init='pca'):
    """t-SNE of L2-normalised features (van der Maaten and Hinton, 2008), by scikit-learn.

    Args:
        features (ndarray): N x D; a few thousand samples take some seconds.
        seed (int): Of the random start. The same seed gives the same points.
        n_components (int): 2 or 3.
        perplexity (float, optional): About how many neighbours count, below N. None: 30, less for less than 91 samples.
        early_exaggeration, learning_rate, max_iter, n_iter_without_progress, init: See sklearn.manifold.TSNE.

    Returns:
        ndarray: N x n_components, float32.

    Raises:
        ValueError: All features are the same, as those of a collapsed network.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits
    features = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    if np.ptp(features, axis=0).max() < 1e-6:  # scikit-learn would end the process by a segmentation fault
        raise ValueError(f'all {len(features)} features are the same: the network has collapsed, and there is nothing '
                         'to draw')
    if perplexity is None:
        perplexity = min(30, (len(features) - 1) / 3)
    tsne = TSNE(
        n_components=n_components,
        perplexity=perplexity,
        early_exaggeration=early_exaggeration,
        learning_rate=learning_rate,
        max_iter=max_iter,
        n_iter_without_progress=n_iter_without_progress,
        init=init,
        random_state=seed)
    with threadpool_limits(1, 'openmp'):  # several threads add up in any order, and t-SNE amplifies the difference
        return tsne.fit_transform(features)


def draw_evenly(labels, max_classes, max_samples, seed=0):
    """Draw samples for a picture: of the first classes, as many of one as of the other as long as there are any.

    Args:
        labels (ndarray): N integers; -1 (unlabelled) is one more class.
        max_classes (int): How many of the classes that occur.
        max_samples (int): At most so many in all.
        seed (int): Of the draw.

    Returns:
        list[int]: Their indices, ascending.
    """
    known = np.unique(labels[labels >= 0])[:max_classes]
    candidates = np.random.default_rng(seed).permutation(np.flatnonzero(np.isin(labels, [-1, *known])))
    turn = np.zeros(len(candidates), int)  # the first of each class, then the second of each, ...
    for label in np.unique(labels[candidates]):
        mine = labels[candidates] == label
        turn[mine] = np.arange(mine.sum())
    return np.sort(candidates[np.argsort(turn, kind='stable')[:max_samples]]).tolist()


def class_colors(labels):
    """Colours that tell classes apart.

    Args:
        labels (Sequence[int]): The labels that occur, ascending; -1 (unlabelled) is grey.

    Returns:
        dict[int, str]: '#rrggbb' by label.
    """
    import matplotlib
    from matplotlib.colors import to_hex
    known = [int(label) for label in labels if label >= 0]
    names = {10: 'tab10', 20: 'tab20'}
    size = next((n for n in names if len(known) <= n), len(known))
    colors = matplotlib.colormaps[names.get(size, 'gist_rainbow')]
    return {-1: '#b0b0b0', **{label: to_hex(colors((i + 0.5) / size)) for i, label in enumerate(known)}}


def class_name(label, classes):
    """Name of a class in pictures."""
    if label < 0:
        return 'unlabelled'
    return str(label) if classes is None or label >= len(classes) else str(classes[label])


def plot_embeddings(embeddings, labels, classes, path, title='t-SNE of the features'):
    """Points in the plane or in space, coloured by class, one panel an embedding.

    Args:
        embeddings (dict[str, ndarray]): N x 2 or N x 3 points under the title of their panel.
        labels (ndarray): N integers, -1 = unlabelled.
        classes (Sequence[str] | None): Names of the classes 0, 1, ...
        path (str): PNG file.
        title (str): Above the picture.
    """
    columns = min(3, math.ceil(len(embeddings)**0.5))
    rows = -(-len(embeddings) // columns)
    figure = _figure(4.4 * columns + 1.4, 4.3 * rows + 0.4)
    figure.suptitle(title, fontsize=11, color=_INK)
    colors = class_colors(np.unique(labels))
    for place, (name, points) in enumerate(embeddings.items(), 1):
        space = dict(projection='3d') if points.shape[1] == 3 else {}
        axes = figure.add_subplot(rows, columns, place, **space)
        for label in np.unique(labels):
            axes.scatter(
                *points[labels == label].T,
                s=9,
                color=colors[label],
                label=class_name(label, classes),
                linewidths=0,
                alpha=0.8)
        axes.set_title(name, fontsize=10, color=_INK)
        if space:
            axes.set(xticklabels=[], yticklabels=[], zticklabels=[])
            continue
        axes.set(xticks=[], yticks=[])
        axes.set_aspect('equal', adjustable='datalim')
        for spine in axes.spines.values():
            spine.set_color('#dddddd')
    if len(colors) <= 31:
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


def plot_matches(first, second, grids, matches, path, title='Patches that match'):
    """Two images side by side, and lines between patches that match.

    Args:
        first, second (Tile): The images; captions stand above them.
        grids (tuple[tuple[int, int], tuple[int, int]]): Rows and columns of patches of each.
        matches (Sequence[tuple]): Of each pair the rows and columns of its patches, (row, column), (row, column), and
            how the line is drawn: True for a full one, False for a dashed one.
        path (str): PNG file.
        title (str): Above the picture.
    """
    import matplotlib
    gap, height = 0.3, 3.2  # inches
    widths = [height * tile.image.shape[1] / tile.image.shape[0] for tile in (first, second)]
    width = sum(widths) + 3 * gap
    figure = _figure(width, height + 0.75, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height + 0.75, 0))
    axes.axis('off')
    axes.text(width / 2, 0.2, title, fontsize=11, color=_INK, ha='center', va='center')
    corners = []
    for tile, w in zip((first, second), widths):
        x = gap if not corners else corners[0] + widths[0] + gap
        corners.append(x)
        image = tile.image[..., 0] if tile.image.shape[2] == 1 else tile.image[..., :3]
        smooth = 'nearest' if image.shape[1] < 60 else 'antialiased'
        axes.imshow(
            image,
            cmap='gray',
            vmin=0,
            vmax=255,
            interpolation=smooth,
            extent=(x, x + w, height + 0.55, 0.55),
            aspect='auto')
        axes.text(x, 0.5, tile.caption, fontsize=8, color=_MUTED, va='bottom')
    for number, (*places, full) in enumerate(matches):
        colour = matplotlib.colormaps['hsv'](number / len(matches))
        points = []
        for w, x, (rows, columns), (row, column) in zip(widths, corners, grids, places):
            points.append((x + (column + 0.5) * w / columns, 0.55 + (row + 0.5) * height / rows))
        axes.plot(*zip(*points), color=colour, linewidth=1.2, linestyle='-' if full else '--')
        axes.scatter(*zip(*points), s=28, color=[colour], edgecolors='white', linewidths=0.8, zorder=3)
    axes.set(xlim=(0, width), ylim=(height + 0.75, 0))
    _save(figure, path)

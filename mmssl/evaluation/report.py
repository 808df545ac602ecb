# Copyright (c) mmssl contributors. All rights reserved.
"""The report of an evaluation suite: one HTML file that loads nothing else, and the same table as text."""
import base64
import html
import io
import math

import numpy as np

from .plots import _INK, _MUTED, _figure, class_colors, class_name
from .sprites import data_uri, thumbnail

_PALETTE = ('#2b6cb0', '#d97706', '#2f855a', '#805ad5', '#c53030', '#4a5568')

# what the figures of the table mean, by the first words of their names
MEANINGS = {
    'kNN top-1': 'images whose class gets the most votes of their nearest training images; nothing is trained',
    'kNN top-5': 'images whose class is among the five with the most votes',
    'linear top-1': 'images that a linear classifier on the frozen features gets right',
    'linear top-5': 'images whose class is among the five that the linear classifier finds most likely',
    'logistic regression': 'accuracy of a classifier that sees a few labelled images of each class, mean over draws',
    'SVM mAP': 'average precision of one linear SVM a class against the rest, mean over classes',
    'SVM accuracy': 'images whose class has the highest score of all SVMs',
    'k-means NMI': 'what clusters, found without labels, tell of the classes: 0 % nothing, 100 % all',
    'k-means ARI': 'pairs of images on which clusters and classes agree, beyond chance: 0 % is chance',
    'k-means accuracy': 'images in the cluster that is matched with their class',
    'retrieval of the class, mAP':
    'how far up the images of its class stand when all are ranked by likeness to an image',
    'retrieval of the class, mP@10': 'images of the same class among the ten most alike',
    'nearest': 'neighbours in the training set that have the class of the image',
    'effective rank': 'number of directions that the features fill: 1 is collapse, higher is richer',
    'spread': 'standard deviation of features of length one: 1 is even over all directions, 0 a single point',
    'uniformity': 'how evenly the features fill the sphere: 0 is a single point, about -4 is even',
    'alpha-ReQ':
    'how steeply the spectrum falls: near 1 is best, far above few directions are used, far below it is noise',
    'cluster learnability': 'how well neighbours foretell the cluster of an image: without labels, higher is better',
    'intrinsic dimension': 'number of dimensions in which the features vary near an image',
}


def meaning(words):
    """One sentence about a metric of the table, by its words; '' for one that is not known."""
    return next((text for start, text in MEANINGS.items() if words.startswith(start)), '')


def _number(value, percent, reference=None):
    """A value in words; of a baseline also how much higher the checkpoint's is, which is `reference`."""
    if value is None:
        return ''
    if math.isnan(value):
        return 'not defined'
    text = f'{100 * value:.2f} %' if percent else f'{value:.3g}'
    if reference is None or math.isnan(reference):
        return text
    return f'{text} ({100 * (reference - value):+.2f})' if percent else f'{text} ({reference - value:+.2g})'


def table_rows(found):
    """Rows of the summary: a headline metric each, its value in each column, and after that of a baseline in brackets
    how much higher the checkpoint's is (in percentage points where values are per cent).

    Args:
        found (dict): By column and protocol dicts with 'headline' (numbers by their words) and, where these are no
            fractions, 'numbers'.

    Returns:
        list[tuple[str, str, list[str]]]: Protocol, words of the metric, and its value in each column, '' where none.
    """
    columns = list(found)
    rows = []
    for protocol in dict.fromkeys(name for column in columns for name in found[column]):
        parts = [found[column].get(protocol, {}) for column in columns]
        for words in dict.fromkeys(w for part in parts for w in part.get('headline', {})):
            percent = not any(part.get('numbers') for part in parts)
            own, *others = (part.get('headline', {}).get(words) for part in parts)
            rows.append((protocol, words, [_number(own, percent), *(_number(other, percent, own) for other in others)]))
    return rows


def markdown(report, found):
    """The report as text: a table, and what did not run."""
    columns = list(found)
    lines = [
        f'# {report["title"]}', '', '| protocol | metric | ' + ' | '.join(columns) + ' |',
        '|---|---|' + '---:|' * len(columns)
    ]
    lines += [f'| {name} | {words} | ' + ' | '.join(values) + ' |' for name, words, values in table_rows(found)]
    lines += [''] + class_notes(report)
    if report['not_run']:
        lines += ['', 'Not run:', '']
        lines += [f'- {entry["protocol"]} ({entry["column"]}): {entry["reason"]}' for entry in report['not_run']]
    return '\n'.join(lines) + '\n'


def class_notes(report):
    """Sentences on classes that one split has and the other lacks; `report` has 'classes' as run_suite writes it."""
    notes = []
    for split, matched in report.get('classes', {}).items():
        for key, words in (('left_out', f'images of {split} left out, since their classes have no training image'),
                           ('absent', f'classes of training without an image in {split}'),
                           ('empty', 'classes without a training image'),
                           ('unknown',
                            f'images of {split} with labels that no training image has; they count as wrong')):
            entries = matched[key]
            if entries:
                names = [f'{name} ({count})'
                         for name, count in entries.items()] if isinstance(entries, dict) else entries
                notes.append(f'- {words}: {", ".join(names)}')
    return notes


def top_confusions(truth, predicted, count=10):
    """The pairs of classes that are confused most often.

    Args:
        truth, predicted (ndarray): N labels.
        count (int): At most so many pairs.

    Returns:
        list[tuple[int, int, int, float]]: True class, predicted class, how often, and that as a share of the class.
    """
    wrong = truth != predicted
    pairs, times = np.unique(np.stack([truth[wrong], predicted[wrong]], 1), axis=0, return_counts=True)
    order = np.argsort(-times, kind='stable')[:count]
    return [(int(a), int(b), int(n), float(n / (truth == a).sum())) for (a, b), n in zip(pairs[order], times[order])]


def confusion_matrix(truth, predicted):
    """Counts of true (rows) and predicted (columns) classes.

    Returns:
        tuple[ndarray, ndarray]: The labels that occur, ascending, and K x K counts.
    """
    labels = np.unique(np.concatenate([truth, predicted]))
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (np.searchsorted(labels, truth), np.searchsorted(labels, predicted)), 1)
    return labels, counts


def _uri(kind, content):
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def _picture(figure, alt):
    """A matplotlib figure as an <img> that scales."""
    import matplotlib
    buffer = io.BytesIO()
    with matplotlib.rc_context({'svg.hashsalt': 'mmssl'}):  # the same report gives the same file
        figure.savefig(buffer, format='svg', metadata=dict(Date=None))
    return f'<img class="plot" src="{_uri("svg+xml", buffer.getvalue())}" alt="{html.escape(alt)}">'


def _axes(width=5.4, height=3.3, **labels):
    figure = _figure(width, height)
    axes = figure.add_subplot()
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    for side in ('left', 'bottom'):
        axes.spines[side].set_color('#cbd5e0')
    axes.tick_params(colors='#4a5568', labelsize=9, length=0)
    axes.grid(axis='y', color='#edf0f4', linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlabel(labels.get('xlabel', ''), fontsize=9, color='#4a5568')
    axes.set_ylabel(labels.get('ylabel', ''), fontsize=9, color='#4a5568')
    return figure, axes


def _lines(series, xlabel, ylabel, ticks=None, log=False, dashed=()):
    """Curves, one a name; `dashed` are levels (name, value) across the picture."""
    figure, axes = _axes(xlabel=xlabel, ylabel=ylabel)
    for (name, (x, y)), color in zip(series.items(), _PALETTE):
        axes.plot(x, y, color=color, marker='o', markersize=4.5, linewidth=1.8, label=name)
    for (name, value), style in zip(dashed, ('--', ':', '-.')):
        axes.axhline(value, color=_MUTED, linestyle=style, linewidth=1.2, label=name)
    if log:
        axes.set_xscale('log')
        axes.minorticks_off()
    if ticks is not None:
        axes.set_xticks(*ticks)
    if len(series) + len(dashed) > 1 or dashed:
        axes.legend(fontsize=8.5, frameon=False, labelcolor=_INK)
    return figure


def _confusion(truth, predicted, classes):
    labels, counts = confusion_matrix(truth, predicted)
    share = counts / counts.sum(1, keepdims=True).clip(1)
    side = 5.4
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(share, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
    names = [class_name(label, classes) for label in labels]
    if len(labels) <= 30:
        axes.set_xticks(range(len(labels)), names, rotation=45, ha='right', fontsize=8, rotation_mode='anchor')
        axes.set_yticks(range(len(labels)), names, fontsize=8)
    else:
        axes.set(xticks=[], yticks=[])
    if len(labels) <= 10:
        for i, row in enumerate(share):
            for j, value in enumerate(row):
                if counts[i, j]:
                    axes.text(
                        j,
                        i,
                        f'{100 * value:.0f}',
                        ha='center',
                        va='center',
                        fontsize=8,
                        color='white' if value > 0.55 else _INK)
    axes.tick_params(length=0, colors='#4a5568')
    axes.set_xlabel('predicted', fontsize=9, color='#4a5568')
    axes.set_ylabel('true class (per cent of it)', fontsize=9, color='#4a5568')
    for spine in axes.spines.values():
        spine.set_color('#cbd5e0')
    return figure


def _scatter(points, labels, classes):
    figure = _figure(5.4, 4.2)
    axes = figure.add_subplot()
    for label, color in class_colors(np.unique(labels)).items():
        mine = labels == label
        if mine.any():
            axes.scatter(*points[mine].T, s=9, color=color, label=class_name(label, classes), linewidths=0, alpha=.8)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(np.unique(labels)) <= 20:
        figure.legend(*axes.get_legend_handles_labels(), loc='outside right center', frameon=False, fontsize=8)
    return figure


def _thumbnail(image):
    return data_uri(thumbnail(image, 64))


def _panel(name, rows, images, classes):
    if not rows:
        return _card(name, '', 'None: all neighbours of all queries are of the right class.')
    lines = []
    for query, label, neighbours, labels in rows:
        word = html.escape(class_name(label, classes))
        cells = [f'<figure><img src="{_thumbnail(images("val", query))}" alt="query, {word}"></figure>']
        for place, other in zip(neighbours, labels):
            kind = '' if label < 0 or other < 0 else 'right' if other == label else 'wrong'
            text = html.escape(class_name(other, classes))
            cells.append(f'<figure class="{kind}"><img src="{_thumbnail(images("train", place))}" alt="{text}" '
                         f'title="{text}"></figure>')
        lines.append(f'<div class="label">{word}</div><div class="strip">{"".join(cells)}</div>')
    return f'<div class="card"><h3>{html.escape(name)}</h3>{"".join(lines)}</div>'


def _card(heading, body, note='', wide=False):
    note = f'<p class="note">{note}</p>' if note else ''
    return f'<div class="card{" wide" if wide else ""}"><h3>{html.escape(heading)}</h3>{note}{body}</div>'


def _table(headings, rows, kind='', notes=None):
    """A table of words; `notes` are sentences for the second column of each row. On a phone each row is a block."""

    def cells(row, note):
        for i, (word, cell) in enumerate(zip(headings, row)):
            value, _, gain = html.escape(str(cell)).partition(' (') if notes and i > 1 else (html.escape(str(cell)), 0,
                                                                                             '')
            value += f'<small>{gain.rstrip(")")}</small>' if gain else ''
            value += f'<small>{html.escape(note)}</small>' if note and i == 1 else ''
            yield f'<td data-label="{html.escape(str(word))}">{value}</td>'

    head = ''.join(f'<th>{html.escape(str(word))}</th>' for word in headings)
    body = ''.join(f'<tr>{"".join(cells(row, note))}</tr>' for row, note in zip(rows, notes or [''] * len(rows)))
    inner = f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
    return f'<div class="scroll"><table class="{kind}">{inner}</table></div>'


def page(report, found, images, classes, labels, names):
    """The report as an HTML page.

    Args:
        report (dict): 'title', 'facts' (words by name), 'not_run' (dicts with 'protocol', 'column', 'reason'), 'main'
            (the layer that most protocols look at) and 'times' (seconds by name).
        found (dict): By column and protocol what `mmssl.apis.suite.run_protocols` gives.
        images (callable): Split ('train' or 'val') and row to the image, uint8 H x W x C.
        classes (Sequence[str] | None): Names of the classes.
        labels (ndarray): Of the scored split, -1 = unlabelled.
        names (callable): Row of the scored split to the name of its file.

    Returns:
        str: The page.
    """
    first, *others = found
    own, main = found[first], report['main']
    rows = table_rows(found)
    tiles = ''.join(f'<div class="tile"><b>{html.escape(values[0])}</b><span>{html.escape(words)}</span></div>'
                    for _, words, values in rows if values[0])
    parts = [f'<section class="tiles">{tiles}</section>'] if tiles else []
    notes = [html.escape(note[2:]) for note in class_notes(report)]
    if notes:
        parts.append(
            f'<section class="card warn"><h3>Classes of the two splits differ</h3>{"<br>".join(notes)}</section>')
    if report['not_run']:
        parts.append('<section class="card warn"><h3>Not run</h3>' +
                     _table(['protocol', 'column', 'reason'], [[e['protocol'], e['column'], e['reason']]
                                                               for e in report['not_run']]) + '</section>')
    if rows:
        note = 'Grey figures of a comparison say how much higher the checkpoint is.' if others else ''
        notes = [meaning(words) for _, words, _ in rows]
        parts.append('<h2>Summary</h2>' + _card(
            'Figures',
            _table(['protocol', 'metric', *found], [[name, words, *values]
                                                    for name, words, values in rows], 'summary', notes), note))

    cards = []
    curves = {name: list(zip(*y.items())) for part in own.values() for name, y in part.get('by_layer', {}).items()}
    if any(len(x) > 1 for x, _ in curves.values()):
        order = list(dict.fromkeys(layer for x, _ in curves.values() for layer in x))
        levels = [(f'{name}, {column}', next(iter(y.values()))) for column in others
                  for name, y in found[column].get('knn', {}).get('by_layer', {}).items()]
        figure = _lines(
            {
                name: ([order.index(layer) for layer in x], [100 * v for v in y])
                for name, (x, y) in curves.items()
            },
            'layer',
            'accuracy, %',
            ticks=(range(len(order)), order),
            dashed=[(name, 100 * value) for name, value in levels])
        cards.append(_card('Accuracy by layer', _picture(figure, 'accuracy by layer')))
    if 'by_k' in own.get('knn', {}):
        by_k = own['knn']['by_k']
        ks = list(next(iter(by_k.values())))
        figure = _lines({
            f'T = {t}': (ks, [100 * y[k] for k in ks])
            for t, y in by_k.items()
        },
                        'neighbours that vote, k',
                        'accuracy, %',
                        ticks=(ks, ks),
                        log=True)
        cards.append(_card(f'kNN by k and temperature ({main})', _picture(figure, 'kNN accuracy by k')))
    for name, part in own.items():
        if 'sweep' in part:
            x, y = zip(*sorted(part['sweep'].items()))
            figure = _lines({name: (x, [100 * v for v in y])}, part['sweep_of'], 'accuracy, %', log=True)
            cards.append(_card(f'{name}: {part["sweep_of"]}', _picture(figure, f'sweep of {name}')))
    spectra = {column: found[column].get('representation', {}).get('spectrum') for column in found}
    spectra = {column: [v for v in values if v > 1e-12] for column, values in spectra.items() if values}
    if any(spectra.values()):
        figure, axes = _axes(xlabel='principal direction', ylabel='share of the variance')
        for (column, values), color in zip(spectra.items(), _PALETTE):
            axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.8, label=column)
        axes.set(xscale='log', yscale='log')
        axes.legend(fontsize=8.5, frameon=False)
        cards.append(
            _card('Spectrum of the features', _picture(figure, 'eigenvalues of the covariance'),
                  'Eigenvalues of the covariance. A steep fall means that few directions carry everything.'))
    if cards:
        parts.append(f'<h2>Curves</h2><section class="grid">{"".join(cards)}</section>')
    if 'confusion' in own.get('knn', {}):
        truth, predicted = own['knn']['confusion']
        pairs = [[class_name(a, classes), class_name(b, classes), n, f'{100 * share:.1f} %']
                 for a, b, n, share in top_confusions(truth, predicted)]
        parts.append(
            '<h2>Confusions of kNN</h2><section class="grid">' +
            _card('Confusion matrix', _picture(_confusion(truth, predicted, classes), 'confusion matrix')) +
            _card('Most frequent confusions', _table(['true class', 'taken for', 'images', 'of the class'], pairs)) +
            '</section>')
    if 'panels' in own.get('neighbours', {}):
        panels = ''.join(
            _panel(name, members, images, classes) for name, members in own['neighbours']['panels'].items())
        parts.append('<h2>Nearest neighbours</h2><p class="note">Left the query, then its nearest training images, '
                     'nearest first: <span class="key right">same class</span> <span class="key wrong">another '
                     f'class</span></p><section class="grid panels">{panels}</section>')
    if 'tsne' in own.get('tsne', {}):
        from .scatter_page import scatter_page
        picked, points = own['tsne']['tsne']
        inner = scatter_page({main: points}, labels[picked], classes, [names(i) for i in picked],
                             (images('val', i) for i in picked), 't-SNE')
        still = _picture(_scatter(points, labels[picked], classes), 't-SNE')
        parts.append(f'<h2>Map of the features</h2><div class="card"><p class="note">t-SNE of {len(picked)} images, '
                     'layer ' + html.escape(main) + '. Hover over a point to see its image.</p><iframe title="t-SNE" '
                     f'srcdoc="{html.escape(inner)}"></iframe><noscript>{still}</noscript></div>')
    times = [[name, f'{seconds:.1f} s'] for name, seconds in report['times'].items()]
    parts.append('<h2>How this was measured</h2><section class="grid">' +
                 _card('Settings', _table(['', ''], list(report['facts'].items()), 'facts')) +
                 _card('Time', _table(['step', 'seconds'], times)) + '</section>')
    title = html.escape(report['title'])
    return _PAGE.replace('@TITLE@', title).replace('@SUB@',
                                                   html.escape(report.get('subtitle',
                                                                          ''))).replace('@BODY@', '\n'.join(parts))


_PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>@TITLE@</title>
<style>
  * { box-sizing: border-box; }
  body { margin: 0; background: #f6f7f9; color: #1f2933; font: 15px/1.5 system-ui, sans-serif; }
  header { background: #fff; border-bottom: 1px solid #e2e8f0; padding: 26px 0 20px; }
  header > div, main { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
  main { padding-bottom: 60px; }
  h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
  header p, .note { color: #64748b; margin: 0; overflow-wrap: anywhere; }
  .note { font-size: 13px; margin: 0 0 10px; }
  h2 { font-size: 18px; margin: 36px 0 12px; }
  h3 { font-size: 14px; margin: 0 0 10px; }
  .card { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px; padding: 16px 18px; min-width: 0; }
  .warn { border-color: #f6c16b; background: #fffaf0; margin-top: 20px; }
  .tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 12px; margin-top: 22px; }
  .tile { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px; padding: 12px 16px; }
  .tile b { display: block; font-size: 22px; font-weight: 650; color: #2b6cb0; }
  .tile span { font-size: 12.5px; color: #64748b; line-height: 1.35; display: block; }
  .grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; }
  .grid > .card:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .plot { width: 100%; max-width: 560px; height: auto; display: block; margin: 0 auto; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
  th { text-align: left; font-size: 12px; font-weight: 600; color: #64748b; }
  th, td { padding: 7px 10px 7px 0; border-bottom: 1px solid #edf0f4; vertical-align: top; }
  tbody tr:last-child td { border-bottom: 0; }
  .summary th:nth-child(n+3), .summary td:nth-child(n+3) { text-align: right; white-space: nowrap; }
  .summary td:first-child, .facts td:first-child { color: #64748b; }
  .summary td:nth-child(3) { font-weight: 650; }
  td small { display: block; font-size: 12px; font-weight: 400; color: #64748b; white-space: normal; }
  .facts thead { display: none; }
  .facts td { overflow-wrap: anywhere; }
  .facts td:first-child { overflow-wrap: normal; }
  .label { font-size: 12px; color: #64748b; margin: 6px 0 2px; }
  .strip { max-width: 540px; display: grid; grid-template-columns: 1.1fr 10px repeat(8, 1fr); gap: 4px; }
  .strip figure { margin: 0; border: 3px solid transparent; border-radius: 5px; overflow: hidden; aspect-ratio: 1;
                  background: #edf0f4; }
  .strip figure:first-child { border-color: #94a3b8; grid-column: 1; }
  .strip figure:nth-child(2) { grid-column: 3; }
  .strip img { width: 100%; height: 100%; object-fit: contain; display: block; image-rendering: pixelated; }
  .right { border-color: #2a9d4f !important; }
  .wrong { border-color: #d1342f !important; }
  .key { border: 2px solid; border-radius: 4px; padding: 0 6px; white-space: nowrap; }
  iframe { width: 100%; height: 560px; border: 0; display: block; }
  @media (max-width: 560px) {
    header > div, main { padding-left: 12px; padding-right: 12px; }
    .card { padding: 12px; }
    .tiles { grid-template-columns: 1fr 1fr; }
    .strip { gap: 2px; grid-template-columns: 1.1fr 3px repeat(8, 1fr); }
    .strip figure { border-width: 2px; }
    table { font-size: 13px; }
    td, th { overflow-wrap: anywhere; }
    .summary, .summary tbody, .summary tr, .summary td { display: block; }
    .summary thead, .summary td:first-child { display: none; }
    .summary tr { padding: 8px 0; border-bottom: 1px solid #edf0f4; }
    .summary td { border: 0; padding: 1px 0; }
    .summary tr td:nth-child(n+3):empty { display: none; }
    .summary td:nth-child(2) { font-weight: 600; }
    .summary td:nth-child(n+3) { display: flex; gap: 8px; text-align: left; }
    .summary td:nth-child(n+3)::before { content: attr(data-label); flex: 1; color: #64748b; font-weight: 400; }
  }
</style>
</head>
<body>
<header><div><h1>@TITLE@</h1><p>@SUB@</p></div></header>
<main>
@BODY@
</main>
</body>
</html>
'''

# Copyright (c) mmssl contributors. All rights reserved.
"""Curves of a training as pieces of a page: SVG that stretches, with its words beside it in HTML."""
import html
import math
from typing import NamedTuple

_POINTS = 400  # of a curve, at most
_LARGEST = 1e300  # value that is drawn: the height of a chart and sums of values must be floats


class Chart(NamedTuple):
    """One picture of curves.

    Attributes:
        title (str): Above it.
        curves (dict[str, tuple[list, list]]): Places along the training and values, under the name of each curve; the
            first one is the main one.
        percent (bool): Whether values are fractions to be shown in per cent.
        meaning (str): A sentence about it.
        wide (bool): Whether it may take two columns.
        unit (str): What is counted along the training.
    """
    title: str
    curves: dict
    percent: bool = False
    meaning: str = ''
    wide: bool = False
    unit: str = 'epoch'


# title, keys of the log (the end * stands for any), percent, meaning
_KNOWN = [
    ('Loss', ['loss', 'loss_*', '*_loss', 'loss.*'], False, ''),
    ('kNN accuracy', ['knn_top1', 'knn_top5'], True, 'images whose class gets most votes of their nearest neighbours'),
    ('RankMe', ['quality_rankme'], False, 'directions that the features fill: higher is richer'),
    ('Alpha-ReQ', ['quality_alpha_req'], False, 'how steeply the spectrum falls: near 1 is best'),
    ('Cluster learnability', ['quality_cluster_learnability'], False, 'how well neighbours foretell the cluster'),
    ('Intrinsic dimension', ['quality_intrinsic_dimension'], False, 'dimensions in which features vary near an image'),
    ('Effective rank', ['effective_rank'], False, 'directions that the projections fill: 1 is collapse'),
    ('Spread', ['feature_std'], False, '1 is even over all directions, 0 a single point: collapse'),
    ('Uniformity', ['uniformity'], False, '0 is a single point, about -4 is even over the sphere'),
    ('Alignment', ['alignment'], False, 'distance between two views of an image: 0 is the same'),
    ('Learning rate', ['lr', 'lr.*'], False, ''),
    ('Images a second', ['img_per_sec'], False, ''),
    ('Waiting for data', ['data_share'], True, 'share of the time in which the network waits for images'),
    ('Memory, MB', ['memory'], False, ''),
]
_LEFT_OUT = ('time', 'data_time', 'knn_best')


def charts_of(log):
    """The charts of a log, those that a reader asks for first in front.

    Args:
        log (TrainingLog): The log.

    Returns:
        list[Chart]: With what is there.
    """
    left = [key for key in log.keys() if key not in _LEFT_OUT]
    unit = 'epoch' if len({row['epoch'] for row in log.rows}) > 1 else 'iter'
    words = dict(epoch='epoch', iter='iteration')[unit]
    charts = []
    for title, patterns, percent, meaning in _KNOWN:
        keys = [key for pattern in patterns for key in left if _fits(key, pattern)]
        keys = list(dict.fromkeys(keys))
        left = [key for key in left if key not in keys]
        if keys:
            curves = {key: _thinned(*log.curve(key, unit)) for key in keys}
            charts.append(Chart(title, curves, percent, meaning, title in ('Loss', 'kNN accuracy'), words))
    charts += [Chart(key, {key: _thinned(*log.curve(key, unit))}, unit=words) for key in left]
    return charts


def _fits(key, pattern):
    start, star, end = pattern.partition('*')
    return key.startswith(start) and key.endswith(end) and len(key) > len(pattern) - 1 if star else key == pattern


def _thinned(x, y):
    """At most so many points, each the mean of its neighbours; an epoch that has a value that is none keeps it.

    Values beyond _LARGEST count as infinite.
    """
    y = [v if abs(v) <= _LARGEST else v * math.inf for v in y]
    step = math.ceil(len(x) / _POINTS)
    if step == 1:
        return x, y
    parts = [slice(i, i + step) for i in range(0, len(x), step)]
    return [sum(x[part]) / len(x[part]) for part in parts], [sum(y[part]) / len(y[part]) for part in parts]


def number(value, percent=False):
    """A value in words."""
    if value is None or not math.isfinite(value):
        return 'not a number' if value is None or math.isnan(value) else 'infinite'
    if percent:
        return f'{100 * value:.1f} %'
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f'{value:.2e}'
    if abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.4g}' if abs(value) < 100 else f'{value:.1f}'


def ticks(low, high, count=4):
    """Round numbers within a range, about so many."""
    if not low < high:
        return [low]
    raw = (high - low) / count
    power = 10.**math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def draw(chart, place):
    """A chart as HTML.

    Args:
        chart (Chart): The chart.
        place (int): Its number, by which the script finds its values.

    Returns:
        str: A figure.
    """
    values = [v for _, y in chart.curves.values() for v in y if math.isfinite(v)]
    xs = [v for x, _ in chart.curves.values() for v in x]
    x, y = next(iter(chart.curves.values()))
    finite = [v for v in y if math.isfinite(v)]
    lost = sum(not math.isfinite(v) for _, ys in chart.curves.values() for v in ys)
    words = _in_words(chart, x, finite)
    note = f'<small class="bad">{lost} values are not finite</small>' if lost else ''
    if not values:
        return (f'<figure class="chart"><figcaption><b>{html.escape(chart.title)}</b></figcaption>'
                f'<p class="empty">All values are NaN or infinite.</p></figure>')
    low, high = min(values), max(values)
    if chart.title in ('Learning rate', 'Waiting for data', 'Images a second', 'Memory, MB'):
        low = min(0., low)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    spare = (high - low) * 0.06
    bottom, top = (low if low == 0 else low - spare), high + spare
    left, right = min(xs), max(xs)
    if left == right:
        left, right = left - 0.5, right + 0.5

    def place_x(v):
        return round(1000 * (v - left) / (right - left), 1)

    def place_y(v):
        return round(1000 * (top - v) / (top - bottom), 1)

    yticks, xticks = ticks(bottom, top), _few(ticks(left, right, 5), chart.unit, left, right)
    scale = 100 if chart.percent else 1
    digits = _digits([t * scale for t in yticks])
    grid = ''.join(f'M0 {place_y(t)}H1000' for t in yticks)
    ylabels = ''.join(f'<span style="top:{place_y(t) / 10:.2f}%">{_tick(t * scale, digits)}'
                      f'{" %" if chart.percent else ""}</span>' for t in yticks)
    xdigits = _digits(xticks)
    xlabels = ''.join(f'<span style="left:{place_x(t) / 10:.2f}%">{_tick(t, xdigits)}</span>' for t in xticks)
    lines = ''.join(f'<path class="line l{min(i, 5)}" d="{_path(px, py, place_x, place_y)}"/>'
                    for i, (px, py) in reversed(list(enumerate(chart.curves.values()))))
    if len(x) <= 30:
        dots = ''.join(f'M{place_x(a)} {place_y(b)}h.01' for a, b in zip(x, y) if math.isfinite(b))
        lines += f'<path class="dots" d="{dots}"/>'
    legend = ''
    if len(chart.curves) > 1:
        legend = '<ul class="legend">' + ''.join(f'<li class="l{min(i, 5)}"><i></i>{html.escape(name)}</li>'
                                                 for i, name in enumerate(chart.curves)) + '</ul>'
    meaning = f'<p class="meaning">{html.escape(chart.meaning)}</p>' if chart.meaning else ''
    last = number(y[-1], chart.percent)
    return (
        f'<figure class="chart{" wide" if chart.wide else ""}" tabindex="0" role="group" data-chart="{place}" '
        f'aria-label="{html.escape(words)}" id="chart-{place}">'
        f'<figcaption><b>{html.escape(chart.title)}</b><output aria-live="off">{last}</output></figcaption>{meaning}'
        f'<div class="plot"><div class="yticks" aria-hidden="true">{ylabels}</div><div class="area">'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"><path class="grid" d="{grid}"/>'
        f'{lines}</svg><i class="cross" hidden></i></div></div>'
        f'<div class="xticks" aria-hidden="true">{xlabels}<em>{chart.unit}</em></div>{legend}{note}</figure>')


def _in_words(chart, x, finite):
    """The main curve for those who do not see it."""
    if not finite:
        return f'{chart.title}: no finite value'
    first, last = number(finite[0], chart.percent), number(finite[-1], chart.percent)
    lowest, highest = number(min(finite), chart.percent), number(max(finite), chart.percent)
    return (f'{chart.title}: {first} at first, {last} at last, lowest {lowest}, highest {highest}, over {chart.unit}s '
            f'{number(x[0])} to {number(x[-1])}. Arrow keys read single values.')


def _few(places, unit, left, right):
    """Those of the places that leave space for the word at the end; whole ones where there are several."""
    places = [place for place in places if place <= left + 0.86 * (right - left)]
    whole = [place for place in places if place % 1 == 0]
    return whole if unit == 'iteration' or len(whole) > 1 else places


def _digits(values):
    """Digits after the point that tell the values apart."""
    step = min((b - a for a, b in zip(values, values[1:])), default=abs(values[0]) if values else 1) or 1
    return max(0, math.ceil(-math.log10(abs(step)) - 1e-9)) + (
        round(step * 10**max(0, math.ceil(-math.log10(abs(step)) - 1e-9)), 6) % 1 > 0)  # 2.5 needs one more than 2


def _tick(value, digits):
    if value == 0:
        return '0'
    if abs(value) >= 1e5 or digits > 3:
        return f'{value:.2g}' if abs(value) >= 1e-3 else f'{value:.1e}'.replace('.0e', 'e').replace('e-0', 'e-')
    return f'{value:,.{digits}f}'


def _path(x, y, place_x, place_y):
    """The line of a curve, with gaps where it has no value."""
    parts, drawing = [], False
    for a, b in zip(x, y):
        if math.isfinite(b):
            parts.append(f'{"L" if drawing else "M"}{place_x(a)} {place_y(b)}')
        drawing = math.isfinite(b)
    return ''.join(parts)

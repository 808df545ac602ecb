# Copyright (c) mmssl contributors. All rights reserved.
"""The report of a training: one HTML file that loads nothing else and renews itself while the training goes on."""
import html
import json
import math
import time
from pathlib import Path

from mmssl.utils.command_words import shell_line
from mmssl.utils.errors import printable
from mmssl.utils.misc import json_ready
from mmssl.utils.times import format_time
from .run_charts import charts_of, draw, number

_MAP = (1000, 1000)  # units of the map
_STATES = dict(running='Training', finished='Finished', stopped='Stopped before its end')


def run_page(record, pictures=None, every=30):
    """The report of a run.

    Args:
        record (RunRecord): See `run_record.read_run`.
        pictures (dict, optional): `gallery` (of `Gallery.describe`), `first` and `now` (of `look`), `views` (of
            `look_at_views`), and `note`, why something of these is absent.
        every (float): Seconds after which the page may be another one, while the run goes on.

    Returns:
        str: An HTML page.
    """
    pictures = pictures or {}
    charts = charts_of(record.log) if record.log else []
    parts = [
        _header(record),
        '<main>',
        _tiles(record),
        _warnings(record),
        _curves(charts, record),
        _views(pictures),
        _neighbours(pictures),
        _map(pictures),
        _choices(record),
        _suites(record),
        _facts(record),
        '</main>',
        f'<footer>mmssl {html.escape(_version())} · <code>'
        f'{html.escape(shell_line(["mmssl", "report", printable(record.folder)]))}</code> '
        'writes this page anew.</footer>',
    ]
    data = dict(
        state=record.state,
        written=time.time(),
        every=every,
        charts=[_chart_data(chart) for chart in charts],
        **_map_data(pictures))
    # a file name must not end the script that it stands in
    text = json.dumps(json_ready(data)[0], separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')
    here = Path(__file__)
    style, script = (here.with_suffix(end).read_text(encoding='utf-8') for end in ('.css', '.js'))
    page = _PAGE.replace('@STYLE@', style + _sprite_style(pictures.get('gallery'))).replace('@SCRIPT@', script)
    title = f'{_STATES[record.state]}: {record.name}'
    page = page.replace('@TITLE@', html.escape(title)).replace('@DATA@', text).replace('@BODY@', '\n'.join(parts))
    return page.encode('utf-8', 'backslashreplace').decode()


_PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>@TITLE@</title>
<style>@STYLE@</style>
</head>
<body>
@BODY@
<script type="application/json" id="data">@DATA@</script>
<script>
@SCRIPT@
</script>
</body>
</html>
'''


def _version():
    from mmssl import __version__
    return __version__


def _header(record):
    share = min(1., record.done / record.total) if record.total and record.done is not None else None
    unit = dict(epoch='epochs', iter='iterations')[record.unit]
    bar = ''
    if share is not None:
        bar = (f'<div class="progress" role="progressbar" aria-label="{unit} done" aria-valuemin="0" '
               f'aria-valuemax="{record.total}" aria-valuenow="{record.done}"><i style="width:{100 * share:.1f}%"></i>'
               '</div>')
    written = time.strftime('%Y-%m-%d %H:%M:%S')
    return (f'<header><h1>{html.escape(printable(record.name))}</h1><div class="status {record.state}">'
            f'<b>{_STATES[record.state]}</b><span>{written}, <span id="news">written then</span></span>'
            f'<span>{html.escape(printable(record.folder))}</span></div>{bar}</header>')


def _latest(log, key):
    """The first, the last and the highest value of a key; None where there is none."""
    if log is None or key not in log.keys():
        return None
    values = log.curve(key)[1]
    finite = [value for value in values if math.isfinite(value)]
    return (values[0], values[-1], max(finite)) if finite else (values[0], values[-1], values[-1])


def _tiles(record):
    """The figures that a reader asks for first."""
    log, tiles = record.log, []
    if _latest(log, 'knn_top1'):
        first, last, best = _latest(log, 'knn_top1')
        tiles.append(('kNN accuracy', number(last, True), f'best {number(best, True)}, at first {number(first, True)}'))
    for key, words in (('quality_rankme', 'RankMe'), ('effective_rank', 'Effective rank')):
        if len(tiles) < 2 and _latest(log, key):
            first, last, _ = _latest(log, key)
            tiles.append((words, number(last), f'at first {number(first)}; 1 is collapse'))
            break
    if _latest(log, 'loss'):
        first, last, _ = _latest(log, 'loss')
        tiles.append(('Loss', number(last), f'at first {number(first)}'))
    unit = dict(epoch='Epoch', iter='Iteration')[record.unit]
    if record.done is not None:
        more = f'of {record.total:,}' if record.total else ''
        more += f', iteration {record.iteration:,}' if record.unit == 'epoch' and record.iteration else ''
        tiles.append((f'{unit}s done', f'{record.done:,}', more))
    if record.state == 'running':
        left = record.seconds_left
        tiles.append(('Time left', '–' if left is None else format_time(left),
                      f'after {format_time(record.seconds)}' if record.seconds else ''))
    elif record.seconds:
        tiles.append(('Time taken', format_time(record.seconds), 'since its last start'))
    speed = _latest(log, 'img_per_sec')
    wait = _latest(log, 'data_share')
    if speed:
        tiles.append(('Images a second', number(speed[1]), f'{number(wait[1], True)} of the time waits for data'
                      if wait else ''))  # yapf: disable
    cells = ''.join(f'<div class="tile"><span>{html.escape(words)}</span><b>{html.escape(value)}</b>'
                    f'<small>{html.escape(more)}</small></div>' for words, value, more in tiles[:6])
    return f'<section class="tiles" aria-label="Figures" style="--n:{len(tiles)}">{cells}</section>' if cells else ''


def _warnings(record):
    if not record.warnings:
        return ''
    lines = ''.join(f'<li>{_time(when)}{html.escape(printable_lines(text))}'
                    f'{f" ({count} times)" if count > 1 else ""}</li>' for when, text, count in record.warnings)
    count = len(record.warnings)
    return (f'<section class="card warnings"><h2>{count} warning{"s" * (count > 1)}</h2>'
            f'<ul>{lines}</ul></section>')


def _time(when):
    return f'<time>{html.escape(when[5:16])}</time>' if when else ''


def printable_lines(text):
    """A text of several lines without control characters."""
    return '\n'.join(map(printable, text.split('\n')))


def _curves(charts, record):
    if not charts:
        return '<p class="lead" style="margin-top:24px">There are no figures yet.</p>' if not record.log else ''
    return f'<section class="charts" aria-label="Curves">{"".join(map(draw, charts, range(len(charts))))}</section>'


def _chart_data(chart):
    """The main curve of a chart, for the script."""
    xs = [v for x, _ in chart.curves.values() for v in x]
    x, y = next(iter(chart.curves.values()))
    left, right = min(xs), max(xs)
    left, right = (left - 0.5, right + 0.5) if left == right else (left, right)
    values = [float(f'{v:.6g}') for v in y]
    return dict(
        x=[float(f'{v:.6g}') for v in x], y=values, percent=chart.percent, unit=chart.unit, **{'from': left}, to=right)


def _section(heading, lead, body, identity):
    lead = f'<p class="lead">{lead}</p>' if lead else ''
    return f'<section id="{identity}"><h2>{heading}</h2>{lead}{body}</section>'


def _img(image, alt):
    small = max(image['width'], image['height']) <= 40
    rendering = ' style="--rendering:pixelated"' if small else ''
    return (f'<img src="{image["uri"]}" width="{image["width"]}" height="{image["height"]}" alt="{html.escape(alt)}"'
            f'{rendering}>')


def _views(pictures):
    samples = pictures.get('views')
    if not samples:
        return ''
    largest = max((v['width'] for s in samples for row in s['rows'] for v in row), default=1)
    blocks = []
    for sample in samples:
        rows = []
        for row in sample['rows']:
            figures = ''.join(f'<figure style="--share:{v["width"] / largest:.3f}">{_img(v, "view")}'
                              f'{_caption(v["caption"])}</figure>' for v in row)
            rows.append(f'<div>{figures}</div>')
        if sample['more']:
            rows.append(f'<small class="meaning">and {sample["more"]} more</small>')
        blocks.append(f'<div class="sample"><figure>{_img(sample["image"], "as it is stored")}'
                      f'{_caption(sample["image"]["caption"])}</figure><div class="made">{"".join(rows)}</div></div>')
    return _section('What the network sees', 'On the left each image as it is stored, on the right its views in the '
                    'first epoch, in their true relative size.', f'<div class="card views">{"".join(blocks)}</div>',
                    'views')  # yapf: disable


def _caption(text):
    return f'<figcaption>{"<br>".join(map(html.escape, text.splitlines()))}</figcaption>' if text else ''


def _sprite_style(gallery):
    """One rule that holds the thumbnails of all images."""
    if not gallery:
        return ''
    (w, h), tile, columns = gallery['size'], gallery['tile'], gallery['columns']
    rows = -(-len(gallery['names']) // columns)
    rendering = 'pixelated' if tile <= 40 else 'auto'
    return (f'.thumb {{ --ratio: {w} / {h}; --cells: {100 * columns * tile / w:.3f}% {100 * rows * tile / h:.3f}%; '
            f'--rendering: {rendering}; background-image: url("{gallery["sprite"]}"); }}\n')


def _thumb(gallery, i, label=''):
    (w, h), tile, columns = gallery['size'], gallery['tile'], gallery['columns']
    rows = -(-len(gallery['names']) // columns)

    def part(n, count, side):
        return 100 * n * tile / (count * tile - side) if count * tile > side else 0.

    place = f'{part(i % columns, columns, w):.4g}% {part(i // columns, rows, h):.4g}%'
    words = f' role="img" aria-label="{html.escape(label)}"' if label else ''
    return f'<i class="thumb" style="background-position:{place}"{words}></i>'


def _class_of(gallery, i):
    """The class of an image, '' where it has none."""
    kind = gallery['labels'][i]
    return gallery['classes'][kind] if gallery['labelled'][kind] else ''


def _when(found):
    if found.get('epoch'):
        return f'after epoch {found["epoch"]}'
    return f'after iteration {found["iteration"]:,}' if found['iteration'] else 'before training'


def _neighbours(pictures):
    gallery, now, first = (pictures.get(name) for name in ('gallery', 'now', 'first'))
    if not gallery or not now or not now['neighbours']:
        note = (now or {}).get('note') or pictures.get('note')
        return _section('Nearest neighbours', html.escape(note), '', 'neighbours') if note else ''
    looks = [first, now] if first and first['neighbours'] and first['iteration'] != now['iteration'] else [now]
    titles = [_when(found).capitalize() for found in looks]
    shares = [
        '' if found['agreement'] is None else f': {number(found["agreement"], True)} of the same class'
        for found in looks
    ]
    heads = ''.join(f'<span>{title}{share}</span>' for title, share in zip(titles, shares))
    rows = [f'<div class="query head"><span>Image</span>{heads}</div>']
    for query in gallery['queries']:
        strips = []
        for found, title in zip(looks, titles):
            cells = []
            for other in found['neighbours'][query]:
                mine, theirs = _class_of(gallery, query), _class_of(gallery, other)
                kind = '' if not mine or not theirs else ' same' if mine == theirs else ' other'
                words = ', '.join(filter(None, [gallery['names'][other], theirs]))
                cells.append(
                    f'<div class="near{kind}" title="{html.escape(words)}">{_thumb(gallery, other, words)}</div>')
            strips.append(f'<div class="strip" data-when="{html.escape(title)}">{"".join(cells)}</div>')
        words = ', '.join(filter(None, [gallery['names'][query], _class_of(gallery, query)]))
        rows.append(f'<div class="query"><div title="{html.escape(words)}">{_thumb(gallery, query, words)}</div>'
                    f'{"".join(strips)}</div>')
    count = len(gallery['names'])
    lead = f'The images most alike to the network among {count:,} of {gallery["of"]:,}, nearest first.'
    if any(gallery['labelled']):
        lead += ' A dashed frame: of another class.'
    alone = '' if len(looks) == 2 else ' alone'
    return _section('Nearest neighbours', lead, f'<div class="card queries{alone}">{"".join(rows)}</div>', 'neighbours')


def hues(count):
    """Angles of colours that tell `count` classes apart, in degrees."""
    return [round((255 + 360 * i / max(1, count)) % 360, 1) for i in range(count)]


def _map(pictures):
    gallery, now = pictures.get('gallery'), pictures.get('now')
    if not gallery or not now:
        return ''
    if not now['points']:
        return _section('Map of the features', html.escape(now['note']), '', 'features')
    classes, labelled = gallery['classes'], gallery['labelled']
    angles = hues(sum(labelled))
    angles = [angles.pop(0) if known else 0 for known in labelled]
    groups = []
    for kind, (name, known) in enumerate(zip(classes, labelled)):
        dots = ''.join(f'<circle id="dot{i}" cx="{x}" cy="{y}" role="option"/>'
                       for i, (x, y) in enumerate(now['points']) if gallery['labels'][i] == kind)
        look = 'plain' if not any(labelled) else '' if known else 'none'
        groups.append(f'<g class="{look}" style="--h:{angles[kind]}">{dots}</g>')
    buttons = ''
    if len(classes) > 1:
        buttons = ''.join(f'<button type="button" data-class="{kind}" aria-pressed="true" id="class{kind}" '
                          f'class="{"" if labelled[kind] else "none"}" style="--h:{angles[kind]}"><i></i>'
                          f'{html.escape(name)}</button>' for kind, name in enumerate(classes))
    width, height = _extent(now)
    drawing = (f'<svg id="map" viewBox="0 0 {width} {height}" tabindex="0" role="listbox" '
               f'aria-label="Map of {len(now["points"])} images. Arrow keys go to the next dot, Page Up and Page Down '
               f'through all images, Escape ends.">{"".join(groups)}</svg>')
    controls = f'<label><input type="checkbox" id="pictures"> show the images</label>{buttons}'
    panel = ('<div id="dot" aria-live="polite"><span class="file">Point at a dot, or choose the map with Tab and go '
             'from dot to dot with the arrow keys.</span></div>')
    lead = (f'{now["method"]} of {len(now["points"]):,} images, {_when(now)}: close together is alike to the network. '
            'Distances between far groups mean little.')
    return _section('Map of the features', lead, f'<div class="card"><div class="explorer"><div class="map">{drawing}'
                    f'</div>{panel}</div><div class="classes">{controls}</div></div>', 'features')  # yapf: disable


def _extent(now):
    """Width and height of the part of the map that has points."""
    return _MAP[0], max(300, max(y for _, y in now['points']) + 20)


def _map_data(pictures):
    gallery, now = pictures.get('gallery'), pictures.get('now')
    if not gallery or not now or not now['points']:
        return {}
    labelled = gallery['labelled']
    angles = hues(sum(labelled))
    return dict(
        sprite=dict(tile=gallery['tile'], columns=gallery['columns'], size=gallery['size']),
        map=dict(
            points=now['points'],
            extent=_extent(now),
            neighbours=now['neighbours'],
            names=gallery['names'],
            labels=gallery['labels'],
            classes=gallery['classes'],
            labelled=labelled,
            hues=[angles.pop(0) if known else 0 for known in labelled],
            queries=gallery['queries']))


def _table(headings, rows, kind):
    head = ''.join(f'<th scope="col">{word}</th>' for word in headings)
    head = f'<thead><tr>{head}</tr></thead>' if any(headings) else ''
    body = ''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def _choices(record):
    if not record.choices:
        return ''
    rows = []
    for choice in record.choices:
        reason = html.escape(str(choice.get('reason', '')))
        reason = '<span class="tag">given by you</span>' if choice.get('fixed') else reason
        rows.append([html.escape(str(choice.get('name', ''))), html.escape(_value(choice.get('value'))), reason])
    return _section('Why these settings', 'What was chosen for the data, the machine and the time.',
                    '<div class="card">' + _table(['setting', 'value', 'reason'], rows, 'choices') + '</div>',
                    'choices')


def _value(value):
    text = value if isinstance(value, str) else f'{value:g}' if isinstance(value, float) else str(value)
    return text if len(text) <= 160 else text[:157] + '...'


def _suites(record):
    parts = []
    for suite in record.suites:
        rows = [[html.escape(cell) for cell in row] for row in suite['rows']]
        link = ''
        if suite['file']:
            link = f'<p class="lead"><a href="{html.escape(suite["file"])}">The whole report</a></p>'
        lead = html.escape(', '.join(filter(None, [suite['title'], suite['created']])))
        parts.append(f'<div class="card"><p class="lead">{lead}</p>' +
                     _table(map(html.escape, suite['headings']), rows, 'figures') + link + '</div>')
    return _section('Evaluation', '', ''.join(parts), 'evaluation') if parts else ''


def _facts(record):
    facts = {words: value for words, value in facts_of(record).items() if value not in (None, '')}
    if not facts:
        return ''
    rows = [[html.escape(words), html.escape(_value(value))] for words, value in facts.items()]
    return _section('The run', '', f'<div class="card">{_table(["", ""], rows, "facts")}</div>', 'run')


def facts_of(record):
    """What the config says of a run, in words.

    Returns:
        dict[str, object]: Values by their names.
    """
    cfg = record.cfg
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    data = cfg.get('data') or {}
    source = _source(data.get('train'))
    optimizer = cfg.get('optimizer') or {}
    precision = cfg.get('amp') or cfg.get('fp16')
    network = ' '.join(str(backbone[key]) for key in ('type', 'depth', 'arch', 'model_name') if backbone.get(key))
    where = source.get('data_prefix') or source.get('ann_file') or source.get('name') or ''
    return {
        'method':
        model.get('type'),
        'network':
        network,
        'data':
        ' '.join(str(part) for part in (source.get('type'), where) if part),
        'images in a batch':
        data.get('samples_per_gpu') or data.get('imgs_per_gpu'),
        'optimizer':
        ', '.join(f'{key} {value}' if key != 'type' else str(value) for key, value in optimizer.items()
                  if key in ('type', 'lr', 'weight_decay', 'momentum')),
        'schedule': (cfg.get('lr_config') or {}).get('policy'),
        'precision':
        precision.get('dtype', 'float16') if isinstance(precision, dict) else None,
        'seed':
        cfg.get('seed'),
        'checkpoints':
        ', '.join(record.checkpoints[-6:]),
        'logs':
        ', '.join(file.name for file in record.log.files) if record.log else None,
    }


def _source(section):
    """The data source of a section of a config, {} where none is found."""
    while True:
        if isinstance(section, (list, tuple)) and section:
            section = section[0]
        elif not isinstance(section, dict):
            return {}
        elif isinstance(section.get('data_source'), dict):
            return section['data_source']
        else:
            section = section.get('dataset') or section.get('datasets')

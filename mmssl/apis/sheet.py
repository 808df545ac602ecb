# Copyright (c) mmssl contributors. All rights reserved.
"""Sheets of pictures: queries and what was found for them, as one HTML file or one picture."""
import html
from pathlib import Path

import cv2
import numpy as np

from mmssl.evaluation.plots import Tile, plot_views
from mmssl.evaluation.report import thumbnail
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write

PICTURES = ('.png', '.jpg', '.jpeg', '.pdf', '.svg')
_SIDE = 160  # of a picture in a sheet, in pixels
_STYLE = """<style>
.similar { font: 14px system-ui, sans-serif; color-scheme: light dark; }
.similar section { display: flex; flex-wrap: wrap; gap: 10px; margin: 0 0 22px; }
.similar figure { margin: 0; width: 160px; }
.similar img { width: 160px; height: 160px; object-fit: contain; image-rendering: auto; background: #8882; }
.similar img.small { image-rendering: pixelated; }
.similar figcaption { overflow-wrap: anywhere; font-size: 12px; line-height: 1.35; }
.similar .query img { outline: 3px solid #d97706; }
</style>"""


def check_sheet_path(path):
    """See whether a sheet can be written into a file of this name.

    Raises:
        ConfigError: It ends neither with .html nor as a picture does.
    """
    if Path(path).suffix.lower() not in ('.html', *PICTURES):
        raise ConfigError(f'{path}: a sheet ends with .html, {", ".join(PICTURES)}')


def write_sheet(answers, path, title='Similar images'):
    """Write queries and what was found.

    Args:
        answers (Sequence[Hits]): One a query.
        path (str | Path): NAME.html, one file with all pictures in it; or a picture.
        title (str): Above it.

    Raises:
        ConfigError: See check_sheet_path.
    """
    check_sheet_path(path)
    if Path(path).suffix.lower() == '.html':
        head = ('<!doctype html><html lang="en"><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width">'
                f'<title>{html.escape(title)}</title><body class="similar"><h1>{html.escape(title)}</h1>')
        with atomic_write(path) as file:
            file.write(f'{head}{html_of(answers, links=True)}</body></html>\n')
        return
    samples = [(_tile(hits.picture, hits.query),
                [[[_tile(hits.source.get_array(hit.idx), f'{hit.similarity:.3f} {Path(hit.file).name}')
                   for hit in hits]]]) for hits in answers]  # yapf: disable
    plot_views(samples, path, title, ('query', 'the most similar, and the similarity'))


def html_of(answers, links=False):
    """The pictures of queries and what was found, as a part of a page.

    Args:
        answers (Sequence[Hits]): One a query.
        links (bool): Whether pictures lead to their files.

    Returns:
        str: HTML that loads nothing else.
    """
    parts = []
    for hits in answers:
        cells = [_figure(hits.picture, html.escape(hits.query), 'query')]
        for hit in hits:
            words = f'{hit.similarity:.3f}<br>{html.escape(hit.file)}'
            link = hit.path.absolute().as_uri() if links and hit.path else None
            cells.append(_figure(hits.source.get_array(hit.idx), words, '', link))
        parts.append(f'<section>{"".join(cells)}</section>')
    return f'{_STYLE}<div class="similar">{"".join(parts)}</div>'


def _figure(image, words, kind, link=None):
    small = ' class="small"' if max(image.shape[:2]) < 60 else ''
    picture = f'<img src="{thumbnail(_in_8_bits(image), _SIDE)}"{small} alt="">'
    if link:
        picture = f'<a href="{html.escape(link)}">{picture}</a>'
    return f'<figure class="{kind}">{picture}<figcaption>{words}</figcaption></figure>'


def _tile(image, caption):
    """An image for plot_views, which draws all in their relative sizes."""
    image = _in_8_bits(image)
    scale = _SIDE / max(image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    sides = [max(1, round(scale * side)) for side in image.shape[1::-1]]
    image = cv2.resize(image, sides, interpolation=how)
    return Tile(image if image.ndim == 3 else image[..., None], caption)


def _in_8_bits(image):
    """What of an image can be shown: three channels, or one, its values from the least to the greatest."""
    image = np.asarray(image)
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if image.dtype == np.uint8:
        return image
    values = image.astype(np.float64)
    low, high = np.nanmin(values), np.nanmax(values)
    return np.nan_to_num((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)

# Copyright (c) mmssl contributors. All rights reserved.
"""Thumbnails of many images in one, for pages that load nothing else."""
import base64
import io
import math

import numpy as np


def data_uri(image, kind=None, quality=85):
    """A Pillow image as a data URI: small ones without loss, so that their pixels are seen as they are.

    Args:
        image (PIL.Image.Image): RGB or grey.
        kind (str, optional): 'png' or 'jpeg'; by default the first for at most 40 pixels.
        quality (int): Of JPEG.

    Returns:
        str: The URI.
    """
    kind = kind or ('png' if max(image.size) <= 40 else 'jpeg')
    buffer = io.BytesIO()
    image.save(buffer, kind, **(dict(optimize=True) if kind == 'png' else dict(quality=quality)))
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def thumbnail(image, side):
    """An array as a Pillow image whose longer side is at most `side` pixels.

    Args:
        image (ndarray): uint8, H x W x C.
        side (int): In pixels.
    """
    from PIL import Image
    image = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] < 3 else image[..., :3]))
    image.thumbnail((side, side), Image.Resampling.BOX if max(image.size) > 4 * side else Image.Resampling.LANCZOS)
    return image


def sprite(images, count, side=64, most=None):
    """Thumbnails in one image, row by row from the upper left.

    Args:
        images (Iterable[ndarray]): uint8, H x W x C; read once.
        count (int): Their number.
        side (int): Of a thumbnail, in pixels, at most.
        most (int, optional): Characters that the URI may have; it has more loss where it would have more.

    Returns:
        tuple[str, int, int, list[tuple[int, int]]]: A data URI; the side of the square that each thumbnail stands in
        the upper left of; squares in a row; width and height of each thumbnail.
    """
    from PIL import Image
    thumbnails = [thumbnail(image, side) for image in images]
    tile = max(max(image.size) for image in thumbnails)
    columns = math.ceil(count**0.5)
    mode = 'RGB' if any(image.mode == 'RGB' for image in thumbnails) else 'L'
    sheet = Image.new(mode, (columns * tile, -(-count // columns) * tile))
    for i, image in enumerate(thumbnails):
        sheet.paste(image, (i % columns * tile, i // columns * tile))
    uri = data_uri(sheet, 'png' if tile <= 32 else 'jpeg')
    for quality in (75, 60, 40, 20):
        if most is None or len(uri) <= most:
            break
        uri = data_uri(sheet, 'jpeg', quality)
    return uri, tile, columns, [image.size for image in thumbnails]

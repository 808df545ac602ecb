# Copyright (c) mmssl contributors. All rights reserved.
"""Bytes of an image file -> uint8 array, whatever kind of image it is."""
import io
import struct
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from mmssl.utils.errors import BrokenImageError
from ..images import in_8_bits

COLOR_TYPES = ('color', 'grayscale', 'unchanged')
CHANNEL_ORDERS = ('rgb', 'bgr')
MAX_PIXELS = 2**30  # of one image, as OpenCV has it

_ORIENTATION_TAG = 0x0112
_UNDO_ORIENTATION = {
    2: lambda img: img[:, ::-1],
    3: lambda img: img[::-1, ::-1],
    4: lambda img: img[::-1],
    5: lambda img: img.transpose(1, 0, 2),
    6: lambda img: np.rot90(img, -1),
    7: lambda img: img[::-1, ::-1].transpose(1, 0, 2),
    8: lambda img: np.rot90(img),
}


def exif_orientation(data):
    """Orientation that the EXIF header of a JPEG file states.

    Args:
        data (bytes): The file.

    Returns:
        int: 1 (upright, also where nothing is stated) to 8.
    """
    at = 2
    while data[at:at + 1] == b'\xff' and (data[at + 1] & 0xf0 == 0xe0 or data[at + 1] == 0xfe):  # APPn, comment
        if data[at + 1] == 0xe1 and data[at + 4:at + 10] == b'Exif\0\0':
            break
        at += 2 + int.from_bytes(data[at + 2:at + 4], 'big')
    else:
        return 1
    tiff = at + 10
    order = {b'II': '<', b'MM': '>'}.get(data[tiff:tiff + 2])
    if order is None:
        return 1
    try:
        directory = tiff + struct.unpack_from(order + 'I', data, tiff + 4)[0]
        for i in range(struct.unpack_from(order + 'H', data, directory)[0]):
            tag, kind, count, value = struct.unpack_from(order + 'HHIH', data, directory + 2 + 12 * i)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # the directory points behind the end of the file
        pass
    return 1


def _decode_jpeg(data, color_type, channel_order):
    """The image, or None where Pillow is to try: four colours, rare subsampling, stray bytes that do no harm."""
    try:
        space = simplejpeg.decode_jpeg_header(data)[2]
    except ValueError:
        return None
    if space not in ('Gray', 'YCbCr', 'RGB'):
        return None
    if color_type == 'grayscale' or (color_type == 'unchanged' and space == 'Gray'):
        if space == 'RGB':
            return None
        target = 'GRAY'
    else:
        target = channel_order.upper()
    try:
        img = simplejpeg.decode_jpeg(data, colorspace=target)
    except ValueError as error:
        if 'extraneous bytes' in str(error):
            return None
        raise
    undo = _UNDO_ORIENTATION.get(exif_orientation(data))
    return img if undo is None else np.ascontiguousarray(undo(img))


@lru_cache
def _load_plugins():
    """Number of plug-ins of Pillow that are installed, after loading them; see PLUGINS in folder.py."""
    loaded = 0
    for name in ('pillow_heif', 'pillow_avif', 'pillow_jxl'):
        with suppress(ImportError):
            plugin = import_module(name)
            getattr(plugin, 'register_heif_opener', bool)()  # the others register themselves
            loaded += 1
    return loaded


@contextmanager
def _large_images():
    """Pillow takes images of up to MAX_PIXELS within; its own limit is for files that strangers send to a server."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns from there on, and refuses what is twice as large
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _decode_with_pillow(data, color_type, channel_order):
    with _large_images():
        try:
            img = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            if not _load_plugins():
                raise
            img = Image.open(io.BytesIO(data))
        img = in_8_bits(ImageOps.exif_transpose(img))
        img.load()
    target = dict(color='RGB', grayscale='L', unchanged=img.mode)[color_type]
    if target == 'L' and img.mode == 'LA':
        img = img.getchannel('L')
    elif img.mode != target:
        img = img.convert('RGB').convert(target)  # alpha is dropped
    img = np.array(img)
    if img.ndim == 2:
        return img[..., None]
    if channel_order == 'bgr' and img.shape[2] >= 3:
        img[..., :3] = img[..., 2::-1].copy()
    return img


def decode_image(data, color_type='color', channel_order='rgb', filename='<bytes>'):
    """Decode an image file.

    The EXIF orientation is applied, an alpha channel is dropped for 'color' and 'grayscale', palettes are looked up,
    16-bit grey is scaled to 8 bits. Baseline and progressive JPEG files go through libjpeg-turbo, everything else
    through Pillow.

    Args:
        data (bytes): The file.
        color_type (str): 'color' for three channels, 'grayscale' for one, 'unchanged' for as many as are stored.
        channel_order (str): 'rgb' or 'bgr'.
        filename (str): For the error.

    Returns:
        ndarray: uint8, H x W x C.

    Raises:
        BrokenImageError: No image, a truncated one, damaged data, or grey values that are no numbers.
    """
    try:
        img = None
        if data[:3] == b'\xff\xd8\xff':
            img = _decode_jpeg(data, color_type, channel_order)
        return _decode_with_pillow(data, color_type, channel_order) if img is None else img
    except Exception as error:  # the decoders raise a dozen kinds of errors, struct.error and SyntaxError among them
        reason = f'{type(error).__name__}: {error}'
        if isinstance(error, UnidentifiedImageError):
            reason = 'no known kind of image' if data else 'the file is empty'
        raise BrokenImageError(filename, reason) from error

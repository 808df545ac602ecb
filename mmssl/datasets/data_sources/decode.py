# Copyright (c) mmssl contributors. All rights reserved.
"""Bytes of an image file -> uint8 array, whatever kind of image it is."""
import io
import logging
import struct
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from mmssl.utils.errors import BrokenImageError
from ..images import ReducedImage, in_8_bits

COLOR_TYPES = ('color', 'grayscale', 'unchanged')
CHANNEL_ORDERS = ('rgb', 'bgr')
MAX_PIXELS = 2**30  # of one image, as OpenCV has it
TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # how the files begin
DEEP_FILES = (*TIFF, b'\x93NUMPY', b'PK\3\4')  # with .npy and .npz: what may hold other than 8 bits

# it has a line of its own for each TIFF file that it does not read, which the error tells already
logging.getLogger('PIL.TiffImagePlugin').setLevel(logging.CRITICAL)

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
# where the last row and column of a JPEG as it is stored become the first ones
_BEGINS_BELOW, _BEGINS_RIGHT = (3, 4, 7, 8), (2, 3, 6, 7)


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
                if kind == 4:  # a long integer, against the standard
                    value, = struct.unpack_from(order + 'I', data, directory + 10 + 12 * i)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # the directory points behind the end of the file
        pass
    return 1


def _reduced(img, orientation, reduction, height, width):
    """The image of a JPEG, upright already, as one that was decoded at a fraction of its size, where it was.

    Args:
        img (ndarray): uint8, of height / reduction and width / reduction, rounded up.
        orientation (int): In which it is stored, see exif_orientation.
        reduction (int): 1, 2, 4 or 8.
        height (int): Of the whole image as it is stored.
        width (int): The same.
    """
    if reduction == 1:
        return img
    if orientation > 4:
        height, width = width, height
    # the last blocks of a stored row or column reach beyond the image, and it may be turned so that they come first
    margin = (-height % reduction * (orientation in _BEGINS_BELOW), -width % reduction * (orientation in _BEGINS_RIGHT))
    return ReducedImage(img, reduction, height, width, margin)


def _by_upright(choose, orientation, height, width):
    """The reduction that is chosen for an image that is stored with this height and width."""
    return 1 if choose is None else choose(width, height) if orientation > 4 else choose(height, width)


def _decode_jpeg(data, color_type, channel_order, choose):
    """The image, or None where Pillow is to try: four colours, rare subsampling, stray bytes that do no harm."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
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
    orientation = exif_orientation(data)
    reduction = _by_upright(choose, orientation, height, width)
    least = {} if reduction == 1 else dict(min_height=-(-height // reduction), min_width=-(-width // reduction))
    try:
        img = simplejpeg.decode_jpeg(data, colorspace=target, **least)
    except ValueError as error:
        if 'extraneous bytes' in str(error):
            return None
        raise
    undo = _UNDO_ORIENTATION.get(orientation)
    img = img if undo is None else np.ascontiguousarray(undo(img))
    return _reduced(img, orientation, reduction, height, width)


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


def _decode_with_pillow(data, color_type, channel_order, choose):
    with _large_images():
        try:
            img = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            if not _load_plugins():
                raise
            img = Image.open(io.BytesIO(data))
        orientation, reduction, (width, height) = 1, 1, img.size
        if choose is not None and img.format in ('JPEG', 'MPO'):
            orientation = img.getexif().get(_ORIENTATION_TAG, 1)
            orientation = orientation if orientation in _UNDO_ORIENTATION else 1
            reduction = _by_upright(choose, orientation, height, width)
            if reduction > 1:
                img.draft(img.mode, (width // reduction, height // reduction))
        img = in_8_bits(ImageOps.exif_transpose(img))
        img.load()
    target = dict(color='RGB', grayscale='L', unchanged=img.mode)[color_type]
    if target == 'L' and img.mode == 'LA':
        img = img.getchannel('L')
    elif img.mode != target:
        img = img.convert('RGB').convert(target)  # alpha is dropped
    img = np.array(img)
    if img.ndim == 2:
        img = img[..., None]
    elif channel_order == 'bgr' and img.shape[2] >= 3:
        img[..., :3] = img[..., 2::-1].copy()
    return _reduced(img, orientation, reduction, height, width)


def decode_image(data, color_type='color', channel_order='rgb', filename='<bytes>', choose=None):
    """Decode an image file.

    The EXIF orientation is applied, an alpha channel is dropped for 'color' and 'grayscale', palettes are looked up,
    16-bit grey is scaled to 8 bits. Baseline and progressive JPEG files go through libjpeg-turbo, everything else
    through Pillow.

    Args:
        data (bytes): The file.
        color_type (str): 'color' for three channels, 'grayscale' for one, 'unchanged' for as many as are stored.
        channel_order (str): 'rgb' or 'bgr'.
        filename (str): For the error.
        choose (Callable, optional): Is asked with height and width of the upright image for the reduction at which it
            is decoded, where the file is a JPEG: 1 for the whole image, or 2, 4 or 8.

    Returns:
        ndarray | ReducedImage: uint8, H x W x C; a ReducedImage where a reduction above 1 was chosen.

    Raises:
        BrokenImageError: No image, a truncated one, damaged data, or grey values that are no numbers.
    """
    try:
        img = None
        if data[:3] == b'\xff\xd8\xff':
            img = _decode_jpeg(data, color_type, channel_order, choose)
        return _decode_with_pillow(data, color_type, channel_order, choose) if img is None else img
    except Exception as error:  # the decoders raise a dozen kinds of errors, struct.error and SyntaxError among them
        reason = f'{type(error).__name__}: {error}'
        if isinstance(error, UnidentifiedImageError):
            reason = 'no known kind of image' if data else 'the file is empty'
            if data.startswith(DEEP_FILES):
                reason += " of 8 bits; depth='stored' of the data source reads arrays, and TIFF files of any kind"
        raise BrokenImageError(filename, reason) from error

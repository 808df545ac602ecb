# Copyright (c) mmssl contributors. All rights reserved.
"""Image files whose depth and channels are kept: TIFF, .npy, .npz and PNG of 16 bits."""
import io
from importlib import import_module

import cv2
import numpy as np

from mmssl.utils.errors import BrokenImageError, ConfigError
from ..images import IMAGE_TYPES
from .decode import MAX_PIXELS, TIFF, decode_image

DEPTHS = ('8-bit', 'stored')
LAYOUTS = ('HWC', 'CHW')

_PALETTE = 3
_LARGEST = 4 * MAX_PIXELS  # bytes of an image


def check_depth(depth, nodata, layout, array_name, color_type, channel_order):
    """See that the settings of a source on depth fit together.

    Raises:
        ConfigError: They do not.
    """
    if depth not in DEPTHS:
        raise ConfigError(f'depth must be one of {DEPTHS}, got {depth!r}')
    if layout is not None and layout not in LAYOUTS:
        raise ConfigError(f'layout must be one of {LAYOUTS}, or None where the shape tells, got {layout!r}')
    if depth == 'stored':
        if color_type == 'grayscale' or channel_order == 'bgr':
            raise ConfigError(f"depth='stored' keeps the channels of a file as they are: leave out color_type="
                              f'{color_type!r} and channel_order={channel_order!r}')
        return
    for name, value in dict(nodata=nodata, layout=layout, array_name=array_name).items():
        if value is not None:
            raise ConfigError(f"{name}={value!r} is for images whose values are kept: set depth='stored' as well")


def as_image_type(values):
    """An array of any number type as uint8, uint16 or float32, whichever holds its values.

    Args:
        values (ndarray): Truth values and uint8 become uint8, uint16 stays, all other numbers become float32, which is
            exact for integers up to 2^24.

    Raises:
        ValueError: No numbers, or complex ones.
    """
    kind = values.dtype.newbyteorder('=')
    if kind == bool:
        return values.astype(np.uint8)
    if kind in IMAGE_TYPES:
        return values if values.dtype.isnative else values.astype(kind)
    if kind.kind not in 'iuf':
        hint = ': store two channels, such as magnitude and phase' if kind.kind == 'c' else ''
        raise ValueError(f'its values are of the type {values.dtype}, images are of numbers{hint}')
    return values.astype(np.float32)


def mark_nodata(img, nodata):
    """An image in which NaN stands for missing values.

    Args:
        img (ndarray): Of a type of images.
        nodata (float | None): The value that stands for a missing one in the file.

    Returns:
        ndarray: float32; as it came where `nodata` is None.
    """
    if nodata is None:
        return img
    missing = img == (np.float32(nodata) if img.dtype == np.float32 else nodata)
    img = img.astype(np.float32)
    img[missing] = np.nan
    return img


def as_channels_last(values, layout=None):
    """An array as height x width x channels.

    Args:
        values (ndarray): Two axes, or three of which the first or the last are channels.
        layout (str, optional): 'HWC' or 'CHW'. None: the channels are the first or the last axis, if that one is at
            most half as long as the two others.

    Returns:
        ndarray: A view.

    Raises:
        ValueError: There are other axes, or the shape does not tell which ones are channels.
    """
    if values.ndim == 2:
        return values[..., None]
    if values.ndim != 3:
        raise ValueError(f'its shape is {values.shape}: an image has two axes, or three with the channels')
    if layout is None:
        first, middle, last = values.shape
        fits = [name for name, channels, others in (('CHW', first, (middle, last)), ('HWC', last, (first, middle)))
                if 2 * channels <= min(others)]  # yapf: disable
        if len(fits) != 1:
            raise ValueError(f"its shape {values.shape} does not tell which axis holds the channels: set layout='CHW' "
                             "where it is the first, layout='HWC' where it is the last")
        layout = fits[0]
    return values if layout == 'HWC' else values.transpose(1, 2, 0)


def _see_that_finite(img):
    with np.errstate(all='ignore'):
        if np.isfinite(np.sum(img)):  # which tells at once
            return
    infinite = np.isinf(img)
    if infinite.any():
        row, column, channel = np.argwhere(infinite)[0]
        raise ValueError(
            f'{infinite.sum()} of its values are infinite, such as {img[row, column, channel]} in row {row}, '
            f'column {column}, channel {channel}; a missing value is NaN, or what nodata says')


def _need(package, what):
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f'{what} needs the package {package}: pip install {package}') from error


def _read_tiff(data, layout):
    """The first image of a TIFF file, H x W x C, pages of one size being its channels; None for one with a palette."""
    tifffile = _need('tifffile', 'a TIFF file whose depth is kept')
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        if page.photometric == _PALETTE:
            return None
        several = len(file.pages) > 1
        part = file.series[0] if several else page
        axes = [(name, size) for name, size in zip(part.axes, part.shape) if size != 1 or name in 'YX']
        shape = tuple(size for _, size in axes)
        if np.prod(shape, dtype=float) * part.dtype.itemsize > _LARGEST:
            raise ValueError(f'it is said to have the shape {shape}, more than {_LARGEST >> 30} GiB')
        if page.compression != 1:
            _need('imagecodecs', 'a compressed TIFF file')
        if not page.is_contiguous:  # else all is read in one go
            for one in filter(None, part.pages if several else [page]):  # where one is absent zeros would come
                count, parts = len(one.dataoffsets), int(np.prod(one.chunked))
                if count < parts:
                    raise ValueError(f'{parts - count} of the {parts} strips or tiles of its image are absent')
        values = part.asarray(maxworkers=1).reshape(shape)
    names = ''.join(name for name, _ in axes)
    if len(names) > 3:
        raise ValueError(f'its axes are {names} of the lengths {shape}: channels are the samples of one page, or '
                         'pages of one sample each')
    # samples of a page say what they are; pages may also be the rows of an array that was written without a word
    told = {'YXS': 'HWC', 'SYX': 'CHW', 'CYX': 'CHW'}.get(names, layout)
    return as_channels_last(values, told)


def _read_npz(data, array_name, filename):
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        sizes = {member.filename.removesuffix('.npy'): member.file_size for member in file.zip.infolist()}
        names = list(sizes)
        if array_name is None and len(names) != 1:
            raise ConfigError(f'{filename} has the arrays {names}: array_name of the data source says which one is the '
                              'image')
        if array_name is not None and array_name not in names:
            raise ConfigError(f'{filename} has no array {array_name!r}, it has {names}')
        name = names[0] if array_name is None else array_name
        if sizes[name] > _LARGEST:
            raise ValueError(f'its array {name!r} unpacks to more than {_LARGEST >> 30} GiB')
        values = file[name]
        if not isinstance(values, np.ndarray):
            raise ValueError(f'its member {name!r} is no array of numpy')
        return values


def _read_deep_png(data):
    """Array of a PNG file of 16 bits, None for any other file."""
    if data[:8] != b'\x89PNG\r\n\x1a\n' or data[24:25] != b'\x10':
        return None
    img = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if img is None:
        raise ValueError('the file is damaged or truncated')
    if img.ndim == 2:
        return img[..., None]
    if data[25:26] == b'\x04':  # grey with alpha
        return img[..., 2:]
    img[..., :3] = img[..., 2::-1].copy()
    return img


def decode_stored(data, filename='<bytes>', color_type='color', nodata=None, layout=None, array_name=None, choose=None):
    """Decode an image file and keep what it holds.

    Args:
        data (bytes | ndarray): The file; or the array of a .npy file, which may be mapped.
        filename (str): For the error.
        color_type (str): Of files with 8 bits that are neither TIFF nor arrays; see decode_image.
        nodata (float, optional): Value that stands for a missing one: it becomes NaN, and the image float32.
        layout (str, optional): Of arrays and of pages: see as_channels_last.
        array_name (str, optional): Of an .npz file of several arrays, the one that is the image.
        choose (Callable, optional): Of JPEG files; see decode_image.

    Returns:
        ndarray | ReducedImage: uint8, uint16 or float32, H x W x C. A mapped array may come back read-only.

    Raises:
        BrokenImageError: No image, or a damaged one.
        ConfigError: A package or a setting is missing.
    """
    try:
        if isinstance(data, np.ndarray):
            values = as_channels_last(data, layout)
        elif data[:6] == b'\x93NUMPY':
            values = as_channels_last(np.load(io.BytesIO(data), allow_pickle=False), layout)
        elif data[:4] == b'PK\x03\x04':
            values = as_channels_last(_read_npz(data, array_name, filename), layout)
        else:
            values = _read_tiff(data, layout) if data[:4] in TIFF else _read_deep_png(data)
            if values is None:
                values = decode_image(data, color_type, 'rgb', filename, choose if nodata is None else None)
                if not isinstance(values, np.ndarray):
                    return values
        img = mark_nodata(as_image_type(values), nodata)
        if not img.size:
            raise ValueError(f'its shape is {img.shape}')
        # of a mapped array this would read all of it
        if img.dtype == np.float32 and not (isinstance(data, np.ndarray) and np.may_share_memory(img, data)):
            _see_that_finite(img)
        return img
    except (BrokenImageError, ConfigError):
        raise
    except Exception as error:  # tifffile and the codecs raise a dozen kinds of errors
        text = ' '.join(str(error).split()) or 'damaged or truncated'
        raise BrokenImageError(filename, f'{type(error).__name__}: {text}') from error

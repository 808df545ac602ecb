# Copyright (c) mmssl contributors. All rights reserved.
"""Images of any depth and number of channels, read as they are stored."""
import io
import struct
import sys
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import Folder, ImageList, ImageNet, build_datasource
from mmssl.datasets.data_sources import stored
from mmssl.datasets.data_sources.decode import decode_image
from mmssl.datasets.data_sources.stored import as_channels_last, as_image_type, decode_stored
from mmssl.utils.errors import BrokenImageError, ConfigError

tifffile = pytest.importorskip('tifffile')
TILE = (np.random.default_rng(0).random((40, 36, 13)) * 10000).astype(np.uint16)


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


GREY = dict(photometric='minisblack')
PLANES = TILE.transpose(2, 0, 1)


@pytest.mark.parametrize(
    'data, expected', [
        (tiff(TILE, planarconfig='contig', **GREY), TILE),
        (tiff(PLANES, planarconfig='separate', **GREY), TILE),
        (tiff(PLANES, **GREY), TILE),
        (tiff(PLANES, metadata=None, **GREY), TILE),
        (tiff(TILE), TILE),
        (tiff(PLANES, imagej=True, metadata=dict(axes='CYX')), TILE),
        (tiff(TILE, planarconfig='contig', compression='deflate', predictor=True, tile=(16, 16), **GREY), TILE),
        (tiff(TILE, planarconfig='contig', compression='zstd', **GREY), TILE),
        (tiff(TILE, planarconfig='contig', bigtiff=True, byteorder='>', **GREY), TILE),
        (tiff(TILE.astype(np.float64) / 7, planarconfig='contig', **GREY),
         (TILE.astype(np.float64) / 7).astype(np.float32)),
        (tiff(TILE.astype(np.int16) - 5000, planarconfig='contig', **GREY), TILE.astype(np.float32) - 5000),
        (tiff(TILE[..., :3], photometric='rgb'), TILE[..., :3]),
        (tiff((TILE[..., :3] >> 6).astype(np.uint8), photometric='rgb'), (TILE[..., :3] >> 6).astype(np.uint8)),
        (tiff(TILE[..., 0]), TILE[..., :1]),
        (tiff(TILE[..., :4], photometric='rgb', extrasamples=['unassalpha']), TILE[..., :4]),
    ],
    ids='contig planar pages bare rows imagej tiled zstd big float64 int16 rgb16 rgb8 grey rgba'.split())
def test_tiff(data, expected):
    img = decode_stored(data)
    assert img.dtype == expected.dtype and img.dtype.isnative
    np.testing.assert_array_equal(img, expected)


def test_a_tiff_of_a_palette_and_other_pictures_are_as_ever(photographs):
    file = io.BytesIO()
    Image.fromarray(photographs[0]).convert('P').save(file, 'TIFF')
    assert decode_stored(file.getvalue()).shape == photographs[0].shape
    file = io.BytesIO()
    Image.fromarray(photographs[0]).save(file, 'PNG')
    np.testing.assert_array_equal(decode_stored(file.getvalue()), photographs[0])


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_png_of_16_bits(channels):
    img = np.ascontiguousarray(TILE[..., :channels] * 6)
    stored = img if channels == 1 else np.ascontiguousarray(img[..., [2, 1, 0, 3][:channels]])
    np.testing.assert_array_equal(decode_stored(cv2.imencode('.png', stored)[1].tobytes()), img)


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_arrays():
    file = io.BytesIO()
    np.save(file, PLANES.astype('>u2'))
    np.testing.assert_array_equal(decode_stored(file.getvalue()), TILE)
    np.testing.assert_array_equal(decode_stored(npz(a=TILE)), TILE)
    both = npz(image=TILE, mask=TILE[..., 0])
    np.testing.assert_array_equal(decode_stored(both, array_name='image'), TILE)
    with pytest.raises(ConfigError, match=r"arrays \['image', 'mask'\]: array_name"):
        decode_stored(both)
    with pytest.raises(ConfigError, match="no array 'img', it has"):
        decode_stored(both, array_name='img')


def test_layout():
    for shape, channels in (((13, 40, 36), 13), ((40, 36, 13), 13), ((2, 4, 400), 2), ((40, 36), 1)):
        assert as_channels_last(np.zeros(shape)).shape[2] == channels
    for shape in ((13, 16, 16), (3, 3, 3), (2, 400, 4)[:2] + (2, )):
        with pytest.raises(ValueError, match="does not tell which axis holds the channels: set layout='CHW'"):
            as_channels_last(np.zeros(shape))
    assert as_channels_last(np.zeros((13, 16, 16)), 'CHW').shape == (16, 16, 13)
    assert as_channels_last(np.zeros((13, 16, 16)), 'HWC').shape == (13, 16, 16)
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 5\): an image has two axes'):
        as_channels_last(np.zeros((2, 3, 4, 5)))


def test_types():
    for kind, expected in (('bool', 'uint8'), ('>u2', 'uint16'), ('i1', 'float32'), ('f2', 'float32'), ('i8',
                                                                                                        'float32')):
        assert as_image_type(np.ones(3, kind)).dtype == expected
    with pytest.raises(ValueError, match='magnitude and phase'):
        as_image_type(np.ones(3, complex))


def test_nodata_becomes_nan():
    img = TILE.copy()
    img[:5] = 0
    found = decode_stored(tiff(img, planarconfig='contig', **GREY), nodata=0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), img == 0)
    np.testing.assert_array_equal(found[img != 0], img[img != 0].astype(np.float32))
    floats = np.full((8, 8), -3.4028234663852886e38, np.float32)  # what GDAL writes
    assert np.isnan(decode_stored(tiff(floats), nodata=-3.4028234663852886e38)).all()


def test_damaged_files(tmp_path):
    whole = tiff(TILE, planarconfig='contig', compression='deflate', **GREY)
    tiled = tiff(TILE, planarconfig='contig', tile=(16, 48), **GREY)
    for data, parts in ((whole, 411), (tiled, 1028)):
        at = data.index(struct.pack('<HHI', 257, 4, 1)) + 8  # the height, which would be one of zeros
        with pytest.raises(BrokenImageError, match=f' of the {parts} strips or tiles of its image are absent'):
            decode_stored(data[:at] + struct.pack('<I', 40 * 411) + data[at + 4:])
    for data in (whole[:len(whole) // 2], whole[:30], b'II*\0', b'\x93NUMPY', npz(a=TILE)[:200], b'', b'text'):
        with pytest.raises(BrokenImageError, match='it.tif'):
            decode_stored(data, 'it.tif')
    with pytest.raises(BrokenImageError, match='axes are .YXS of the lengths'):
        decode_stored(tiff(np.zeros((5, 8, 8, 3), np.uint8), photometric='rgb'), 'it.tif')


def test_hints(monkeypatch):
    for data in (tiff(PLANES, planarconfig='separate', **GREY), npz(a=TILE)):
        with pytest.raises(BrokenImageError, match="depth='stored' of the data source reads arrays"):
            decode_image(data)
    data = tiff(TILE, planarconfig='contig', **GREY)
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    with pytest.raises(ConfigError, match='needs the package tifffile: pip install tifffile'):
        decode_stored(data)


def said_to_unpack_to(size, archive):
    """An archive of one member whose table of contents says how many bytes it has."""
    at = archive.rindex(b'PK\1\2') + 24
    return archive[:at] + struct.pack('<I', size) + archive[at + 4:]


def test_what_is_no_image_says_why(monkeypatch):
    """Infinite values, archives of other things, and what unpacks to more than any image; the file is named."""
    heights = np.full((6, 8, 2), 1, np.float32)
    heights[4, 5, 1] = -np.inf  # the logarithm of 0
    reason = r'it.npz: ValueError: 1 of its values are infinite, such as -inf in row 4, column 5, channel 1'
    with pytest.raises(BrokenImageError, match=reason):
        decode_stored(npz(a=heights), 'it.npz', layout='HWC')
    assert np.isnan(decode_stored(npz(a=heights), layout='HWC', nodata=-np.inf)).sum() == 1
    huge = np.full((8, 8), 3e38, np.float32)  # a sum beyond the type is no infinite value
    np.testing.assert_array_equal(decode_stored(npz(a=huge))[..., 0], huge)
    with pytest.raises(ConfigError, match=r"it.npz has the arrays \['a', 'b'\]: array_name"):
        decode_stored(npz(a=TILE, b=TILE), 'it.npz')
    with pytest.raises(ConfigError, match=r"it.npz has no array '', it has \['a'\]"):
        decode_stored(npz(a=TILE), 'it.npz', array_name='')
    other = io.BytesIO()
    with zipfile.ZipFile(other, 'w') as file:
        file.writestr('a.txt', 'text')
    with pytest.raises(BrokenImageError, match="its member 'a.txt' is no array of numpy"):
        decode_stored(other.getvalue(), 'it.npz')
    monkeypatch.setattr(stored, '_LARGEST', 2**30)
    with pytest.raises(BrokenImageError, match="its array 'a' unpacks to more than 1 GiB"):
        decode_stored(said_to_unpack_to(2**30 + 1, npz(a=TILE)), 'it.npz')


def test_grey_with_alpha_of_16_bits_has_two_channels():
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in TILE[..., :2])

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', TILE.shape[1], TILE.shape[0], 16, 4, 0, 0, 0)
    png = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    np.testing.assert_array_equal(decode_stored(png), TILE[..., :2])


@pytest.fixture
def arrays(tmp_path):
    for i in range(3):
        (tmp_path / f'it\'s a {i}').mkdir()
        np.save(tmp_path / f'it\'s a {i}' / 'tile.npy', PLANES + i)
    return tmp_path


def test_sources_read_arrays_and_map_them(arrays, tmp_path):
    source = Folder(str(arrays), extensions=['.NPY'], depth='stored')
    img = source.get_array(1)
    np.testing.assert_array_equal(img, TILE + 1)
    assert not img.flags.writeable and type(img) is np.ndarray  # a view of the file
    assert source.get_img(1).dtype == np.uint16
    classes = build_datasource(dict(type='ImageNet', data_prefix=str(arrays), extensions=['.npy'], depth='stored'))
    assert classes.labels.tolist() == [0, 1, 2] and classes.CLASSES[1] == "it's a 1"
    np.testing.assert_array_equal(classes.get_array(2), TILE + 2)
    (tmp_path / 'list.txt').write_text("it's a 2/tile.npy 4\n")
    listed = ImageList(str(arrays), ann_file=str(tmp_path / 'list.txt'), depth='stored', nodata=0)
    assert listed.labels.tolist() == [4] and listed.get_array(0).dtype == np.float32
    (arrays / "it's a 0/tile.npy").write_bytes(b'\x93NUMPY\x01\0v\0{')
    with pytest.raises(BrokenImageError, match='tile.npy'):
        source.get_array(0)
    with pytest.raises(FileNotFoundError, match='files that end with .npz'):
        Folder(str(arrays), extensions=['.npz'], depth='stored')


@pytest.mark.parametrize('options, message', [
    (dict(depth='16-bit'), r"depth must be one of \('8-bit', 'stored'\), got '16-bit'"),
    (dict(nodata=0), "nodata=0 is for images whose values are kept: set depth='stored'"),
    (dict(depth='stored', layout='NCHW'), 'layout must be one of'),
    (dict(depth='stored', color_type='grayscale'), 'leave out color_type'),
    (dict(depth='stored', nodata='0'), 'nodata must be float'),
    (dict(extensions='.npy'), 'extensions must be list'),
    (dict(extensions=['npy']), r"with their dot, such as \['.npy', '.tif'\]"),
])
def test_settings(photo_folder, options, message):
    with pytest.raises(ConfigError, match=message):
        build_datasource(dict(type='Folder', data_prefix=str(photo_folder), **options))


def test_extensions_are_for_folders(photo_folder):
    with pytest.raises(ConfigError, match='is for class folders'):
        ImageNet(str(photo_folder), ann_file='x.txt', extensions=['.npy'])


def test_shards_keep_the_depth(arrays, tmp_path):
    from mmssl.datasets.pack import pack_images
    tiles = tmp_path / 'tiles'
    for i in range(3):
        (tiles / f'{i}').mkdir(parents=True)
        (tiles / f'{i}/a.tif').write_bytes(tiff(TILE + i, planarconfig='contig', compression='deflate', **GREY))
    source = build_datasource(dict(type='ImageNet', data_prefix=str(tiles)))
    pack_images(source, str(tmp_path / 'packed'))
    shards = build_datasource(dict(type='Shards', data_prefix=str(tmp_path / 'packed'), depth='stored'))
    for i in range(3):
        np.testing.assert_array_equal(shards.get_array(i), TILE + i)

"""Every kind of image file against what Pillow says."""
import io
import pickle

import numpy as np
import pytest
from PIL import Image, ImageOps

from mmssl.datasets import BrokenImageError, decode_image
from mmssl.datasets.data_sources import decode


def encode(img, fmt, **kwargs):
    file = io.BytesIO()
    img.save(file, fmt, **kwargs)
    return file.getvalue()


@pytest.fixture(scope='module')
def photo(photographs):
    return Image.fromarray(photographs[0][100:220, 200:360])


@pytest.mark.parametrize('mode, fmt, stored', [
    ('RGB', 'JPEG', 3), ('L', 'JPEG', 1), ('CMYK', 'JPEG', 4), ('YCbCr', 'JPEG', 3), ('1', 'PNG', 1), ('L', 'PNG', 1),
    ('LA', 'PNG', 2), ('RGB', 'PNG', 3), ('RGBA', 'PNG', 4), ('P', 'PNG', 3), ('P', 'GIF', 3), ('CMYK', 'TIFF', 4),
    ('RGB', 'BMP', 3), ('L', 'PPM', 1), ('RGB', 'WEBP', 3)
])  # yapf: disable
def test_kinds_of_images(photo, mode, fmt, stored):
    data = encode(photo.convert(mode), fmt)
    opened = Image.open(io.BytesIO(data))
    for color_type, reference in (('color', np.array(opened.convert('RGB'))),
                                  ('grayscale', np.array(opened.convert('RGB').convert('L'))[..., None])):
        got = decode_image(data, color_type)
        assert got.dtype == np.uint8 and got.shape == reference.shape
        difference = np.abs(got.astype(int) - reference)
        # grey of a JPEG is its stored luma, which has not gone through colours clipped to 0..255
        assert difference.mean() < 0.1 and difference.max() <= (16 if color_type == 'grayscale' else 3)
    bgr = decode_image(data, 'color', 'bgr')
    np.testing.assert_array_equal(bgr[..., ::-1], decode_image(data, 'color'))
    assert decode_image(data, 'unchanged').shape == (120, 160, stored)


def test_transparent_palette(photo):
    data = encode(photo.convert('P'), 'PNG', transparency=3)
    assert decode_image(data, 'unchanged').shape == (120, 160, 4)
    np.testing.assert_array_equal(decode_image(data), np.array(photo.convert('P').convert('RGB')))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('fmt', ['JPEG', 'PNG'])
def test_exif_orientation(photo, orientation, fmt):
    exif = Image.Exif()
    exif[0x010F] = 'a maker'  # another entry before it
    exif[0x0112] = orientation
    data = encode(photo, fmt, exif=exif)
    reference = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    got = decode_image(data)
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got.astype(int), reference, atol=1)


def test_exif_of_the_other_byte_order_and_a_damaged_one(photo):
    data = encode(photo, 'JPEG')

    def with_exif(tiff):
        segment = b'Exif\0\0' + tiff
        return data[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + data[2:]

    entry = (0x0112).to_bytes(2, 'little') + (3).to_bytes(2, 'little') + (1).to_bytes(4, 'little') + b'\6\0\0\0'
    little = b'II*\0' + (8).to_bytes(4, 'little') + (1).to_bytes(2, 'little') + entry
    assert decode_image(with_exif(little)).shape == (160, 120, 3)
    long = (0x0112).to_bytes(2, 'big') + (4).to_bytes(2, 'big') + (1).to_bytes(4, 'big') + b'\0\0\0\6'
    assert decode_image(with_exif(b'MM\0*\0\0\0\x08\0\1' + long)).shape == (160, 120, 3)
    behind_the_end = b'II*\0' + (1 << 24).to_bytes(4, 'little')
    assert decode_image(with_exif(behind_the_end)).shape == (120, 160, 3)


@pytest.mark.parametrize('kind', ['16-bit PNG', '32-bit TIFF', 'float TIFF'])
def test_deep_grey_is_scaled_not_clipped(kind):
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    data = {
        '16-bit PNG': lambda: encode(Image.fromarray(values), 'PNG'),
        '32-bit TIFF': lambda: encode(Image.fromarray(values.astype(np.int32)), 'TIFF'),
        'float TIFF': lambda: encode(Image.fromarray((values / 65535).astype(np.float32)), 'TIFF'),
    }[kind]()
    reference = np.round(values / 257.).astype(int)
    np.testing.assert_allclose(decode_image(data, 'grayscale')[..., 0], reference, atol=1)
    np.testing.assert_allclose(decode_image(data)[..., 2], reference, atol=1)


def _with(value, shape=(6, 5), fill=0.5):
    values = np.full(shape, fill, np.float32)
    values[2, 3] = value
    return encode(Image.fromarray(values), 'TIFF')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_broken(value):
    """They became a black image without a word."""
    with pytest.raises(BrokenImageError, match='1 of 30 grey values are no finite.*row 2, column 3'):
        decode_image(_with(value))


def test_constant_deep_grey():
    """Within the range of its kind a constant is what it is; beyond it, the file does not say how bright."""
    assert np.unique(decode_image(_with(0.5))).tolist() == [128]
    for fill in (7.5, -3):
        with pytest.raises(BrokenImageError, match=f'all grey values are {fill}'):
            decode_image(_with(fill, fill=fill))
    img = decode_image(_with(7.5, fill=2.5))
    assert (img[2, 3] == 255).all() and (img[0, 0] == 0).all()


def test_images_above_the_limit_of_pillow(photo, monkeypatch):
    """Its limit is against bombs that strangers send: it counted large images as broken."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    data = encode(photo, 'PNG')
    np.testing.assert_array_equal(decode_image(data), np.array(photo))
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(decode, 'MAX_PIXELS', 10000)
    with pytest.raises(BrokenImageError, match='19200 pixels.* exceeds limit of 10000'):
        decode_image(data)


def test_bytes_between_jpeg_segments_do_no_harm(photo):
    data = encode(photo, 'JPEG')
    np.testing.assert_array_equal(decode_image(data[:-2] + b'\0' * 9 + data[-2:]), decode_image(data))


@pytest.mark.parametrize('fmt', ['JPEG', 'PNG', 'TIFF'])
def test_broken_files_raise(photo, fmt):
    """Pitfall: a broken image ends the run after hours, or trains on grey squares."""
    data = encode(photo, fmt)
    for part in (b'', b'no image at all', data[:40], data[:len(data) // 2], data[:-20]):
        if part == data[:-20] and fmt == 'PNG':
            continue  # only the end marker is gone
        with pytest.raises(BrokenImageError, match='some/file') as caught:
            decode_image(part, filename='some/file')
        assert caught.value.filename == 'some/file' and caught.value.reason
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)

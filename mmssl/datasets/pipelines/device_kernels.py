# Copyright (c) mmssl contributors. All rights reserved.
"""Colour steps on a batch of images, each image with parameters of its own.

Images are float32, N x C x H x W, contiguous, and hold whole grey levels 0 to 255 before and after each kernel, so that
these give what the steps on one uint8 image give. A kernel takes the batch, the rows of it that are meant (None: all)
and its parameters, and returns the batch, which it may have changed in place. No kernel waits for the device: all that
decides how much is computed is known on the host.

The steps themselves say what is done, and after whom: color.py, photometric.py, blur.py and geometry.py.
"""
from functools import wraps

import torch
import torch.nn.functional as F

_LUMA = 0.299, 0.587, 0.114
# sRGB -> XYZ, divided by the white of D65, as OpenCV has it
_XYZ = tuple(
    tuple(value / white for value in row)
    for row, white in (((0.412453, 0.357580, 0.180423), 0.950456), ((0.212671, 0.715160, 0.072169), 1),
                       ((0.019334, 0.119193, 0.950227), 1.088754)))


def _rows(x, index):
    return x if index is None else x.index_select(0, index)


def _put(x, index, rows):
    return rows if index is None else x.index_copy_(0, index, rows)


def _each(values):
    """One value an image, for its pixels."""
    return values.view(-1, 1, 1, 1)


def _weighted(planes, weights):
    """A weighted sum of three planes."""
    out = planes[0] * weights[0]
    return out.add_(planes[1], alpha=weights[1]).add_(planes[2], alpha=weights[2])


def _on_colours(kernel):
    """Let a kernel change the first three channels of four alone."""

    @wraps(kernel)
    def function(x, *args, **options):
        if x.shape[1] != 4:
            return kernel(x, *args, **options)
        x[:, :3] = kernel(x[:, :3].contiguous(), *args, **options)
        return x

    return function


@_on_colours
def linear(x, index, scale, luma, mean, mean_scale, mean_offset, offset, with_luma=True, with_mean=True):
    """scale * x + luma * (the pixel's luminance) + mean * (the image's mean luminance) + offset, rounded.

    The mean luminance is that of mean_scale * x + mean_offset, a whole number.

    Args:
        x (Tensor): N x C x H x W.
        index (Tensor, optional): n rows.
        scale, luma, mean, mean_scale, mean_offset (Tensor): n.
        offset (Tensor): n x 3, the same for all channels where there are not three.
        with_luma, with_mean (bool): Whether one of these is not 0.
    """
    rows = _rows(x, index)
    three = rows.shape[1] == 3
    offset = offset if three else offset[:, :1]
    if with_mean:
        means = rows.mean((2, 3))
        means = _weighted(means.unbind(1), _LUMA) if three else means.mean(1)
        offset = offset + (mean * (mean_scale * means + mean_offset + 0.5).trunc_())[:, None]
    out = torch.addcmul(offset[..., None, None], rows, _each(scale))
    if with_luma:
        out.addcmul_(_weighted(rows.unbind(1), _LUMA).unsqueeze(1), _each(luma))
    return _put(x, index, out.round_().clamp_(0, 255))


@_on_colours
def hue(x, index, taken, given, complement, rest):
    """Turn the hue, as color.py explains it: permute the channels, take the complement, turn by the rest of a side.

    Args:
        x (Tensor): N x 3 x H x W.
        index (Tensor, optional): Not used: `taken` and `given` have it.
        taken (Tensor): 3n channels of the batch, counted through: where those come from that turn towards each other.
        given (Tensor): 3n channels of the batch: where they go.
        complement (Tensor): n: 1 where the complement is taken, else 0.
        rest (Tensor): n: what is left, in sides, 0 to 0.5.
    """
    channels = x.flatten(0, 1)
    planes = channels.index_select(0, taken.long()).unflatten(0, (-1, 3))
    r, g, b = planes.unbind(1)
    high, low = (torch.maximum(torch.maximum(r, g), b).unsqueeze(1), torch.minimum(torch.minimum(r, g), b).unsqueeze(1))
    complement = _each(complement)
    planes.mul_(1 - 2 * complement).addcmul_(high + low, complement)
    step = torch.sub(high, low).mul_(_each(rest)).round_()
    other = planes.roll(-1, 1)
    change = torch.maximum(other, low + step).sub_(other)
    out = torch.minimum(planes.add_(change), high)
    high_less = high - step
    change = torch.maximum(other, high_less).sub_(high_less)
    out = torch.maximum(out.sub_(change), low)
    return channels.index_copy_(0, given.long(), out.flatten(0, 1)).view_as(x)


@_on_colours
def hue_of_small(x, index, shift):
    """Turn the hue through HSV in 8 bits, in the steps of OpenCV's conversions, as color.py does it for small images.

    Args:
        x (Tensor): N x 3 x H x W.
        index (Tensor, optional): n rows.
        shift (Tensor): n 256ths of a turn, 0 to 255.
    """
    rows = _rows(x, index)
    r, g, b = rows.unbind(1)
    value = torch.maximum(torch.maximum(r, g), b)
    span = value - torch.minimum(torch.minimum(r, g), b)
    # OpenCV divides through tables of 12 fractional bits, which float32 holds exactly
    saturation = torch.div(255 * 4096, value.clamp(min=1)).round_().mul_(span).add_(2048).div_(4096).floor_()
    angle = torch.where(value == r, g - b, torch.where(value == g, b - r + 2 * span, r - g + 4 * span))
    angle.mul_(torch.div(256 * 4096, 6 * span.clamp(min=1)).round_()).add_(2048).div_(4096).floor_()
    angle = torch.where(angle < 0, angle + 256, angle).clamp_(max=255).add_(shift.view(-1, 1, 1)).remainder_(256)
    angle.mul_(6 / 255)
    grey = value * saturation.div_(255)  # what the colour takes from the value
    # one ramp of the hexagon a channel
    planes = [(angle + start).remainder_(6) for start in (5, 3, 1)]
    planes = [value - grey * torch.minimum(part, 4 - part).clamp_(0, 1) for part in planes]
    return _put(x, index, torch.stack(planes, 1).round_())


def invert(x, index, threshold):
    """Invert what is bright.

    Args:
        threshold (Tensor): n grey levels from which on.
    """
    rows = _rows(x, index)
    return _put(x, index, torch.where(rows >= _each(threshold), 255 - rows, rows))


@_on_colours
def solarize(x, index, threshold):
    """As `invert`, and a fourth channel stays as it is."""
    return invert(x, index, threshold)


@_on_colours
def posterize(x, index, step):
    """Keep multiples.

    Args:
        step (Tensor): n distances of the grey levels that are kept, 1 to 256.
    """
    step = _each(step)
    return _put(x, index, torch.div(_rows(x, index), step).floor_().mul_(step))


@_on_colours
def sharpness(x, index, factor):
    """Mix images with smoothed ones, but for the outermost pixels.

    Args:
        factor (Tensor): n.
    """
    rows = _rows(x, index)
    inner = rows[..., 1:-1, 1:-1]
    smooth = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = smooth[..., :-2, :] + smooth[..., 1:-1, :] + smooth[..., 2:, :]
    smooth.add_(inner, alpha=4).div_(13).round_()
    # decimals are cut off; what should be a whole number must not be a little less
    smooth.addcmul_(inner - smooth, _each(factor)).add_(1e-4).floor_().clamp_(0, 255)
    out = rows.clone()
    out[..., 1:-1, 1:-1] = smooth
    return _put(x, index, out)


@_on_colours
def autocontrast(x, index):
    """Stretch each channel to 0..255."""
    rows = _rows(x, index)
    low, high = rows.amin((2, 3), keepdim=True), rows.amax((2, 3), keepdim=True)
    out = torch.sub(rows, low).mul_(255).div_(high - low).floor_()  # of integers, so what is whole stays so
    return _put(x, index, torch.where(high > low, out, rows))


def blur(x, index, kernel):
    """Blur, border pixels repeated.

    Args:
        kernel (Tensor): n x K, K odd.
    """
    rows, half = _rows(x, index), kernel.shape[1] // 2
    for dim, pad in ((3, (half, half, 0, 0)), (2, (0, 0, half, half))):
        padded, size = F.pad(rows, pad, 'replicate'), rows.shape[dim]
        # a pass a tap: a convolution with a group for each channel of each image would have cuDNN look for the best
        # algorithm anew in each batch
        rows = padded.narrow(dim, 0, size) * _each(kernel[:, 0])
        for tap in range(1, kernel.shape[1]):
            rows.addcmul_(padded.narrow(dim, tap, size), _each(kernel[:, tap]))
    return _put(x, index, rows.round_())


def lab(x, index):
    """RGB to CIE Lab in 8 bits."""
    rows = _rows(x, index) / 255
    rows = torch.where(rows <= 0.04045, rows / 12.92, ((rows + 0.055) / 1.055).pow_(2.4)).unbind(1)
    xyz = torch.stack([_weighted(rows, weights) for weights in _XYZ], 1)
    x_root, y_root, z_root = torch.where(xyz > 0.008856, xyz.pow(1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    planes = (116 * y_root - 16) * 2.55, 500 * (x_root - y_root) + 128, 200 * (y_root - z_root) + 128
    return _put(x, index, torch.stack(planes, 1).round_().clamp_(0, 255))


def erase(x, index, top, left, height, width, value):
    """Paint rectangles over.

    Args:
        top, left, height, width (Tensor): n, in pixels.
        value (Tensor): n x C grey levels.
    """
    rows = _rows(x, index)
    y, x_place = (torch.arange(size, device=x.device) for size in rows.shape[2:])
    inside = [(place >= start[:, None]) & (place < (start + length)[:, None])
              for place, start, length in ((y, top, height), (x_place, left, width))]
    inside = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return _put(x, index, torch.where(inside, value[..., None, None], rows))


def mirror(x, index):
    """Swap left and right."""
    return _put(x, index, _rows(x, index).flip(3))


def upside_down(x, index):
    """Swap top and bottom."""
    return _put(x, index, _rows(x, index).flip(2))


def transpose(x, index):
    """Swap rows and columns, of square images."""
    return _put(x, index, _rows(x, index).transpose(2, 3).contiguous())


def select(x, index, channels=()):
    """Take some channels, of all images."""
    return torch.stack([x[:, channel] for channel in channels], 1)

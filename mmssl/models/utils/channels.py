# Copyright (c) mmssl contributors. All rights reserved.
"""Do two networks of a config fit each other?"""
from mmssl.utils.errors import ConfigError


def check_channels(x, channels, part, argument='in_channels'):
    """See that features have as many channels as a part of the model takes, as another backbone may give others.

    Args:
        x (Tensor): Features, N x C or N x C x H x W.
        channels (int | None): C as the part takes it; None takes any.
        part (Module): The part, named in the error.
        argument (str): What the part calls its number of channels.

    Raises:
        ConfigError: Another number.
    """
    if channels is not None and x.shape[1] != channels:
        raise ConfigError(f'{type(part).__name__} takes {channels} channels and gets {x.shape[1]}: its {argument} must '
                          'be what the network before it gives')


def check_image_channels(given, channels):
    """See that images have as many channels as a backbone takes.

    Args:
        given (int): Channels of the images.
        channels (int): Those that the backbone takes, its in_channels.

    Raises:
        ConfigError: Another number.
    """
    if given != channels:
        raise ConfigError(
            f'the backbone takes images of {channels} channels and gets images of {given}: set '
            f'model.backbone.in_channels={given}, or let the data give {channels} (color_type of the data '
            'source is "color" for 3 and "grayscale" for 1; with_sobel=True makes 2 of any number)')

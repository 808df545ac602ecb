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

# Copyright (c) mmssl contributors. All rights reserved.
"""Do two networks of a config fit each other, and a network the data?"""
from mmssl.utils.errors import Completed, ConfigError
from mmssl.utils.registry import accepted_arguments


def feature_channels(part):
    """Channels of what a backbone or a neck gives last.

    Args:
        part (Module): Its `out_channels` (int, or one for each map) says it, or `feat_dim` or `embed_dims` of networks
            that are not ours.

    Returns:
        int | None: None where it does not say.
    """
    for name in ('out_channels', 'feat_dim', 'embed_dims'):
        channels = getattr(part, name, None)
        channels = channels[-1] if isinstance(channels, (list, tuple)) and channels else channels
        if type(channels) is int:
            return channels
    return None


def fill_in_channels(cfg, channels, registry, name='in_channels'):
    """Give a part of a model the `in_channels`, or the argument of another name, that its config leaves out.

    Args:
        cfg (dict | None): Config of a neck, head or predictor. Where its class has a default, it takes that unless the
            config says None.
        channels (int | None): What the network before it gives.
        registry (Registry): Where its class is looked up.
        name (str): The argument.

    Returns:
        dict | None: The config, with the argument where it can be told.

    Raises:
        ConfigError: The config leaves open what its class needs, and the network before it does not tell.
    """
    if not isinstance(cfg, dict) or cfg.get(name) is not None or channels is None and name not in cfg:
        return cfg
    cls = registry.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
    argument = None if cls is None else accepted_arguments(cls)[0].get(name)
    if argument is None or name not in cfg and argument.default not in (argument.empty, None):
        return cfg
    if channels is None:
        if argument.default is not None:
            raise ConfigError(
                f'{name} of {cfg["type"]} is None, and the network before it does not tell how many '
                f'channels its last output has: set {name} to that number', cfg)
        return cfg
    return Completed(cfg, **{name: channels})


def fill_map_channels(cfg, backbone, stages, registry):
    """Give a head on several stages the `map_channels` that its config leaves out, where the backbone says them.

    Args:
        cfg (dict | None): Config of the head. Its `in_indices` must be `stages`.
        backbone (Module): The backbone.
        stages (Sequence[int] | None): Those of its `out_indices` that the head gets; None for all.
        registry (Registry): Where the class of the head is looked up.

    Returns:
        dict | None: The config, with the argument where it can be told.
    """
    given = getattr(backbone, 'out_indices', None)
    asked = cfg.get('in_indices') if isinstance(cfg, dict) else None
    if not isinstance(asked, (list, tuple)) or not isinstance(given, (list, tuple)):
        return cfg
    widths = getattr(backbone, 'out_channels', None)
    if list(asked) != list(given if stages is None else stages) or not isinstance(widths, list):
        return cfg
    widths = [widths[given.index(stage)] for stage in asked]
    return cfg if None in widths else fill_in_channels(cfg, widths, registry, 'map_channels')


def settle(name, given, found, what):
    """A number that the training data tell, for `fit_to_data`.

    Args:
        name (str): The argument.
        given (int | list[int] | None): What the config says; None takes what is found.
        found (int | list[int]): What the data say.
        what (str): What is counted, such as 'samples'.

    Returns:
        int | list[int]: The number.

    Raises:
        ConfigError: The config says another.
    """
    if given is not None and given != found:
        raise ConfigError(f'{name} is {given}, the training data has {found} {what}: set {name}={found}, or leave it '
                          'out')
    return found


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

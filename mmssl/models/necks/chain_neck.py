# Copyright (c) mmssl contributors. All rights reserved.
"""Necks one behind the other, and the layer that joins the towers of an image."""
from mmcv.runner import BaseModule
from torch import nn
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError, check_integer, nearest
from ..builder import NECKS, build_neck
from ..utils.channels import check_channels, feature_channels, fill_in_channels


@NECKS.register_module()
class ConcatTowers(BaseModule):
    """The vectors of the parts of an image, which went through the network as images of their own, as one vector.

    Args:
        num_towers (int): Parts of each image, T, such as the 9 patches of Jigsaw
            <https://arxiv.org/abs/1603.09246>.
        in_channels (int, optional): Width of the vector of one part; others are then refused.

    Raises:
        ConfigError: Less than one tower.
    """

    def __init__(self, num_towers, in_channels=None):
        super().__init__()
        check_integer(num_towers, 'ConcatTowers: num_towers', 1)
        self.num_towers = num_towers
        self.in_channels = in_channels
        self.out_channels = None if in_channels is None else num_towers * in_channels

    def forward(self, x):
        """Vectors (the last of a tuple or list, (N * T) x C, the parts of an image in a row) to [N x (T * C)].

        Raises:
            ConfigError: Another width, or a number of vectors that is no multiple of T.
        """
        x = x[-1].flatten(1)
        check_channels(x, self.in_channels, self)
        if len(x) % self.num_towers:
            raise ConfigError(f'ConcatTowers joins num_towers={self.num_towers} vectors of each image and gets '
                              f'{len(x)}, which is no multiple: num_towers must be the number of parts of an image')
        return [x.reshape(len(x) // self.num_towers, -1)]


@NECKS.register_module()
class ChainNeck(BaseModule):
    """Necks one behind the other, each on what the one before it gives.

    Args:
        necks (list[dict]): Their configs. Where one has no in_channels, it takes the width that the one before gives.
        in_channels (int, optional): Channels of the features, for the first; None where its own config has them.
        init_cfg (dict | list[dict] | None): Initialisation.

    Raises:
        ConfigError: No neck, or a width that does not fit the neck before.
    """

    def __init__(self, necks, in_channels=None, init_cfg=None):
        super().__init__(init_cfg)
        if not necks:
            raise ConfigError('ChainNeck needs the configs of one or more necks, got none')
        self.necks = nn.ModuleList()
        self.in_channels = width = in_channels
        for cfg in necks:
            own = cfg.get('in_channels') if isinstance(cfg, dict) else None
            if width is not None and own not in (None, width):
                raise ConfigError(
                    f'{cfg["type"]} has in_channels={own}, the part before it gives {width}: leave it '
                    f'out, or set in_channels={width}', cfg)
            self.necks.append(build_neck(fill_in_channels(cfg, width, NECKS)))
            if not getattr(self.necks[-1], 'keeps_channels', False):
                width = feature_channels(self.necks[-1])
        self.out_channels = width

    def forward(self, x):
        """Features as the first neck takes them to what the last one gives."""
        for neck in self.necks:
            x = neck(x)
        return x


@NECKS.register_module()
class Wrap(BaseModule):
    """A function of torch.nn.functional, or one of your own, as a neck, such as one of a chain.

    Args:
        function (str | Callable): Its name, such as 'normalize', or itself; it is called with the last tensor.
        options (dict, optional): Further arguments of the function.

    Raises:
        ConfigError: torch.nn.functional has no function of this name.
    """
    keeps_channels = True

    def __init__(self, function, options=None):
        super().__init__()
        known = [name for name, found in vars(F).items() if callable(found) and name[0] != '_']
        if isinstance(function, str) and function not in known:
            raise ConfigError(f'Wrap: torch.nn.functional has no {function!r}; {nearest(function, known)}')
        self.function = getattr(F, function) if isinstance(function, str) else function
        self.options = dict(options or {})

    def forward(self, x):
        """The last tensor of a tuple or list to [what the function makes of it]."""
        return [self.function(x[-1], **self.options)]

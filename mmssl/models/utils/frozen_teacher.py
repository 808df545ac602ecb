# Copyright (c) mmssl contributors. All rights reserved.
"""A network that others learn from and that does not learn itself."""
import math

import torch
from torch import nn

from mmssl.utils.checkpoint import get_state_dict, load_weights, read_checkpoint
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from ..builder import build_backbone, build_neck
from .channels import feature_channels
from .maps import resize_map, spatial_maps


class FrozenTeacher(nn.Module):
    """A trained network as the teacher of another one.

    It is always in evaluation mode, gets no gradient, and is no part of checkpoints. Its weights stay in their file,
    which is read when the first batch comes: evaluating a student needs no teacher. Student and teacher see the same
    images; where the teacher was trained with another normalisation, `img_norm_cfg` and `data_norm_cfg` say so.

    Args:
        backbone (dict): Config of any backbone.
        checkpoint (str, optional): Its weights: a checkpoint of a training, or of a backbone alone. None takes those
            that the backbone's own config loads, such as pretrained=True of a TIMMBackbone.
        neck (dict, optional): Config of the checkpoint's projector, whose output is then taught. By default that is the
            class token, or the mean over positions, of the backbone's last output.
        img_norm_cfg (dict, optional): `mean` and `std` of the images that the teacher is used to, on the scale 0 to 1.
        data_norm_cfg (dict, optional): Those by which the data normalises, the config's own img_norm_cfg.

    Raises:
        ConfigError: One of the two normalisations without the other, or one that is none.
    """

    def __init__(self, backbone, checkpoint=None, neck=None, img_norm_cfg=None, data_norm_cfg=None):
        super().__init__()
        if (img_norm_cfg is None) != (data_norm_cfg is None):
            raise ConfigError(
                'model.teacher.img_norm_cfg is what the teacher wants, data_norm_cfg what the images come '
                f'with: give both or none, got {img_norm_cfg!r} and {data_norm_cfg!r}')
        scale = shift = None
        if img_norm_cfg is not None:
            channels = len(data_norm_cfg.get('mean') or ())
            mean, std = _mean_and_std(img_norm_cfg, 'model.teacher.img_norm_cfg', channels)
            data_mean, data_std = _mean_and_std(data_norm_cfg, 'model.teacher.data_norm_cfg', channels)
            # (x * data_std + data_mean - mean) / std
            scale, shift = (data_std / std).float(), ((data_mean - mean) / std).float()
        self.register_buffer('scale', scale, persistent=False)
        self.register_buffer('shift', shift, persistent=False)
        network = nn.ModuleDict(dict(backbone=build_backbone(backbone)))
        if neck is not None:
            network['neck'] = build_neck(neck)
        self.out_channels = feature_channels(network['neck' if neck is not None else 'backbone'])
        self.checkpoint = checkpoint
        self._loaded = False
        # no child: neither state dicts nor DDP nor train() see it
        vars(self)['network'] = network.eval().requires_grad_(False)

    def _apply(self, fn, recurse=True):
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def load(self):
        """Read the weights, once."""
        if self._loaded:
            return
        if self.checkpoint is None:
            self.network['backbone'].init_weights()
            get_root_logger().warning(
                'teacher.checkpoint is None: the teacher has the weights that its own config gives')
        else:
            weights = get_state_dict(read_checkpoint(self.checkpoint))
            whole = any(key.startswith('backbone.') for key in weights)
            for name, part in self.network.items():
                load_weights(part, weights, prefix=f'{name}.' if whole else '', complete=('', ), source=self.checkpoint)
        self._loaded = True

    @torch.no_grad()
    def outputs(self, img):
        """What the backbone gives for images, N x C x H x W."""
        self.load()
        return self.network['backbone'](img if self.scale is None else img * self.scale + self.shift)

    @property
    def map_channels(self):
        """int | None: Channels of `join_maps`; None where the backbone does not tell those of each map."""
        channels = getattr(self.network['backbone'], 'out_channels', None)
        return sum(channels) if isinstance(channels, list) else channels

    @staticmethod
    def join_maps(outputs):
        """All maps of the backbone (its `out_indices`) as one of the size of the last, N x D x H x W."""
        maps = spatial_maps(outputs)
        return torch.cat([resize_map(x, maps[-1].shape[-2:]) for x in maps], 1)

    @torch.no_grad()
    def pool(self, outputs):
        """Outputs of the backbone to features, N x D."""
        if 'neck' in self.network:
            return self.network['neck'](outputs)[0]
        last = outputs[-1]
        if isinstance(last, (tuple, list)):  # a map and a class token
            return last[-1]
        return last.mean((2, 3)) if last.dim() == 4 else last

    def forward(self, img, idx=None):
        """Images, N x C x H x W, to features, N x D. Their numbers are of no use here; a StoredTeacher wants them."""
        return self.pool(self.outputs(img))


def _mean_and_std(cfg, name, channels):
    """Both as C x 1 x 1 float64, of as many channels as the data's."""
    numbers = [cfg.get(key) for key in ('mean', 'std')]
    if set(cfg) - {'mean', 'std'} or not all(
            isinstance(part, (list, tuple)) and len(part) == channels > 0 and all(
                isinstance(number, (int, float)) and math.isfinite(number) for number in part)
            for part in numbers) or max(numbers[0]) > 1 or min(numbers[1]) <= 0:
        raise ConfigError(f'{name} has a mean and a std, lists of a number for each channel on the scale 0 to 1 (means '
                          f'up to 1, std above 0), got {cfg}')
    return [torch.tensor(part, dtype=torch.float64).view(-1, 1, 1) for part in numbers]

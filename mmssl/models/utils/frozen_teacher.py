# Copyright (c) mmssl contributors. All rights reserved.
"""A network that others learn from and that does not learn itself."""
import torch
from torch import nn

from mmssl.utils.checkpoint import get_state_dict, load_weights, read_checkpoint
from mmssl.utils.logger import get_root_logger
from ..builder import build_backbone, build_neck
from .channels import feature_channels


class FrozenTeacher(nn.Module):
    """A trained network as the teacher of another one.

    It is always in evaluation mode, gets no gradient, and is no part of checkpoints. Its weights stay in their file,
    which is read when the first batch comes: evaluating a student needs no teacher. Student and teacher see the same
    images, normalised by the same `img_norm_cfg`.

    Args:
        backbone (dict): Config of any backbone.
        checkpoint (str, optional): Its weights: a checkpoint of a training, or of a backbone alone. None takes those
            that the backbone's own config loads, such as pretrained=True of a TIMMBackbone.
        neck (dict, optional): Config of the checkpoint's projector, whose output is then taught. By default that is the
            class token, or the mean over positions, of the backbone's last output.
    """

    def __init__(self, backbone, checkpoint=None, neck=None):
        super().__init__()
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
    def forward(self, img):
        """Images, N x C x H x W, to features, N x D."""
        self.load()
        maps = self.network['backbone'](img)
        if 'neck' in self.network:
            return self.network['neck'](maps)[0]
        last = maps[-1]
        if isinstance(last, (tuple, list)):  # a map and a class token
            return last[-1]
        return last.mean((2, 3)) if last.dim() == 4 else last

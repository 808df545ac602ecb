# Copyright (c) mmssl contributors. All rights reserved.
"""The earlier teacher whose patches Gram anchoring compares with."""
import torch
from torch import nn

from mmssl.utils.errors import ConfigError
from ..losses import gram_anchoring
from .iteration_counter import IterationCounter
from .momentum_encoder import MomentumEncoder


class GramTeacher(nn.Module):
    """A copy of the teacher's backbone that stands still, but for a new copy now and then (DINOv3,
    https://arxiv.org/abs/2508.10104, section 4).

    Checkpoints hold it, and a resumed training goes on with it. One that begins with weights of another training
    (load_from) makes its first copy anew.

    Args:
        backbone (nn.Module): The backbone, of which it is a copy.
        weight (float): Factor of the loss.
        start (int): Iterations before the first copy. Until then the loss is 0.
        interval (int): Iterations between copies.
        updates (int): Number of copies in all; then the last one stays.

    Raises:
        ConfigError: A number out of range.
    """

    def __init__(self, backbone, weight=2., start=0, interval=10000, updates=3):
        super().__init__()
        if not (weight >= 0 and start >= 0 and interval > 0 and updates > 0):
            raise ConfigError('gram: weight and start cannot be negative, interval and updates must be positive; got '
                              f'weight={weight}, start={start}, interval={interval}, updates={updates}')
        self.network = MomentumEncoder(backbone, drop_path=False)
        self.weight = weight
        self.start = start
        self.interval = interval
        self.updates = updates
        self.iterations = IterationCounter()

    def forward(self, img, maps, teacher):
        """The loss, and a copy where it is time for one.

        Args:
            img (Tensor): Large views as they are, N x C x H x W.
            maps (Tensor): What the student makes of them, N x D x h x w.
            teacher (nn.Module): The teacher's backbone now.

        Returns:
            Tensor: 0-dim.
        """
        since = self.iterations.done - self.start
        if self.training:
            if 0 <= since < self.interval * self.updates and since % self.interval == 0:
                self.network.copy_from(teacher)
            self.iterations.step()
        if since < 0:
            return maps.new_zeros((), dtype=torch.float32)
        patches, anchors = (x.flatten(2).mT for x in (maps, self.network(img)[-1][0]))  # N x h*w x D
        return self.weight * gram_anchoring(patches, anchors)

    def train(self, mode=True):
        super().train(mode)
        self.network.eval()
        return self

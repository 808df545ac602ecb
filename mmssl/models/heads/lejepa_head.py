# Copyright (c) mmssl contributors. All rights reserved.
"""Head of LeJEPA."""
import torch
from mmcv.runner import BaseModule
from torch.nn import functional as F

from mmssl.utils.dist import broadcast, get_world_size
from ..builder import HEADS
from ..losses import check_several_images, in_float32, sigreg


@HEADS.register_module()
class LeJEPAHead(BaseModule):
    """All views of an image predict the mean of its large ones, and projections are normally distributed.

    See LeJEPA <https://arxiv.org/abs/2511.08544> and `sigreg`. There is neither a teacher nor a temperature; `lambd` is
    the one weight.

    Args:
        lambd (float): Share of the regularisation in the loss, 0 to 1.
        num_slices (int): Directions that are drawn for each batch.

    Raises:
        ValueError: A share outside 0 to 1, or no directions.
    """

    def __init__(self, lambd=0.05, num_slices=256):
        super().__init__()
        if not 0 <= lambd <= 1 or num_slices < 1:
            raise ValueError(f'lambd is a share, 0 to 1, and num_slices positive; got {lambd!r} and {num_slices!r}')
        self.lambd = lambd
        self.num_slices = num_slices

    def forward(self, z, num_global):
        """Projections to a loss.

        Args:
            z (Tensor): V x B x D, the views of each image, large ones first.
            num_global (int): Number of the large views.

        Returns:
            dict[str, Tensor]: `loss`, and its terms `prediction` and `sigreg` without their weights.
        """
        check_several_images(z.shape[1] * get_world_size())
        prediction = self.prediction(z, num_global)
        # drawn by the first process alone; the state of its generator is in the checkpoint
        directions = broadcast(F.normalize(torch.randn(z.shape[2], self.num_slices, device=z.device), dim=0))
        regularisation = sigreg(z, directions.to(torch.promote_types(z.dtype, torch.float32)))
        loss = (1 - self.lambd) * prediction + self.lambd * regularisation
        return dict(loss=loss, prediction=prediction, sigreg=regularisation)

    @staticmethod
    @in_float32
    def prediction(z, num_global):
        """Mean over views, images and dimensions of (mean of the large views - view)^2; the mean has a gradient."""
        return (z[:num_global].mean(0) - z).square().mean()

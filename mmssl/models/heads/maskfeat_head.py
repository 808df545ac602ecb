# Copyright (c) mmssl contributors. All rights reserved.
"""Head of MaskFeat."""
from mmcv.runner import BaseModule
from torch import nn

from mmssl import old_places
from ..builder import HEADS
from ..losses import masked_mse


@HEADS.register_module()
class MaskFeatPretrainHead(BaseModule):
    """A linear layer predicts the HOG features of masked patches (MaskFeat, https://arxiv.org/abs/2112.09133).

    Args:
        embed_dim (int): Dimension of the tokens.
        hog_dim (int): Dimension D of the features of a patch; see hog_of_patches.
    """

    def __init__(self, embed_dim=768, hog_dim=108):
        super().__init__(dict(type='TruncNormal', layer='Linear', std=0.02))
        self.head = nn.Linear(embed_dim, hog_dim)

    def forward(self, latent, hog, mask):
        """The loss.

        Args:
            latent (Tensor): Tokens, B x (1 + L) x embed_dim, the class token first.
            hog (Tensor): Features of the patches, B x L x D.
            mask (Tensor): B x L or B x h x w with h * w = L, 1 for a masked patch.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return self.loss(self.head(latent[:, 1:]), hog, mask.flatten(1))

    def loss(self, pred, target, mask):
        """Predictions and features (both B x L x D) and the mask (B x L) to dict(loss=...)."""
        return dict(loss=masked_mse(pred, target, mask))


def __getattr__(name):
    return old_places.lookup(__name__, name)

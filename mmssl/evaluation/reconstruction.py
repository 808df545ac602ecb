# Copyright (c) mmssl contributors. All rights reserved.
"""What masked image modelling makes of hidden pixels, as images."""
from typing import NamedTuple

import numpy as np
import torch

from .views import to_image

HIDDEN = (115, 105, 150)  # colour of what is masked: one that neither grey images nor photographs have much of


class Reconstruction(NamedTuple):
    """An image and what a model rebuilt of it; uint8, H x W x C.

    Attributes:
        original (ndarray): The image.
        masked (ndarray): What the encoder saw of it, H x W x 3; the rest is HIDDEN.
        reconstruction (ndarray): What the model predicts, visible patches too, of which no loss was taken.
        pasted (ndarray): The predicted pixels in the place of the masked ones, all else as it was.
        mask (ndarray): bool, H x W, true where masked.
    """
    original: np.ndarray
    masked: np.ndarray
    reconstruction: np.ndarray
    pasted: np.ndarray
    mask: np.ndarray

    @property
    def error(self):
        """Mean absolute error of the masked pixels, in grey levels of 0 to 255."""
        difference = self.original.astype(int) - self.reconstruction
        return float(np.abs(difference)[self.mask].mean()) if self.mask.any() else 0.


@torch.no_grad()
def reconstruct(model, img, norm=None):
    """Hide patches of images and rebuild them.

    Args:
        model (nn.Module): MAE or SimMIM, in evaluation mode. MAE draws its masks from torch's global generator; with
            `norm_pix` the mean and deviation of each masked patch are those of the original.
        img (Tensor | list[Tensor]): Images, B x C x H x W; for SimMIM also masks, B x h x w.
        norm (dict, optional): `mean` and `std` of the images, on the scale of 0 to 1.

    Returns:
        list[Reconstruction]: One an image.
    """
    found = model(img, mode='test')
    results = []
    for pixels, rebuilt, mask in zip(img[0] if isinstance(img, list) else img, found['reconstruction'], found['mask']):
        original, reconstruction = to_image(pixels, norm), to_image(rebuilt.float(), norm)
        mask = mask[0].bool().cpu().numpy()
        hidden = mask[..., None]
        masked = np.where(hidden, np.array(HIDDEN, np.uint8), original)
        pasted = np.where(hidden, reconstruction, original)
        results.append(Reconstruction(original, masked, reconstruction, pasted, mask))
    return results

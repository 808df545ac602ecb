# Copyright (c) mmssl contributors. All rights reserved.
"""Random numbers for the images of a batch, drawn in the model."""
import torch
from torch import nn

from mmssl.utils.splitmix import mix
from .drawing import keyed_integers
from .iteration_counter import IterationCounter


class KeyedDraws(nn.Module):
    """Base of what draws masks.

    A number depends on the seed, on the training iteration and on the image's place in the batch of all processes. So
    it is the same in one process as in several, with any number of workers, and in a resumed training. Numbers are
    drawn on the host: nobody waits for the device to learn how many patches stay.

    Args:
        seed (int): Another one draws other numbers.

    Attributes:
        iterations (IterationCounter): Stepped by a subclass when it has drawn for an iteration.
    """

    def __init__(self, seed=0):
        super().__init__()
        self.seed = seed
        self.iterations = IterationCounter()

    def uniform(self, images, num, part=0):
        """Numbers of this iteration.

        Args:
            images (ndarray): Places of images in the batch of all processes, N integers; -1 is the batch itself.
            num (int): Numbers for each.
            part (int): Another one, up to 255, gives other numbers.

        Returns:
            ndarray: N x num, float64, at least 0 and below 1.
        """
        key = mix(torch.tensor(self.seed, device='cpu')) + (self.iterations.done * 256 + part)
        return keyed_integers(key, torch.as_tensor(images, device='cpu'), num, 2**31).numpy() / 2.**31

# Copyright (c) mmssl contributors. All rights reserved.
"""How many iterations a model has been trained for."""
import torch
from torch import nn


class IterationCounter(nn.Module):
    """Counts the training iterations of a model that does something else in its first ones.

    Checkpoints hold the number. It is kept on the host too, so that nobody waits for the device to read it.

    Attributes:
        done (int): Iterations that are over.
    """

    def __init__(self):
        super().__init__()
        self.done = 0
        self.register_buffer('number', torch.zeros((), dtype=torch.long))

    def step(self):
        """Another one is over."""
        self.done += 1
        self.number += 1

    def restart(self):
        """A training begins."""
        self.done = 0
        self.number.zero_()

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        self.done = int(self.number)

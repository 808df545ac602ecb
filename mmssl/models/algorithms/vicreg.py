# Copyright (c) mmssl contributors. All rights reserved.
"""VICReg."""
from ..builder import ALGORITHMS
from .barlowtwins import BarlowTwins


@ALGORITHMS.register_module()
class VICReg(BarlowTwins):
    """Variance-Invariance-Covariance Regularization <https://arxiv.org/abs/2105.04906>: Barlow Twins with VICRegHead.

    Args: see BarlowTwins.
    """
    heads = ('VICRegHead', )

# Copyright (c) mmssl contributors. All rights reserved.
from .base import BaseModel
from .byol import BYOL
from .classification import Classification
from .moco import MoCo
from .relative_loc import RelativeLoc
from .rotation_pred import RotationPred
from .simclr import SimCLR
from .simsiam import SimSiam

__all__ = ['BYOL', 'BaseModel', 'Classification', 'MoCo', 'RelativeLoc', 'RotationPred', 'SimCLR', 'SimSiam']

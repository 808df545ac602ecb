# Copyright (c) mmssl contributors. All rights reserved.
from .barlowtwins import BarlowTwins
from .base import BaseModel
from .byol import BYOL
from .classification import Classification
from .deepcluster import DeepCluster
from .densecl import DenseCL
from .interclr_moco import InterCLRMoCo
from .mmcls_classifier_wrapper import MMClsImageClassifierWrapper
from .moco import MoCo
from .npid import NPID
from .odc import ODC
from .relative_loc import RelativeLoc
from .rotation_pred import RotationPred
from .simclr import SimCLR
from .simsiam import SimSiam
from .swav import SwAV

__all__ = [
    'BYOL', 'BarlowTwins', 'BaseModel', 'Classification', 'DeepCluster', 'DenseCL', 'InterCLRMoCo',
    'MMClsImageClassifierWrapper', 'MoCo', 'NPID', 'ODC', 'RelativeLoc', 'RotationPred', 'SimCLR', 'SimSiam', 'SwAV'
]

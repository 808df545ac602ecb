# Copyright (c) mmssl contributors. All rights reserved.
from .barlowtwins import BarlowTwins
from .base import BackboneNeckHead, BaseModel
from .byol import BYOL
from .cae import CAE
from .classification import Classification
from .deepcluster import DeepCluster
from .deepclusterv2 import DeepClusterV2
from .dense_distillation import DenseDistillation
from .densecl import DenseCL
from .dino import DINO
from .dinov2 import DINOv2
from .distillation import Distillation
from .ibot import IBOT
from .ijepa import IJEPA
from .interclr_moco import InterCLRMoCo
from .jigsaw import Jigsaw
from .lejepa import LeJEPA
from .mae import MAE
from .maskfeat import MaskFeat
from .mmcls_classifier_wrapper import MMClsImageClassifierWrapper
from .moco import MoCo
from .mocov3 import MoCoV3
from .msn import MSN
from .multi_task import MultiTask
from .nnclr import NNCLR
from .npid import NPID
from .odc import ODC
from .pirl import PIRL
from .relational_distillation import RelationalDistillation
from .relative_loc import RelativeLoc
from .ressl import ReSSL
from .rotation_pred import RotationPred
from .seed import SEED
from .simclr import SimCLR
from .simmim import SimMIM
from .simreg import SimReg
from .simsiam import SimSiam
from .supcon import SupCon
from .swav import SwAV
from .swav_momentum import SwAVMomentum
from .vicreg import VICReg

__all__ = [
    'BYOL', 'BackboneNeckHead', 'BarlowTwins', 'BaseModel', 'CAE', 'Classification', 'DINO', 'DINOv2', 'DeepCluster',
    'DeepClusterV2', 'DenseCL', 'DenseDistillation', 'Distillation', 'IBOT', 'IJEPA', 'InterCLRMoCo', 'Jigsaw',
    'LeJEPA', 'MAE', 'MMClsImageClassifierWrapper', 'MSN', 'MaskFeat', 'MoCo', 'MoCoV3', 'MultiTask', 'NNCLR', 'NPID',
    'ODC', 'PIRL', 'ReSSL', 'RelationalDistillation', 'RelativeLoc', 'RotationPred', 'SEED', 'SimCLR', 'SimMIM',
    'SimReg', 'SimSiam', 'SupCon', 'SwAV', 'SwAVMomentum', 'VICReg'
]

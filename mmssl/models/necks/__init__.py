# Copyright (c) mmssl contributors. All rights reserved.
from .avgpool2d_neck import AvgPool2dNeck
from .cae_neck import CAENeck
from .chain_neck import ChainNeck, ConcatTowers, Wrap
from .densecl_neck import DenseCLNeck
from .dino_neck import DINONeck
from .ibot_neck import IBOTNeck
from .ijepa_predictor import IJEPAPredictor
from .mae_neck import MAEPretrainDecoder
from .map_neck import MapNeck
from .mlp import LinearNeck, MLPNeck, MoCoV2Neck, NonLinearNeck, ProjectionNeck, build_vector_norm
from .odc_neck import ODCNeck
from .relative_loc_neck import RelativeLocNeck
from .simmim_neck import SimMIMNeck
from .swav_neck import SwAVNeck

__all__ = [
    'AvgPool2dNeck', 'CAENeck', 'ChainNeck', 'ConcatTowers', 'DINONeck', 'DenseCLNeck', 'IBOTNeck', 'IJEPAPredictor',
    'LinearNeck', 'MAEPretrainDecoder', 'MLPNeck', 'MapNeck', 'MoCoV2Neck', 'NonLinearNeck', 'ODCNeck',
    'ProjectionNeck', 'RelativeLocNeck', 'SimMIMNeck', 'SwAVNeck', 'Wrap', 'build_vector_norm'
]

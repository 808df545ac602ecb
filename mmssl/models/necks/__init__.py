# Copyright (c) mmssl contributors. All rights reserved.
from .avgpool2d_neck import AvgPool2dNeck
from .densecl_neck import DenseCLNeck
from .mlp import LinearNeck, MoCoV2Neck, NonLinearNeck, ProjectionNeck, build_vector_norm
from .odc_neck import ODCNeck
from .relative_loc_neck import RelativeLocNeck
from .swav_neck import SwAVNeck

__all__ = [
    'AvgPool2dNeck', 'DenseCLNeck', 'LinearNeck', 'MoCoV2Neck', 'NonLinearNeck', 'ODCNeck', 'ProjectionNeck',
    'RelativeLocNeck', 'SwAVNeck', 'build_vector_norm'
]

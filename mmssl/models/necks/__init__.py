# Copyright (c) mmssl contributors. All rights reserved.
from .avgpool2d_neck import AvgPool2dNeck
from .mlp import LinearNeck, MoCoV2Neck, NonLinearNeck, ProjectionNeck, build_vector_norm
from .odc_neck import ODCNeck
from .relative_loc_neck import RelativeLocNeck

__all__ = [
    'AvgPool2dNeck', 'LinearNeck', 'MoCoV2Neck', 'NonLinearNeck', 'ODCNeck', 'ProjectionNeck', 'RelativeLocNeck',
    'build_vector_norm'
]

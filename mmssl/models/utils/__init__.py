# Copyright (c) mmssl contributors. All rights reserved.
import sys

from mmssl import old_places
from mmssl.utils.dist import GatherLayer
from .accuracy import Accuracy, accuracy
from .dall_e import Encoder, map_pixels
from .extract_process import ExtractProcess, MultiExtractProcess
from .hog_layer import HOGLayerC, hog_of_patches
from .momentum_encoder import MomentumEncoder, ema_update
from .multi_pooling import MultiPooling
from .multi_prototypes import MultiPrototypes
from .norm import SplitBatchNorm, SyncBatchNorm
from .patches import patchify, unpatchify
from .pretrained import PretrainedInit
from .sobel import Sobel
from .weight_norm import WeightNormLinear

__all__ = [
    'Accuracy', 'Encoder', 'ExtractProcess', 'GatherLayer', 'HOGLayerC', 'MomentumEncoder', 'MultiExtractProcess',
    'MultiPooling', 'MultiPrototypes', 'PretrainedInit', 'Sobel', 'SplitBatchNorm', 'SyncBatchNorm', 'WeightNormLinear',
    'accuracy', 'ema_update', 'hog_of_patches', 'map_pixels', 'patchify', 'unpatchify'
]
sys.modules[__name__].__class__ = old_places.FunctionsFirst


def __getattr__(name):
    return old_places.lookup(__name__, name)

# Copyright (c) mmssl contributors. All rights reserved.
from mmssl.utils.dist import GatherLayer
from .accuracy import Accuracy, accuracy
from .extract_process import ExtractProcess, MultiExtractProcess
from .momentum_encoder import MomentumEncoder, ema_update
from .multi_pooling import MultiPooling
from .multi_prototypes import MultiPrototypes
from .norm import SplitBatchNorm, SyncBatchNorm
from .pretrained import PretrainedInit
from .sobel import Sobel

__all__ = [
    'Accuracy', 'ExtractProcess', 'GatherLayer', 'MomentumEncoder', 'MultiExtractProcess', 'MultiPooling',
    'MultiPrototypes', 'PretrainedInit', 'Sobel', 'SplitBatchNorm', 'SyncBatchNorm', 'accuracy', 'ema_update'
]

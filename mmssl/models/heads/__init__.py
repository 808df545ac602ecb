# Copyright (c) mmssl contributors. All rights reserved.
from .cls_head import ClsHead
from .contrastive_head import ContrastiveHead
from .finetune_head import MAEFinetuneHead, MAELinprobeHead, MaskFeatFinetuneHead
from .latent_cross_correlation_head import LatentCrossCorrelationHead
from .latent_pred_head import LatentClsHead, LatentPredictHead
from .multi_cls_head import MultiClsHead
from .swav_head import SwAVHead

__all__ = [
    'ClsHead', 'ContrastiveHead', 'LatentClsHead', 'LatentCrossCorrelationHead', 'LatentPredictHead', 'MAEFinetuneHead',
    'MAELinprobeHead', 'MaskFeatFinetuneHead', 'MultiClsHead', 'SwAVHead'
]

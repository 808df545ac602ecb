# Copyright (c) mmssl contributors. All rights reserved.
from .cls_head import ClsHead
from .contrastive_head import ContrastiveHead
from .latent_pred_head import LatentPredictHead
from .multi_cls_head import MultiClsHead

__all__ = ['ClsHead', 'ContrastiveHead', 'LatentPredictHead', 'MultiClsHead']

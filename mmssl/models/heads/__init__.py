# Copyright (c) mmssl contributors. All rights reserved.
from .cae_head import CAEHead
from .cls_head import ClsHead
from .contrastive_head import ContrastiveHead, DCLHead, SupConHead
from .deepclusterv2_head import DeepClusterV2Head
from .dino_head import DINOHead
from .distillation_head import DenseDistillationHead, RelationalDistillationHead, ReSSLHead, SEEDHead, SimRegHead
from .finetune_head import MAEFinetuneHead, MAELinprobeHead, MaskFeatFinetuneHead
from .ibot_head import IBOTHead
from .ijepa_head import IJEPAHead
from .latent_cross_correlation_head import LatentCrossCorrelationHead
from .latent_pred_head import LatentClsHead, LatentPredictHead
from .lejepa_head import LeJEPAHead
from .mae_head import MAEPretrainHead
from .maskfeat_head import MaskFeatPretrainHead
from .mocov3_head import MoCoV3Head
from .msn_head import MSNHead
from .multi_cls_head import MultiClsHead
from .nce_head import NCEHead
from .nnclr_head import NNCLRHead
from .simmim_head import SimMIMHead
from .swav_head import SwAVHead
from .vicreg_head import VICRegHead

__all__ = [
    'CAEHead', 'ClsHead', 'ContrastiveHead', 'DCLHead', 'DINOHead', 'DeepClusterV2Head', 'DenseDistillationHead',
    'IBOTHead', 'IJEPAHead', 'LatentClsHead', 'LatentCrossCorrelationHead', 'LatentPredictHead', 'LeJEPAHead',
    'MAEFinetuneHead', 'MAELinprobeHead', 'MAEPretrainHead', 'MSNHead', 'MaskFeatFinetuneHead', 'MaskFeatPretrainHead',
    'MoCoV3Head', 'MultiClsHead', 'NCEHead', 'NNCLRHead', 'ReSSLHead', 'RelationalDistillationHead', 'SEEDHead',
    'SimMIMHead', 'SimRegHead', 'SupConHead', 'SwAVHead', 'VICRegHead'
]

# Copyright (c) mmssl contributors. All rights reserved.
from .barlow_twins import cross_correlation
from .clusters import cluster_prediction
from .contrastive import (check_several_images, decoupled_info_nce, info_nce, nt_xent, pairs_of_views, similarities,
                          supervised_contrastive, unit_vectors, weights_of_hard_pairs)
from .cosine import negative_cosine
from .cross_entropy import balanced_weights, cross_entropy, multi_label_cross_entropy
from .distillation import map_regression, patch_relations, similarity_distillation
from .gram import gram_anchoring
from .koleo import koleo
from .latent import latent_smooth_l1
from .margin import arc_margin, cosine_margin
from .masked import masked_l1, masked_mse, patch_statistics
from .masked_patches import masked_patch_prediction
from .modules import CrossEntropyLoss, MultiLabelLoss
from .msn import masked_siamese, prototype_scores
from .nce import log_partition, nce
from .precision import in_float32
from .sigreg import sigreg
from .swav import swapped_prediction
from .vicreg import variance_invariance_covariance

__all__ = [
    'CrossEntropyLoss', 'MultiLabelLoss', 'arc_margin', 'balanced_weights', 'check_several_images',
    'cluster_prediction', 'cosine_margin', 'cross_correlation', 'cross_entropy', 'decoupled_info_nce', 'gram_anchoring',
    'in_float32', 'info_nce', 'koleo', 'latent_smooth_l1', 'log_partition', 'map_regression', 'masked_l1', 'masked_mse',
    'masked_patch_prediction', 'masked_siamese', 'multi_label_cross_entropy', 'nce', 'negative_cosine', 'nt_xent',
    'pairs_of_views', 'patch_relations', 'patch_statistics', 'prototype_scores', 'sigreg', 'similarities',
    'similarity_distillation', 'supervised_contrastive', 'swapped_prediction', 'unit_vectors',
    'variance_invariance_covariance', 'weights_of_hard_pairs'
]

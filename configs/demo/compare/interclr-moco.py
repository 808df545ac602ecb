# Copyright (c) mmssl contributors. All rights reserved.
"""InterCLR on digits, with MoCo v2."""
_base_ = 'mocov2.py'

num_classes = 50
model = dict(
    type='InterCLRMoCo',
    memory_bank=dict(type='InterCLRMemory', feat_dim=64, momentum=1., num_classes=num_classes, min_cluster=10),
    neg_num=256,
    neg_sampling='semihard',
    semihard_neg_pool_num=700,
    inter_cos_margin=-0.5,
    num_classes=num_classes)
custom_hooks = [
    dict(
        type='InterCLRHook',
        extractor={{_base_.extractor}},
        clustering=dict(type='Kmeans', k=num_classes, pca_dim=-1),
        centroids_update_interval=1,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        init_memory=True,
        initial=True,
        online_labels=True,
        interval=10)
]

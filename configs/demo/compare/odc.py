# Copyright (c) mmssl contributors. All rights reserved.
"""ODC on digits."""
_base_ = '_single_view.py'

data = dict(train=dict(type='DeepClusterDataset'))
model = dict(
    type='ODC',
    with_sobel=False,
    neck=dict(
        _delete_=True, type='ODCNeck', in_channels=128, hid_channels=128, out_channels=64, norm_cfg=dict(type='BN')),
    head=dict(_delete_=True, type='ClsHead', with_avg_pool=False, in_channels=64, num_classes=20),
    memory_bank=dict(type='ODCMemory', feat_dim=64, momentum=0.5, num_classes=20, min_cluster=20))
custom_hooks = [
    dict(
        type='DeepClusterHook',
        extractor={{_base_.extractor}},
        clustering=dict(type='Kmeans', k=20, pca_dim=-1),
        unif_sampling=False,
        reweight=True,
        reweight_pow=0.5,
        init_memory=True,
        initial=True,
        interval=9999999999),
    dict(
        type='ODCHook',
        centroids_update_interval=1,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        reweight=True,
        reweight_pow=0.5)
]

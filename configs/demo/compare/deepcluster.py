# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster on digits."""
_base_ = '_single_view.py'

data = dict(train=dict(type='DeepClusterDataset'))
model = dict(
    type='DeepCluster',
    with_sobel=False,
    neck=dict(_delete_=True, type='AvgPool2dNeck'),
    head=dict(_delete_=True, type='ClsHead', with_avg_pool=False, in_channels=128, num_classes=50))
custom_hooks = [
    dict(
        type='DeepClusterHook',
        extractor={{_base_.extractor}},
        clustering=dict(type='Kmeans', k=50, pca_dim=32),
        unif_sampling=True,
        reweight=False,
        reweight_pow=0.5,
        initial=True,
        interval=2)
]

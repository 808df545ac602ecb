# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet for InterCLR on MoCo v2: the views of MoCo v2, and the hook that clusters."""
_base_ = './imagenet_mocov2.py'

custom_hooks = [
    dict(
        type='InterCLRHook',
        extractor=dict(
            samples_per_gpu=256,
            workers_per_gpu=8,
            dataset=dict(
                type='SingleViewDataset',
                data_source={{_base_.data.train.data_source}},
                pipeline=[
                    dict(type='Resize', size=256),
                    dict(type='CenterCrop', size=224),
                ],
                prefetch=True),
            # uint8 up to the device, whatever the training does
            prefetch=True,
            img_norm_cfg={{_base_.img_norm_cfg}}),
        # k: num_classes of the model
        clustering=dict(type='Kmeans', k=10000, pca_dim=-1),
        centroids_update_interval=10,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        warmup_epochs=0,
        init_memory=True,
        initial=True,
        online_labels=True,
        interval=10)
]

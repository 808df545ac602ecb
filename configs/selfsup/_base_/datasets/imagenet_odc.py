# Copyright (c) mmssl contributors. All rights reserved.
"""ImageNet for ODC: the images of DeepCluster, and the hooks that fill the memory and move its clusters."""
_base_ = './imagenet_deepcluster.py'

custom_hooks = [
    # fills the memory before the first epoch, and never again
    dict(
        type='DeepClusterHook',
        extractor=dict(
            samples_per_gpu=128,
            workers_per_gpu=8,
            dataset=dict(
                type='DeepClusterDataset',
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
        unif_sampling=False,
        reweight=True,
        reweight_pow=0.5,
        init_memory=True,
        initial=True,
        interval=9999999999),
    dict(
        type='ODCHook',
        centroids_update_interval=10,
        deal_with_small_clusters_interval=1,
        evaluate_interval=50,
        reweight=True,
        reweight_pow=0.5)
]

# Copyright (c) mmssl contributors. All rights reserved.
"""ODC (https://arxiv.org/abs/2006.10645), 440 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/odc/odc_resnet50_8xb64-steplr-440e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 53.43 % linear evaluation on
          ImageNet (pooled features) and 78.42 mAP of linear SVMs on VOC07.
Folder:   N images, K clusters of at least S images:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None \
              custom_hooks.0.extractor.dataset.data_source.type=Folder \
              custom_hooks.0.extractor.dataset.data_source.data_prefix=FOLDER \
              custom_hooks.0.extractor.dataset.data_source.ann_file=None \
              model.memory_bank.length=N model.memory_bank.num_classes=K model.head.num_classes=K \
              custom_hooks.0.clustering.k=K model.memory_bank.min_cluster=S
"""
_base_ = [
    '../_base_/models/odc.py',
    '../_base_/datasets/imagenet_deepcluster.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

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
        clustering=dict(type='Kmeans', k={{_base_.num_classes}}, pca_dim=-1),
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

# the classes move: no momentum in the head
optimizer = dict(lr=0.06, weight_decay=1e-5, paramwise_options={'\\Ahead.': dict(momentum=0.)})

lr_config = dict(step=[400], gamma=0.4)

runner = dict(max_epochs=440)

# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster (https://arxiv.org/abs/1807.05520) on edges, 200 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/deepcluster/deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 46.92 % linear evaluation on
          ImageNet (pooled features) and 74.26 mAP of linear SVMs on VOC07.
Folder:   K clusters of features with P principal components, neither more than there are images:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None \
              custom_hooks.0.extractor.dataset.data_source.type=Folder \
              custom_hooks.0.extractor.dataset.data_source.data_prefix=FOLDER \
              custom_hooks.0.extractor.dataset.data_source.ann_file=None \
              model.head.num_classes=K custom_hooks.0.clustering.k=K custom_hooks.0.clustering.pca_dim=P
"""
_base_ = [
    '../_base_/models/deepcluster.py',
    '../_base_/datasets/imagenet_deepcluster.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

# the images are clustered before each epoch
custom_hooks = [
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
        clustering=dict(type='Kmeans', k={{_base_.model.head.num_classes}}, pca_dim=256),
        unif_sampling=True,
        reweight=False,
        reweight_pow=0.5,
        initial=True,
        interval=1)
]

# the classes are others after each clustering: no momentum in the head. The paper has a rate of 0.05
optimizer = dict(lr=0.1, weight_decay=1e-5, paramwise_options={'\\Ahead.': dict(momentum=0.)})
auto_scale_lr = dict(enable=False, base_batch_size=512)

# step 400 is beyond the end: the rate stays
lr_config = dict(step=[400])

# Copyright (c) mmssl contributors. All rights reserved.
"""ODC (https://arxiv.org/abs/2006.10645), 440 epochs of ImageNet, batch 512.

Command:  tools/dist_train.sh configs/selfsup/odc/odc_resnet50_8xb64-steplr-440e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 53.43 % linear evaluation on
          ImageNet (pooled features) and 78.42 mAP of linear SVMs on VOC07.
Folder:   K clusters of at least S images:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None \
              custom_hooks.0.extractor.dataset.data_source.type=Folder \
              custom_hooks.0.extractor.dataset.data_source.data_prefix=FOLDER \
              custom_hooks.0.extractor.dataset.data_source.ann_file=None \
              model.memory_bank.num_classes=K model.head.num_classes=K \
              custom_hooks.0.clustering.k=K model.memory_bank.min_cluster=S
"""
_base_ = [
    '../_base_/models/odc.py',
    '../_base_/datasets/imagenet_odc.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

# the classes move: no momentum in the head
optimizer = dict(lr=0.06, weight_decay=1e-5, paramwise_options={'\\Ahead.': dict(momentum=0.)})
auto_scale_lr = dict(enable=False, base_batch_size=512)

lr_config = dict(step=[400], gamma=0.4)

runner = dict(max_epochs=440)

# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV (https://arxiv.org/abs/2006.09882) with two large and six small crops, 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/swav/swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 70.47 % linear evaluation on
          ImageNet (pooled features) and 87.00 mAP of linear SVMs on VOC07.
Folder:   B images a batch, K prototypes where 3000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None data.samples_per_gpu=B model.head.num_prototypes=K
"""
_base_ = [
    '../_base_/models/swav.py',
    '../_base_/datasets/imagenet_swav_mcrop-2-6.py',
    '../_base_/schedules/lars_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

custom_hooks = [dict(type='SwAVHook', priority='VERY_HIGH', epoch_queue_starts=15, queue_length=3840)]

# all parameters take LARS's local rate and decay, as in the authors' code
optimizer = dict(_delete_=True, type='LARS', lr=0.6, weight_decay=1e-6, momentum=0.9)
optimizer_config = dict(frozen_layers_cfg=dict(prototypes='1 epoch'))
auto_scale_lr = dict(enable=False, base_batch_size=256)

lr_config = dict(_delete_=True, policy='CosineAnnealing', min_lr=6e-4)

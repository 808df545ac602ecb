# Copyright (c) mmssl contributors. All rights reserved.
"""DenseCL (https://arxiv.org/abs/2011.09157), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 63.62 % linear evaluation on
          ImageNet (pooled features) and 82.5 mAP of linear SVMs on VOC07.
Folder:   queues of Q keys, fewer than there are images:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.queue_len=Q
"""
_base_ = [
    '../_base_/models/densecl.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)

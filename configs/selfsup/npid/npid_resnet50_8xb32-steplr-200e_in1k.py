# Copyright (c) mmssl contributors. All rights reserved.
"""NPID (https://arxiv.org/abs/1805.01978), 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/npid/npid_resnet50_8xb32-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 58.97 % linear evaluation on
          ImageNet (pooled features) and 76.75 mAP of linear SVMs on VOC07.
Folder:   M negatives where 65536 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M
"""
_base_ = [
    '../_base_/models/npid.py',
    '../_base_/datasets/imagenet_npid.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)

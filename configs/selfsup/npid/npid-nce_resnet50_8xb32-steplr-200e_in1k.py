# Copyright (c) mmssl contributors. All rights reserved.
"""NPID (https://arxiv.org/abs/1805.01978) with its noise-contrastive loss, 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/npid/npid-nce_resnet50_8xb32-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published for its recipe (npid_8gpu_resnet) 52.73 % linear evaluation on
          ImageNet, and 54.99 % for the authors' weights.

The learning rate is 0.03, a tenth of it after 120 and again after 160 epochs. Parameters of norms are not decayed. None
of the 4096 negatives is the entry of the image itself; VISSL's may be.
Folder:   M negatives where 4096 are too many, and a partition constant that follows the network, without which small
          sets are not learned:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None model.neg_num=M model.head.norm_momentum=0.1
"""
_base_ = [
    '../_base_/models/npid-nce.py',
    '../_base_/datasets/imagenet_npid-nce.py',
    '../_base_/schedules/sgd_steplr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

optimizer = dict(paramwise_options=dict(norm_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=256)

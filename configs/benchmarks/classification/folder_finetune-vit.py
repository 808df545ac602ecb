# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of a ViT-B/16 on folders of classes, by one process with 64 images.

Command:  GPUS=1 tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN \
          --cfg-options model.head.num_classes=N data.train.data_source.data_prefix=TRAIN \
          data.val.data_source.data_prefix=VAL
"""
_base_ = 'imagenet/vit-base-p16_ft-8xb128-coslr-100e_in1k.py'

# the number of classes is that of the head
model = dict(
    train_cfg=dict(
        augments=[dict(type='BatchMixup', alpha=0.8, prob=0.5),
                  dict(type='BatchCutMix', alpha=1.0, prob=0.5)]))
data = dict(
    samples_per_gpu=64,
    workers_per_gpu=4,
    train=dict(data_source=dict(data_prefix='data/folder/train', ann_file=None)),
    val=dict(data_source=dict(data_prefix='data/folder/val', ann_file=None)))

optimizer = dict(lr=2.5e-4)  # 4e-3 for 1024 images

# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning on a folder of images with a tenth of the labels of each class; fraction=1.0 takes all of them.

Command:  tools/benchmarks/classification/dist_train_semi.sh CONFIG PRETRAIN --cfg-options model.head.num_classes=N \
          data.train.dataset.data_source.data_prefix=TRAIN data.val.data_source.data_prefix=VAL data.train.fraction=0.01
"""
_base_ = 'imagenet/imagenet_10percent/resnet50_head10_4xb64-steplr1e-2-20e_in1k-10pct.py'

train = dict(
    type='SingleViewDataset',
    data_source=dict(type='ImageNet', data_prefix='data/folder/train'),
    pipeline=[dict(type='RandomResizedCrop', size=224),
              dict(type='RandomHorizontalFlip')],
    prefetch=True)
data = dict(
    train=dict(_delete_=True, type='ClassBalancedSubset', dataset=train, fraction=0.1, seed=0),
    val=dict(data_source=dict(data_prefix='data/folder/val', ann_file=None)))

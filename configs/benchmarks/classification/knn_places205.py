# Copyright (c) mmssl contributors. All rights reserved.
"""Data for nearest neighbours on Places205: the bank (train) and what is classified (val), without augmentation.

Command:  tools/benchmarks/classification/knn_imagenet/test_knn.py SELFSUP_CONFIG CHECKPOINT \
              --dataset-config configs/benchmarks/classification/knn_places205.py --k 200 --temperature 0.1
"""
_base_ = 'knn_imagenet.py'

root = 'data/Places205/data/vision/torralba/deeplearning/images256/'
data = dict(
    train=dict(
        data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/train_places205.csv')),
    val=dict(data_source=dict(data_prefix=root, ann_file='data/Places205/trainvalsplit_places205/val_places205.csv')))

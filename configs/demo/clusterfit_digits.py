# Copyright (c) mmssl contributors. All rights reserved.
"""ClusterFit on hand-written digits: classify them by clusters of another network's features.

Time:     a minute of training on two cores.
Command:  python tools/train.py configs/demo/simclr_digits.py --work-dir work_dirs/first \
              --cfg-options checkpoint_config.interval=50
          python tools/cluster_features.py configs/demo/simclr_digits.py work_dirs/first/latest.pth \
              --dataset-config configs/benchmarks/classification/digits.py --clusters 50 --out-dir work_dirs/clusterfit
          python tools/demo.py configs/demo/clusterfit_digits.py
"""
_base_ = 'simclr_digits.py'

model = dict(
    _delete_=True,
    type='Classification',
    backbone={{_base_.model.backbone}},
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=None, num_classes=50))

data = dict(
    train=dict(
        _delete_=True,
        type='SingleViewDataset',
        data_source=dict(type='Digits', color_type='grayscale', labels='work_dirs/clusterfit/train_labels.npy'),
        pipeline={{_base_.train_pipeline}},
        prefetch={{_base_.prefetch}}))

# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of everything on Pascal VOC 2007, all classes of each image at once.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN

The schedule is that of VISSL's full fine-tuning, with a rate of 0.01 for a batch of 256: the loss is a sum over 20
classes. No figure is published for these settings. mAP is the area under the curve; ap='11point' of the meter is the
measure of the challenge of 2007: evaluation=dict(_delete_=True, meter=dict(type='MeanAPListMeter', ap='11point')).
"""
_base_ = [
    '../_base_/models/resnet50.py',
    '../_base_/datasets/voc07.py',
    '../_base_/schedules/sgd_steplr-90e.py',
    '../../../selfsup/_base_/default_runtime.py',
]

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN')), head=dict(num_classes=20, loss=dict(type='MultiLabelLoss')))

optimizer = dict(lr=0.01, weight_decay=0., nesterov=True)
auto_scale_lr = dict(enable=False, base_batch_size=256)
lr_config = dict(step=[30, 60, 90, 100])
runner = dict(max_epochs=105)

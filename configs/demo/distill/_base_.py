# Copyright (c) mmssl contributors. All rights reserved.
"""A student of a quarter of the parameters on Fashion-MNIST, for tools/analysis_tools/compare_distillation.py.

The tool gives each student the same seconds, along which the learning rate falls, so that no length stands here.
"""
_base_ = '../simclr_fashion-mnist.py'

model = dict(backbone=dict(stem_channels=16, base_channels=16), neck=dict(in_channels=128))
data = dict(workers_per_gpu=0)  # loading is part of the seconds
demo = dict(test=dict(data_source=dict(num_images=10000)))
lr_config = None
runner = dict(_delete_=True, type='IterBasedRunner', max_iters=1000000)
amp = None  # so small a network gains nothing by it
log_config = dict(_delete_=True, interval=50, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
custom_hooks = []
work_dir = None

# what is taught: the network of configs/demo/simclr_fashion-mnist.py
teacher = dict(checkpoint='work_dirs/demo_fashion-mnist/latest.pth', backbone={{_base_.model.backbone}})

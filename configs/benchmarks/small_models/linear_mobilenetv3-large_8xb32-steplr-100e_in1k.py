# Copyright (c) mmssl contributors. All rights reserved.
"""Linear evaluation of a small network on ImageNet by MoCo's recipe: frozen, SGD of rate 30, 100 epochs.

Command:  tools/benchmarks/classification/dist_train_linear.sh CONFIG PRETRAIN
Hardware: 8 GPUs with 32 images each.
Others:   by --cfg-options model.backbone.model_name=NAME, with mobilenetv3_small_100, efficientnet_b0, resnet18 or
          deit_tiny_patch16_224; the classifier takes its width from the network.
Known:    not trained with mmssl yet. Losses of 60 to 130 at first are normal.
"""
_base_ = '../classification/imagenet/resnet50_linear-8xb32-steplr-100e_in1k.py'

model = dict(
    freeze_backbone=True,
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='mobilenetv3_large_100'),
    head=dict(in_channels=None))

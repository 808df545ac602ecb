# Copyright (c) mmssl contributors. All rights reserved.
"""Dense distillation from DINOv2's ViT-S/14 to ResNet-18 on any folder of photographs, on one machine.

Command:  python tools/train.py \
              configs/selfsup/dense_distillation/dense-distill_resnet18-dinov2_1xb128-coslr-200e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU, or a CPU with patience.
Known:    a starting point for data of one's own of some thousand images.
"""
_base_ = 'dense-distill_resnet18-dinov2_1xb128-coslr-100e_in1k.py'

data = dict(
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

runner = dict(max_epochs=200)

log_config = dict(interval=10)

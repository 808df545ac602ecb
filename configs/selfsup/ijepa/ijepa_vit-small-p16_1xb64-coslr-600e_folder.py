# Copyright (c) mmssl contributors. All rights reserved.
"""I-JEPA with a small network on any folder of images, on one machine: no colours are changed and nothing is flipped.

Command:  python tools/train.py configs/selfsup/ijepa/ijepa_vit-small-p16_1xb64-coslr-600e_folder.py \
              --cfg-options data.train.data_source.data_prefix=FOLDER
Hardware: one GPU.
Known:    for images that augmentations would spoil, such as medical or satellite ones, and many of them: with some
          thousand, I-JEPA learns slowly, and DINO or LeJEPA more. Begin with published weights where there are some.
"""
_base_ = 'ijepa_vit-huge-p14_16xb128-coslr-300e_in1k.py'

model = dict(
    # few images mean few iterations: the teacher has to follow faster than on ImageNet
    base_momentum=0.99,
    backbone=dict(arch='deit-small', patch_size=16),
    neck=dict(embed_dims=192, num_layers=6, num_heads=6))

data = dict(
    samples_per_gpu=64,
    workers_per_gpu=2,
    drop_last=True,
    # images anywhere below the folder; no labels, no annotation file
    train=dict(data_source=dict(_delete_=True, type='Folder', data_prefix='data/photographs')))

optimizer = dict(lr=2e-4)
auto_scale_lr = dict(base_batch_size=64)
runner = dict(max_epochs=600)

log_config = dict(interval=10)

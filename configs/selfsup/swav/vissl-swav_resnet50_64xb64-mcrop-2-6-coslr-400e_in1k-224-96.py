# Copyright (c) mmssl contributors. All rights reserved.
"""SwAV (https://arxiv.org/abs/2006.09882) as VISSL trains it (swav_8node_resnet), 400 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/swav/vissl-swav_resnet50_64xb64-mcrop-2-6-coslr-400e_in1k-224-96.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 74.81 % linear evaluation on ImageNet for this recipe.
Folder:   B images a batch with the learning rate LR, 0.3 for each 256 images, and K prototypes where 3000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None data.samples_per_gpu=B optimizer.lr=LR model.head.num_prototypes=K

The learning rate rises from 0.3 to 4.8 in 10 epochs and falls to 0.0048 along a cosine. VISSL's config says 0.3 too,
and its code makes 0.6 of it on 8 nodes. No queue: the batch is large enough.
"""
_base_ = [
    '../_base_/models/swav.py',
    '../_base_/datasets/imagenet_swav_mcrop-2-6.py',
    '../_base_/schedules/lars-all_coslr-100e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)

optimizer_config = dict(frozen_layers_cfg=dict(prototypes='1 epoch'))
auto_scale_lr = dict(enable=False, base_batch_size=4096)

lr_config = dict(min_lr=0.0048, warmup_ratio=0.0625)

runner = dict(max_epochs=400)

fp16 = dict(loss_scale='dynamic')

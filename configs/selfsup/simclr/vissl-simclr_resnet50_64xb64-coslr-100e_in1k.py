# Copyright (c) mmssl contributors. All rights reserved.
"""SimCLR (https://arxiv.org/abs/2002.05709) (VISSL: simclr_8node_resnet), 100 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/simclr/vissl-simclr_resnet50_64xb64-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as 8 nodes: NNODES=8 NODE_RANK=0|1|... MASTER_ADDR=...
Known:    not trained with mmssl yet; VISSL published 64.4 % linear evaluation on ImageNet for this recipe.

The learning rate rises from 0.6 to 4.8 in 10 epochs and falls to 0 along a cosine. For another batch it is 0.3 for
each 256 images. VISSL's cosine is already at 97.6 % of the peak when the warm-up ends, and on one node it has no
warm-up; here it begins at the peak, as in the paper. Norms and biases take LARS's rate and decay too, as in VISSL; the
paper leaves them out.
"""
_base_ = [
    '../_base_/models/simclr.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/lars-all_coslr-100e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)
auto_scale_lr = dict(enable=False, base_batch_size=4096)

# the projector has no norm
model = dict(neck=dict(_delete_=True, type='MLPNeck', channels=[2048, 128]))

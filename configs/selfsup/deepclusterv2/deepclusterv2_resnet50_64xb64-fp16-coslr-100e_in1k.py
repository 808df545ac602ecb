# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2 (https://arxiv.org/abs/2006.09882) as in VISSL, two crops, 100 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh configs/selfsup/deepclusterv2/deepclusterv2_resnet50_64xb64-fp16-coslr-100e_in1k.py 8
Hardware: 64 GPUs with 64 images each, here as eight nodes: NNODES=8 NODE_RANK=0|1|...|7 MASTER_ADDR=...
Known:    not trained with mmssl yet; no result was published for VISSL's recipe (deepclusterv2_2crops_resnet) of 100
          epochs. After 400 epochs with two crops the authors' weights give 70.01 % linear evaluation on ImageNet.
Folder:   B images a batch, K clusters where 3000 are too many:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None data.samples_per_gpu=B model.memory_bank.num_clusters=[K,K,K]

The learning rate is 4.8, after ten epochs of warm-up from 0.3. VISSL's scaling makes that start 0.6 on eight machines,
and drops the warm-up on one. The projector has no batch norm, as in VISSL; the authors' own code has one behind the
hidden layer: model.neck.norm_cfg.type=SyncBN.
"""
_base_ = [
    '../_base_/models/deepclusterv2.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/lars_coslr-100e_in1k.py',
    '../_base_/default_runtime.py',
]

data = dict(samples_per_gpu=64)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
fp16 = dict(loss_scale='dynamic')
custom_hooks = [dict(type='DeepClusterV2Hook')]

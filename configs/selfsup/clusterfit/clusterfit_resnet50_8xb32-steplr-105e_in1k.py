# Copyright (c) mmssl contributors. All rights reserved.
"""ClusterFit (https://arxiv.org/abs/1912.03330) as in VISSL, 105 epochs of ImageNet on 16,000 clusters, batch 256.

Command:  tools/dist_run.sh 8 tools/cluster_features.py CONFIG CHECKPOINT --clusters 16000 \
              --out-dir work_dirs/clusterfit
          tools/dist_train.sh configs/selfsup/clusterfit/clusterfit_resnet50_8xb32-steplr-105e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; VISSL published for its recipe (clusterfit_resnet_8gpu_imagenet) on clusters of
          RotNet's features 53.63 % linear evaluation on ImageNet.
Folder:   B images a batch, with LABELS made of the same folder, K clusters:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None data.train.data_source.labels=LABELS data.samples_per_gpu=B \
              model.head.num_classes=K

CONFIG and CHECKPOINT are those of the network whose features are clustered, such as that of
rotation_pred/rotation-pred-one_resnet50_8xb32-steplr-105e_in1k.py. The learning rate is 0.1, after five epochs of
warm-up from 0.025: VISSL's config has a start of 0.25, above the rate itself, and its scaling drops the warm-up.
"""
_base_ = [
    '../_base_/models/clusterfit.py',
    '../_base_/datasets/imagenet_clusterfit.py',
    '../_base_/default_runtime.py',
]

# parameters of norms are not decayed
optimizer = dict(type='SGD', lr=0.1, weight_decay=1e-4, momentum=0.9, paramwise_options=dict(norm_decay_mult=0.))
optimizer_config = dict()
auto_scale_lr = dict(enable=False, base_batch_size=256)

lr_config = dict(
    policy='step', step=[30, 60, 90, 100], warmup='linear', warmup_iters=5, warmup_ratio=0.25, warmup_by_epoch=True)

runner = dict(type='EpochBasedRunner', max_epochs=105)

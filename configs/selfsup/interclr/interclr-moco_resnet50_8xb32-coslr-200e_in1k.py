# Copyright (c) mmssl contributors. All rights reserved.
"""InterCLR (https://arxiv.org/abs/2008.11702) on MoCo v2, 200 epochs of ImageNet, batch 256.

Command:  tools/dist_train.sh configs/selfsup/interclr/interclr-moco_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 68.04 % linear evaluation on
          ImageNet (last stage) and 85.24 mAP of linear SVMs on VOC07.
Folder:   K clusters of at least S images, M negatives from the P nearest, a queue of Q, less than there are images:
          --cfg-options data.train.data_source.type=Folder data.train.data_source.data_prefix=FOLDER \
              data.train.data_source.ann_file=None \
              custom_hooks.0.extractor.dataset.data_source.type=Folder \
              custom_hooks.0.extractor.dataset.data_source.data_prefix=FOLDER \
              custom_hooks.0.extractor.dataset.data_source.ann_file=None \
              model.memory_bank.num_classes=K model.num_classes=K \
              model.memory_bank.min_cluster=S custom_hooks.0.clustering.k=K model.neg_num=M \
              model.semihard_neg_pool_num=P model.queue_len=Q
"""
_base_ = [
    '../_base_/models/interclr-moco.py',
    '../_base_/datasets/imagenet_interclr-moco.py',
    '../_base_/schedules/sgd_coslr-200e_in1k.py',
    '../_base_/default_runtime.py',
]

auto_scale_lr = dict(enable=False, base_batch_size=256)

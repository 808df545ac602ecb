# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster v2 with two large and four small crops, 400 epochs of ImageNet, batch 4096.

Command:  tools/dist_train.sh \
              configs/selfsup/deepclusterv2/deepclusterv2_resnet50_64xb64-mcrop-2-4-fp16-coslr-400e_in1k-160-96.py 8
Hardware: 64 GPUs with 64 images each, here as eight nodes: NNODES=8 NODE_RANK=0|1|...|7 MASTER_ADDR=...
Known:    not trained with mmssl yet; the authors' weights of that many epochs and crops give 74.32 % linear evaluation
          on ImageNet.
"""
_base_ = 'deepclusterv2_resnet50_64xb64-mcrop-2-4-fp16-coslr-100e_in1k-160-96.py'

runner = dict(max_epochs=400)

# Copyright (c) mmssl contributors. All rights reserved.
"""DeepCluster on colours instead of edges.

Command:  tools/dist_train.sh configs/selfsup/deepcluster/deepcluster_resnet50_8xb64-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 64 images each.
Known:    not trained with mmssl yet; no result was published with it.
Folder:   the options of deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.
"""
_base_ = 'deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py'

model = dict(with_sobel=False, backbone=dict(in_channels=3))

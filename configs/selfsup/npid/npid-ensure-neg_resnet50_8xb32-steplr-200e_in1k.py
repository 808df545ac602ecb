# Copyright (c) mmssl contributors. All rights reserved.
"""NPID whose negatives never hold the image itself.

Command:  tools/dist_train.sh configs/selfsup/npid/npid-ensure-neg_resnet50_8xb32-steplr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; MMSelfSup published for its recipe of this name 76.59 mAP of linear SVMs on VOC07.
Folder:   the options of npid_resnet50_8xb32-steplr-200e_in1k.
"""
_base_ = 'npid_resnet50_8xb32-steplr-200e_in1k.py'

model = dict(ensure_neg=True)

# Copyright (c) mmssl contributors. All rights reserved.
"""SimSiam for 200 epochs.

Command:  tools/dist_train.sh configs/selfsup/simsiam/simsiam_resnet50_8xb32-coslr-200e_in1k.py 8
Hardware: 8 GPUs with 32 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'simsiam_resnet50_8xb32-coslr-100e_in1k.py'

runner = dict(max_epochs=200)

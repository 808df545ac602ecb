# Copyright (c) mmssl contributors. All rights reserved.
"""MAE for 400 epochs in half precision.

Command:  tools/dist_train.sh configs/selfsup/mae/mae_vit-base-p16_8xb512-coslr-400e-fp16_in1k.py 8
Hardware: 8 GPUs with 512 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'mae_vit-base-p16_8xb512-coslr-400e_in1k.py'

fp16 = dict(loss_scale='dynamic')

# Copyright (c) mmssl contributors. All rights reserved.
"""MAE for 1600 epochs.

Command:  tools/dist_train.sh configs/selfsup/mae/mae_vit-base-p16_8xb512-coslr-1600e_in1k.py 8
Hardware: 8 GPUs with 512 images each.
Known:    not trained with mmssl yet; no result was published with it.
"""
_base_ = 'mae_vit-base-p16_8xb512-coslr-400e_in1k.py'

runner = dict(max_epochs=1600)

# Copyright (c) mmssl contributors. All rights reserved.
"""Fine-tuning of SimMIM's Swin-B on ImageNet at 192 pixels, on four nodes.

Command:  GPUS=32 tools/benchmarks/classification/slurm_train_linear.sh PARTITION JOB_NAME CONFIG PRETRAIN
Hardware: 32 GPUs with 64 images each, float16.
Known:    not trained with mmssl yet; MMSelfSup published 82.9 % for 100 epochs of pre-training.
"""
_base_ = 'swin-base_ft-8xb256-coslr-100e_in1k.py'

data = dict(samples_per_gpu=64, workers_per_gpu=8)

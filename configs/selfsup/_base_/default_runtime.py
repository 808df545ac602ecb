# Copyright (c) mmssl contributors. All rights reserved.
"""What every recipe shares: saving, logging, processes."""
checkpoint_config = dict(interval=10, max_keep_ckpts=3)
log_config = dict(
    interval=50,
    hooks=[
        dict(type='TextLoggerHook'),
        # dict(type='TensorboardLoggerHook'),
    ])

# 'nccl' on GPUs; without a GPU gloo is used whatever stands here
dist_params = dict(backend='nccl')
cudnn_benchmark = True
# each worker process of the loader is one thread of OpenCV
opencv_num_threads = 0
mp_start_method = 'fork'
persistent_workers = True

log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]

# Copyright (c) mmssl contributors. All rights reserved.
from mmssl.core.evaluation import multi_gpu_test, single_gpu_test
from .embedding import embed_folder, embed_patches
from .inference import inference_model, init_model
from .train import init_random_seed, set_random_seed, train_model

__all__ = [
    'embed_folder', 'embed_patches', 'inference_model', 'init_model', 'init_random_seed', 'multi_gpu_test',
    'set_random_seed', 'single_gpu_test', 'train_model'
]

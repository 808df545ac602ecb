# Copyright (c) mmssl contributors. All rights reserved.
"""Data for low-shot SVMs on Places205: what SVMs learn from (train) and what they are scored on (val).

Command:  tools/benchmarks/classification/svm_voc07/test_svm.py SELFSUP_CONFIG CHECKPOINT \
              --dataset-config configs/benchmarks/classification/svm_places205.py --layers stage3,stage4 \
              --pool-type stage3=8s3,stage4=6s1 --low-shot 10 100 --costs 0.01 0.1 1 10 100 1000

The training set has 2.4 million images, whose features of about 9,000 numbers take 80 GB a stage. 500 images of each
class are drawn once, from which the tool draws the 10 or 100 of each repetition; VISSL draws from all of them.
"""
_base_ = 'knn_places205.py'

data = dict(
    samples_per_gpu=32,
    train=dict(_delete_=True, type='ClassBalancedSubset', per_class=500, seed=0, dataset={{_base_.data.train}}))

"""What stands for CONFIG where a classifier is asked for."""
_base_ = '../../../configs/benchmarks/classification/imagenet/resnet50_linear-8xb32-steplr-100e_in1k.py'

model = dict(backbone=dict(depth=18, base_channels=8, frozen_stages=4), head=dict(in_channels=64, num_classes=2))
data = dict(samples_per_gpu=8, workers_per_gpu=0)
runner = dict(max_epochs=1)

# Copyright (c) mmssl contributors. All rights reserved.
from .resnet import ResNet, ResNet_CIFAR, ResNetV1d
from .resnext import ResNeXt
from .wrappers import TIMMBackbone, TorchvisionBackbone

__all__ = ['ResNeXt', 'ResNet', 'ResNetV1d', 'ResNet_CIFAR', 'TIMMBackbone', 'TorchvisionBackbone']

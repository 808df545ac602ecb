# Copyright (c) mmssl contributors. All rights reserved.
from .alexnet import AlexNet
from .cae_vit import CAEViT
from .dino_vit import DINOViT
from .ijepa_vit import IJEPAViT
from .mae_vit import MAEViT
from .maskfeat_vit import MaskFeatViT
from .mim_cls_vit import MIMVisionTransformer
from .regnet import RegNet
from .resnet import ResNet, ResNet_CIFAR, ResNetV1d
from .resnext import ResNeXt
from .simmim_swin import SimMIMSwinTransformer
from .swin_transformer import SwinTransformer
from .vision_transformer import VisionTransformer
from .wrappers import TIMMBackbone, TorchvisionBackbone

__all__ = [
    'AlexNet', 'CAEViT', 'DINOViT', 'IJEPAViT', 'MAEViT', 'MIMVisionTransformer', 'MaskFeatViT', 'RegNet', 'ResNeXt',
    'ResNet', 'ResNetV1d', 'ResNet_CIFAR', 'SimMIMSwinTransformer', 'SwinTransformer', 'TIMMBackbone',
    'TorchvisionBackbone', 'VisionTransformer'
]

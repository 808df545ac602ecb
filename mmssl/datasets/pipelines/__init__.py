# Copyright (c) mmssl contributors. All rights reserved.
from .base import Step
from .blur import GaussianBlur
from .color import ColorJitter, Grayscale, Lighting, RandomGrayscale, Solarization
from .compose import Compose, RandomAppliedTrans, RandomAug
from .crop import (CenterCrop, Pad, RandomCrop, RandomResizedCrop, RandomResizedCropAndInterpolationWithTwoPic, Resize,
                   ResizeLongerSide)
from .format import Normalize, ToTensor
from .geometry import RandomErasing, RandomHorizontalFlip, RandomRotation, RandomVerticalFlip
from .mask import BEiTMaskGenerator, MaskFeatMaskGenerator, MaskStep, SimMIMMaskGenerator
from .rng import seed_sample, seed_view

__all__ = [
    'BEiTMaskGenerator', 'CenterCrop', 'ColorJitter', 'Compose', 'GaussianBlur', 'Grayscale', 'Lighting',
    'MaskFeatMaskGenerator', 'MaskStep', 'Normalize', 'Pad', 'RandomAppliedTrans', 'RandomAug', 'RandomCrop',
    'RandomErasing', 'RandomGrayscale', 'RandomHorizontalFlip', 'RandomResizedCrop',
    'RandomResizedCropAndInterpolationWithTwoPic', 'RandomRotation', 'RandomVerticalFlip', 'Resize', 'ResizeLongerSide',
    'SimMIMMaskGenerator', 'Solarization', 'Step', 'ToTensor', 'seed_sample', 'seed_view'
]

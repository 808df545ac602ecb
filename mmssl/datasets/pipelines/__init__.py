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
from .patches import ImageAndPatches, ImageToPatches, PermutePatches
from .photometric import (RandomAdjustSharpness, RandomAutocontrast, RandomPhotometric, RandomPosterize, RandomSolarize,
                          ToLab)
from .rng import seed_sample, seed_view
from .sample import Copies, EachView, OnEntries, RandomAngle, SamplePipeline, SampleStep

__all__ = [
    'BEiTMaskGenerator', 'CenterCrop', 'ColorJitter', 'Compose', 'Copies', 'EachView', 'GaussianBlur', 'Grayscale',
    'ImageAndPatches', 'ImageToPatches', 'Lighting', 'MaskFeatMaskGenerator', 'MaskStep', 'Normalize', 'OnEntries',
    'Pad', 'PermutePatches', 'RandomAdjustSharpness', 'RandomAngle', 'RandomAppliedTrans', 'RandomAug',
    'RandomAutocontrast', 'RandomCrop', 'RandomErasing', 'RandomGrayscale', 'RandomHorizontalFlip', 'RandomPhotometric',
    'RandomPosterize', 'RandomResizedCrop', 'RandomResizedCropAndInterpolationWithTwoPic', 'RandomRotation',
    'RandomSolarize', 'RandomVerticalFlip', 'Resize', 'ResizeLongerSide', 'SamplePipeline', 'SampleStep',
    'SimMIMMaskGenerator', 'Solarization', 'Step', 'ToLab', 'ToTensor', 'seed_sample', 'seed_view'
]

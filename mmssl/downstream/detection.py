# Copyright (c) mmssl contributors. All rights reserved.
"""For configs of mmdetection: custom_imports = dict(imports=['mmssl.downstream.detection'])."""
from mmcv.cnn import build_norm_layer
from mmdet.models.backbones import ResNet
from mmdet.models.builder import SHARED_HEADS
from mmdet.models.roi_heads.shared_heads.res_layer import ResLayer

from .mend import mend

mend('mmdet')


@SHARED_HEADS.register_module()
class ResLayerExtraNorm(ResLayer):
    """The last stage of a ResNet in the head of a C4 detector, with one more normalisation behind it.

    MoCo adds it, since the stage ends in a plain residual sum that was never trained for detection
    (https://arxiv.org/abs/1911.05722, appendix). Weights load under the names of the stage, and those of `norm` begin
    as 1 and 0.

    Args:
        depth (int): Of the ResNet: 18, 34, 50, 101 or 152.
        stage (int): Index of the stage, 3 for the last.
        kwargs: As of mmdet's ResLayer.
    """

    def __init__(self, depth, stage=3, **kwargs):
        super().__init__(depth, stage, **kwargs)
        channels = 64 * 2**stage * ResNet.arch_settings[depth][0].expansion
        self.norm = build_norm_layer(self.norm_cfg, channels)[1]

    def forward(self, x):
        """Features of regions, N x C x H x W, to those of the stage, normalised."""
        return self.norm(super().forward(x))

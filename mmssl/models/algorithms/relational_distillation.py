# Copyright (c) mmssl contributors. All rights reserved.
"""Distillation of relations."""
from ..builder import ALGORITHMS
from ..utils.maps import resize_map, spatial_maps
from .base import one_view
from .seed import SEED


@ALGORITHMS.register_module()
class RelationalDistillation(SEED):
    """SEED, and the same within an image: its places are to be as similar to each other as they are to the teacher.

    The student's own map is compared, without a projection: cosines know no dimension.

    Args:
        backbone, neck, teacher, queue_len, init_cfg: See SEED.
        head (dict): Config of the losses, a RelationalDistillationHead.
    """
    heads = ('RelationalDistillationHead', )
    loss_names = ('loss_images', 'loss_patches')

    def __init__(self, backbone, neck=None, head=None, teacher=None, queue_len=65536, init_cfg=None):
        super().__init__(backbone, neck, head, teacher, queue_len, init_cfg)
        self.need_network()

    def forward_train(self, img, **kwargs):
        """Images (B x C x H x W), which student and teacher both see, to the losses."""
        outputs, maps = self.teacher.outputs(one_view(img)), self.backbone(img)
        teacher = spatial_maps(outputs)[-1]  # B x D x h x w
        student = resize_map(spatial_maps(maps)[-1], teacher.shape[-2:])
        return dict(
            loss_images=self.relate(maps, self.teacher.pool(outputs))['loss'],
            loss_patches=self.head.compare_places(student, teacher))

# Copyright (c) mmssl contributors. All rights reserved.
"""iBOT."""
import torch

from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import accepted_arguments, check_arguments
from ..builder import ALGORITHMS
from ..utils.block_masks import BlockMasks, masked_patches
from ..utils.patches import patch_grid
from .base import by_size, large_first
from .dino import DINO


def patch_tokens(features):
    """All patches of a batch, image after image: what a transformer returns to B*L x D."""
    return features[-1][0].flatten(2).transpose(1, 2).flatten(0, 1)


@ALGORITHMS.register_module()
class IBOT(DINO):
    """Image BERT Pre-Training with Online Tokenizer <https://arxiv.org/abs/2111.07832>.

    DINO whose student does not see all patches of the large views, and tells what the teacher says of those: the
    teacher is the tokenizer that other masked image modelling takes from elsewhere.

    Args:
        backbone (dict): Config of a VisionTransformer with `with_mask_token=True`.
        neck (dict): Config of the projector, an IBOTNeck.
        head (dict): Config of the losses, an IBOTHead.
        masks (dict): Arguments of BlockMasks.
        base_momentum (float): See DINO.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: A backbone that cannot mask patches, or a projector that takes none.
    """
    heads = ('IBOTHead', )
    loss_names = ('class_loss', 'patch_loss')

    def __init__(self, backbone, neck=None, head=None, masks=dict(), base_momentum=0.996, init_cfg=None):
        super().__init__(backbone, neck, head, base_momentum, init_cfg)
        if getattr(self.backbone, 'mask_token', None) is None:
            raise ConfigError(f'{type(self).__name__} masks patches: model.backbone must be a VisionTransformer with '
                              f'with_mask_token=True, got {type(self.backbone).__name__} without it')
        self.check_neck()
        check_arguments(BlockMasks, masks)
        self.masks = BlockMasks(**masks)

    def check_neck(self):
        """See that the projector takes patches besides class tokens."""
        if 'patches' not in accepted_arguments(self.neck.forward)[0]:
            raise ConfigError(f'{type(self).__name__}: model.neck projects class tokens and patches, as an IBOTNeck '
                              f'does; a {type(self.neck).__name__} takes no patches')

    def forward_train(self, img, **kwargs):
        """Views (list of B x C x H x W, large ones first, those of one size in a row) to the losses."""
        return self.predict(img)[0]

    def predict(self, img):
        """Views to the losses, the large views as one tensor, and the student's features of them."""
        sizes = by_size(large_first(img))
        large = len(sizes[0]) // len(img[0])
        grid = patch_grid(*sizes[0].shape[-2:], self.backbone.patch_embed.patch_size)
        masks = self.masks(len(img[0]), large, grid)  # G*B x h x w
        # drawn on the host, so that their number is known there
        masks, index, weight = (x.to(img[0].device, non_blocking=True) for x in (masks, *masked_patches(masks)))
        features = [self.backbone(sizes[0], masks), *map(self.backbone, sizes[1:])]
        student, patches = self.project(features, patch_tokens(features[0])[index])
        with torch.no_grad():
            teacher, targets, *mean = self.teach(sizes[0], index)
        student, teacher = student.unflatten(0, (len(img), -1)), teacher.unflatten(0, (large, -1))  # V, G x B x K
        return self.head(student, teacher, patches, targets, weight, *mean), sizes[0], features[0]

    def project(self, features, patches):
        """The student's scores of class tokens and of masked patches."""
        return self.neck(features, patches)

    def teach(self, img, index):
        """The teacher's scores of class tokens and of masked patches, and the mean of those of all patches.

        The centre is that of all patches, masked or not.
        """
        backbone, neck = self.teacher
        features = backbone(img)
        return neck(features, patch_tokens(features), index)

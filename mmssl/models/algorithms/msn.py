# Copyright (c) mmssl contributors. All rights reserved.
"""MSN."""
from mmssl.utils.errors import ConfigError
from ..backbones.cae_vit import split_patches
from ..backbones.vision_transformer import VisionTransformer
from ..builder import ALGORITHMS
from ..utils.block_masks import BlockMasks
from ..utils.patches import check_leaves_out_patches, patch_grid
from .base import by_size, large_first
from .dino import DINO


@ALGORITHMS.register_module()
class MSN(DINO):
    """Masked Siamese Networks <https://arxiv.org/abs/2204.07141>.

    A view with patches left out, and small ones, are to be assigned to the prototypes of a whole view, which the
    teacher sees. The teacher is a moving average of the student's parameters. `MomentumUpdateHook` with mode='linear'
    raises `momentum` from `base_momentum` to 1 and calls `momentum_update` after each step.

    Args:
        backbone (dict): Config of the backbone, a vision transformer with a class token.
        neck (dict): Config of the projector, with vit_backbone=True.
        head (dict): Config of prototypes and loss, an MSNHead.
        mask_ratio (float): Share of the patches that is left out of the masked views, each view others. The published
            code leaves out the same ones of all images of a batch.
        mask_seed (int): Another one leaves out others.
        base_momentum (float): Share of the teacher that stays at an update, at the start.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: The backbone cannot leave out patches, has no class token or masks by itself; or a
            ratio that is none.
    """
    heads = ('MSNHead', )
    compares_images = True

    def __init__(self,
                 backbone,
                 neck=None,
                 head=None,
                 mask_ratio=0.15,
                 mask_seed=0,
                 base_momentum=0.996,
                 init_cfg=None):
        super().__init__(backbone, neck, head, base_momentum, init_cfg)
        check_leaves_out_patches(self.backbone, self)
        if self.backbone.cls_token is None:
            raise ConfigError('MSN projects the class token: backbone.with_cls_token must be True')
        if type(self.backbone).forward is not VisionTransformer.forward:
            raise ConfigError('MSN leaves out patches by itself and sees small views whole: model.backbone must be a '
                              f'VisionTransformer or a DINOViT, got {type(self.backbone).__name__}')
        if not 0 <= mask_ratio < 1:
            raise ConfigError(
                f'mask_ratio is the share of patches that is left out, from 0 to below 1, got {mask_ratio}')
        self.masks = BlockMasks([mask_ratio, mask_ratio], probability=1., shape='random', seed=mask_seed)

    def forward_train(self, img, **kwargs):
        """Views (list of B x C x H x W: the whole one, masked ones of its size, small ones) to the loss."""
        whole, *anchors = large_first(img)
        # one pass for all views of a size, and one of the projector for all
        features = [self.masked(views, len(whole)) if views.shape[2:] == whole.shape[2:] else self.backbone(views)
                    for views in by_size(anchors)]  # yapf: disable
        student = self.neck(features)[0].unflatten(0, (len(anchors), -1))  # V x B x D
        return self.head(student, self.teacher(whole)[0])

    def masked(self, views, images):
        """Views, VB x C x H x W, without some of their patches to what the backbone gives of others."""
        grid = patch_grid(*views.shape[2:], self.backbone.patch_embed.patch_size)
        mask = self.masks(images, len(views) // images, grid).flatten(1)  # VB x L
        visible = split_patches(mask, mask.shape[1] - int(self.masks.ratio[0] * grid[0] * grid[1]))[0]
        tokens = self.backbone.tokens(views, visible=visible.to(views.device, non_blocking=True))  # VB x (E + K) x D
        return ((tokens, tokens[:, 0]), )

    def compile_parts(self):
        # some patches alone pass the layers, which are called one by one then
        return [*super().compile_parts(), *self.backbone.layers]

# Copyright (c) mmssl contributors. All rights reserved.
"""DINOv2."""
from mmssl.utils.errors import Completed, ConfigError
from mmssl.utils.registry import check_arguments
from ..builder import ALGORITHMS, NECKS, build_neck
from ..losses import koleo
from ..utils.channels import feature_channels, fill_in_channels
from ..utils.gram_teacher import GramTeacher
from ..utils.momentum_encoder import MomentumEncoder
from .ibot import IBOT, patch_tokens


@ALGORITHMS.register_module()
class DINOv2(IBOT):
    """DINOv2: Learning Robust Visual Features without Supervision <https://arxiv.org/abs/2304.07193>.

    iBOT with masks of all ratios in each batch, which spreads the class tokens evenly over the unit sphere (KoLeo), and
    whose patches may have a projector of their own. Where the teacher's scores are centred, the centre of the patches
    is that of masked ones, as in the authors' code.

    Args:
        backbone (dict): Config of a VisionTransformer with `with_mask_token=True`.
        neck (dict): Config of the projector: an IBOTNeck, or with `patch_neck` a DINONeck for class tokens alone.
        patch_neck (dict, optional): Config of a DINONeck for the patches.
        head (dict): Config of the losses, an IBOTHead.
        masks (dict): Arguments of BlockMasks, those of the authors by default.
        koleo_weight (float): Factor of KoLeo, which is added up over the large views.
        koleo_eps (float): See koleo.
        koleo_per_process (bool): See koleo.
        gram (dict, optional): Arguments of GramTeacher: a long training of a large network loses detail in its
            patches, which Gram anchoring (DINOv3, https://arxiv.org/abs/2508.10104) keeps. The same views go to both
            teachers, where the authors give the earlier one larger views without changed colours.
        base_momentum (float): See DINO.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: A negative weight, an eps that is not positive, or a projector that does not fit.
    """
    heads = ('IBOTHead', )
    compares_images = True

    def __init__(self,
                 backbone,
                 neck=None,
                 patch_neck=None,
                 head=None,
                 masks=dict(stratified=True, min_patches=4),
                 koleo_weight=0.1,
                 koleo_eps=1e-8,
                 koleo_per_process=False,
                 gram=None,
                 base_momentum=0.992,
                 init_cfg=None):
        if not (koleo_weight >= 0 and koleo_eps > 0):
            raise ConfigError('koleo_weight cannot be negative and koleo_eps must be positive, got '
                              f'koleo_weight={koleo_weight} and koleo_eps={koleo_eps}')
        if patch_neck is not None and isinstance(head, dict) and 'patch_channels' not in head:
            head = Completed(head, patch_channels=patch_neck.get('out_channels'))
        super().__init__(backbone, neck, head, masks, base_momentum, init_cfg)
        self.patch_neck = None
        if patch_neck is None:
            super().check_neck()
        else:
            self.patch_neck = build_neck(fill_in_channels(patch_neck, feature_channels(self.backbone), NECKS))
            if getattr(self.neck, 'patch_last_layer', None) is not None:
                raise ConfigError('model.patch_neck has the prototypes of patches: leave out model.neck.patch_channels')
            if getattr(self.patch_neck, 'vit_backbone', False):
                raise ConfigError(
                    'model.patch_neck takes the vectors of patches as they are: leave out its vit_backbone')
            self.teacher = MomentumEncoder(*self.followed, drop_path=False)
        self.koleo_weight = koleo_weight
        self.koleo_eps = koleo_eps
        self.koleo_per_process = koleo_per_process
        self.gram_teacher = None
        if gram is not None:
            check_arguments(GramTeacher, dict(gram, backbone=self.backbone))
            self.gram_teacher = GramTeacher(self.backbone, **gram)
        self.loss_names = (*self.loss_names, 'koleo_loss', *(['gram_loss'] if gram is not None else []))

    @property
    def followed(self):
        parts = super().followed
        return parts if getattr(self, 'patch_neck', None) is None else (*parts, self.patch_neck)

    def check_neck(self):
        """Looked at where it is known whether patches have a projector of their own."""

    def forward_train(self, img, **kwargs):
        """Views (list of B x C x H x W, large ones first, those of one size in a row) to the losses."""
        losses, views, features = self.predict(img)
        maps, tokens = features[-1]  # G*B x D x h x w, G*B x D
        spread = [koleo(view, self.koleo_eps, self.koleo_per_process) for view in tokens.split(len(img[0]))]
        losses['koleo_loss'] = self.koleo_weight * sum(spread)
        if self.gram_teacher is not None:
            losses['gram_loss'] = self.gram_teacher(views, maps, self.teacher[0])
        return losses

    def project(self, features, patches):
        return self.scores(features, patches, *self.followed[1:])

    def teach(self, img, index):
        backbone, *necks = self.teacher
        features = backbone(img)
        return self.scores(features, patch_tokens(features)[index], *necks)

    @staticmethod
    def scores(features, patches, neck, patch_neck=None):
        """Scores of class tokens and of patches (M x D), which one projector gives or two."""
        return neck(features, patches) if patch_neck is None else [*neck(features), *patch_neck([patches])]

    def compile_parts(self):
        parts = [*super().compile_parts(), *self.followed[2:]]
        return parts if self.gram_teacher is None else [*parts, *self.gram_teacher.network]

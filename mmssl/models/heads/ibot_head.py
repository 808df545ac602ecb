# Copyright (c) mmssl contributors. All rights reserved.
"""Head of iBOT."""
import torch

from ..builder import HEADS
from ..losses import masked_patch_prediction
from ..utils.channels import check_channels
from ..utils.targets import build_targets
from .dino_head import DINOHead


@HEADS.register_module()
class IBOTHead(DINOHead):
    """The loss of DINO on class tokens, and the same on the patches that the student does not see (iBOT,
    https://arxiv.org/abs/2111.07832, equations 2 and 3).

    Args:
        in_channels (int): Number of prototypes of class tokens.
        patch_channels (int, optional): Number of prototypes of patches; by default `in_channels`.
        patch_teacher_temp (float): Divides the teacher's scores of patches. ScheduleHook may raise it
            (target='head.patch_teacher_temp').
        patch_weight (float): Factor of the loss of patches.
        kwargs: Of DINOHead. `student_temp`, `center_momentum` and `targets` are those of patches as well.

    Raises:
        ValueError: A temperature is not positive, or a weight negative.
    """

    sharpness = ('teacher_temp', 'patch_teacher_temp')

    def __init__(self, in_channels, patch_channels=None, patch_teacher_temp=0.04, patch_weight=1., **kwargs):
        super().__init__(in_channels, **kwargs)
        if not (patch_teacher_temp > 0 and patch_weight >= 0):
            raise ValueError('patch_teacher_temp must be positive and patch_weight not negative, got '
                             f'patch_teacher_temp={patch_teacher_temp!r}, patch_weight={patch_weight!r}')
        self.patch_channels = in_channels if patch_channels is None else patch_channels
        self.patch_teacher_temp = patch_teacher_temp
        self.patch_weight = patch_weight
        self.patch_targets = build_targets(
            kwargs.get('targets', 'centering'), self.patch_channels, kwargs.get('center_momentum', 0.9))

        self.uniform_values['class_loss'] = self.uniform_values.pop('loss')

    def forward(self, student, teacher, patches, patch_teacher, weight, patch_mean=None):
        """Scores of the prototypes to the losses.

        Args:
            student (Tensor): V x B x K, class tokens of all views, large ones first, of which patches are masked.
            teacher (Tensor): G x B x K, class tokens of the large views, whole ones; they get no gradient.
            patches (Tensor): M x K', the masked patches of the student.
            patch_teacher (Tensor): M x K', the same patches of the teacher, which sees them.
            weight (Tensor): M, one by the number of masked patches of the view.
            patch_mean (Tensor, optional): N x K', scores or their means over as many patches each, to whose mean the
                centre of the patches moves. By default those of the masked patches.

        Returns:
            dict[str, Tensor]: `class_loss` and `patch_loss`, which are summed, `teacher_entropy` as of DINOHead, and
            `patch_entropy`, the same of the targets of masked patches, 0 where there is none.

        Raises:
            ConfigError: Scores of another number of prototypes.
        """
        out = super().forward(student, teacher)
        check_channels(patch_teacher, self.patch_channels, self, 'patch_channels')
        targets = self.patch_targets(patch_teacher, self.patch_teacher_temp, patch_mean)
        loss = masked_patch_prediction(patches, targets, weight, teacher.shape[:2].numel(), self.student_temp)
        entropy = torch.special.entr(targets).sum(-1)
        return dict(
            class_loss=out.pop('loss'),
            patch_loss=self.patch_weight * loss,
            patch_entropy=entropy.sum() / max(1, len(entropy)),
            **out)

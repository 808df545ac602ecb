# Copyright (c) mmssl contributors. All rights reserved.
"""Heads of students."""
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import map_regression, negative_cosine, patch_relations, similarity_distillation


@HEADS.register_module()
class SEEDHead(BaseModule):
    """Similarities to a queue of teacher features, as the teacher has them (SEED, https://arxiv.org/abs/2101.04731).

    Args:
        student_temp (float): Divides the student's similarities.
        teacher_temp (float): Divides the teacher's.

    Raises:
        ValueError: A temperature is not positive.
    """
    own = True  # whether an image is compared with its own teacher feature as well

    def __init__(self, student_temp=0.2, teacher_temp=1e-4):
        super().__init__()
        if min(student_temp, teacher_temp) <= 0:
            raise ValueError(f'temperatures must be positive, got student_temp={student_temp!r} and teacher_temp='
                             f'{teacher_temp!r}')
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp

    def forward(self, student, teacher, queue):
        """Unit vectors of both (N x D each) and the queue (D x K) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(
            loss=similarity_distillation(student, teacher, queue, self.student_temp, self.teacher_temp, self.own))


@HEADS.register_module()
class ReSSLHead(SEEDHead):
    """Similarities to a queue of a momentum encoder's features alone (ReSSL, https://arxiv.org/abs/2107.09282).

    Args:
        student_temp (float): Divides the student's similarities.
        teacher_temp (float): Divides the teacher's; it is the smaller one, so that the targets are the sharper.

    Raises:
        ValueError: A temperature is not positive.
    """
    own = False

    def __init__(self, student_temp=0.1, teacher_temp=0.04):
        super().__init__(student_temp, teacher_temp)


@HEADS.register_module()
class SimRegHead(BaseModule):
    """The direction of the teacher's features is regressed (SimReg, BMVC 2021)."""

    def forward(self, student, teacher):
        """Predictions and features of the teacher (N x D each) to a loss.

        Returns:
            dict[str, Tensor]: `loss`, 2 - 2 cos, which is the squared distance of the unit vectors.
        """
        return dict(loss=2 + 2 * negative_cosine(student, teacher))


@HEADS.register_module()
class DenseDistillationHead(BaseModule):
    """The teacher's map is regressed.

    Args:
        kind (str): 'mse', or 'cosine' for the direction of each place alone.

    Raises:
        ValueError: Another word.
    """

    def __init__(self, kind='mse'):
        super().__init__()
        if kind not in ('mse', 'cosine'):
            raise ValueError(f"kind is 'mse' or 'cosine', got {kind!r}")
        self.kind = kind

    def forward(self, student, teacher):
        """Maps of both (N x D x H x W each) to a loss.

        Returns:
            dict[str, Tensor]: `loss`.
        """
        return dict(loss=map_regression(student, teacher, self.kind))


@HEADS.register_module()
class RelationalDistillationHead(SEEDHead):
    """Similarities of images to a queue, and of the places of an image to each other, as the teacher has them.

    Args:
        student_temp (float): Divides the student's similarities to the queue.
        teacher_temp (float): Divides the teacher's.
        patch_temp (float): Divides the cosines of places, of both.
        patch_weight (float): Weight of the places beside the images.

    Raises:
        ValueError: A temperature is not positive, or the weight is negative.
    """

    def __init__(self, student_temp=0.07, teacher_temp=0.07, patch_temp=0.07, patch_weight=1.):
        super().__init__(student_temp, teacher_temp)
        if patch_temp <= 0 or patch_weight < 0:
            raise ValueError(f'patch_temp must be positive and patch_weight not negative, got {patch_temp!r} and '
                             f'{patch_weight!r}')
        self.patch_temp = patch_temp
        self.patch_weight = patch_weight

    def compare_places(self, student, teacher):
        """Maps of both, N x C x H x W and N x D x H x W, to the weighted loss."""
        return self.patch_weight * patch_relations(student, teacher, self.patch_temp)

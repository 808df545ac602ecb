# Copyright (c) mmssl contributors. All rights reserved.
"""Head of DINO."""
import math

import torch
from mmcv.runner import BaseModule

from ..builder import HEADS
from ..losses import swapped_prediction
from ..utils.channels import check_channels
from ..utils.targets import build_targets


@HEADS.register_module()
class DINOHead(BaseModule):
    """Each view of the student predicts what the teacher says of the other large views (DINO,
    https://arxiv.org/abs/2104.14294, algorithm 1).

    The teacher's scores are made probabilities that use all prototypes, over the images and large views of all
    processes: they are centred and sharpened, as in DINO, or scaled by Sinkhorn and Knopp's algorithm, as in DINOv2.

    Args:
        in_channels (int): Number of prototypes.
        teacher_temp (float): Divides the teacher's scores. ScheduleHook may raise it (target='head.teacher_temp').
        student_temp (float): Divides the student's scores.
        center_momentum (float): Share of the centre that stays in an iteration, with targets='centering'.
        targets (str): 'centering' or 'sinkhorn'.

    Attributes:
        uniform_values (dict[str, float | Tensor]): Entries of the result, and what they are where all scores are equal.
        sharpness (tuple[str]): Attributes to lower then.
        uniform_kind (str): What is alike then: 'prototypes', 'keys', 'classes' or 'cosine'.
        targets (nn.Module): Scores and a temperature to probabilities; see Centering and SinkhornKnopp.

    Raises:
        ValueError: A temperature is not positive, a momentum outside 0 to 1, or targets another word.
    """

    sharpness = ('teacher_temp', )
    uniform_kind = 'prototypes'

    def __init__(self, in_channels, teacher_temp=0.04, student_temp=0.1, center_momentum=0.9, targets='centering'):
        super().__init__()
        if not (teacher_temp > 0 and student_temp > 0):
            raise ValueError(f'temperatures must be positive, got teacher_temp={teacher_temp!r}, '
                             f'student_temp={student_temp!r}')
        self.in_channels = in_channels
        self.teacher_temp = teacher_temp
        self.student_temp = student_temp
        self.targets = build_targets(targets, in_channels, center_momentum)
        self.uniform_values = dict.fromkeys(('loss', 'teacher_entropy'), math.log(in_channels))

    def forward(self, student, teacher):
        """Scores of the prototypes to the loss.

        Args:
            student (Tensor): V x B x K, of all views, large ones first.
            teacher (Tensor): G x B x K, of the large views; they get no gradient.

        Returns:
            dict[str, Tensor]: `loss`, and `teacher_entropy`, of the targets in nats: near 0 one prototype has taken
            all of an image, near ln K all are alike. If it is ln K and the loss too, the training has collapsed.

        Raises:
            ConfigError: Scores of another number of prototypes.
        """
        check_channels(teacher[0], self.in_channels, self)
        targets = self.targets(teacher.flatten(0, 1), self.teacher_temp).unflatten(0, teacher.shape[:2])
        loss = swapped_prediction(student, targets, range(len(teacher)), temperature=self.student_temp)
        return dict(loss=loss, teacher_entropy=torch.special.entr(targets).sum(-1).mean())

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if prefix + 'center' in state_dict:  # of the first checkpoints
            state_dict[prefix + 'targets.center'] = state_dict.pop(prefix + 'center')
        super()._load_from_state_dict(state_dict, prefix, *args)

# Copyright (c) mmssl contributors. All rights reserved.
"""Head of DINO."""
import torch
from mmcv.runner import BaseModule

from mmssl.utils.dist import reduce_mean
from ..builder import HEADS
from ..losses import in_float32, swapped_prediction
from ..utils.channels import check_channels


@HEADS.register_module()
class DINOHead(BaseModule):
    """Each view of the student predicts what the teacher says of the other large views (DINO,
    https://arxiv.org/abs/2104.14294, algorithm 1).

    The teacher's scores are centred and sharpened: the centre is a moving average of the scores of all processes, which
    keeps one prototype from winning everywhere; the low temperature keeps all of them from being alike.

    Args:
        in_channels (int): Number of prototypes.
        teacher_temp (float): Divides the teacher's scores. ScheduleHook may raise it (target='head.teacher_temp').
        student_temp (float): Divides the student's scores.
        center_momentum (float): Share of the centre that stays in an iteration.

    Attributes:
        center (Tensor): 1 x in_channels.

    Raises:
        ValueError: A temperature is not positive, or a momentum outside 0 to 1.
    """

    def __init__(self, in_channels, teacher_temp=0.04, student_temp=0.1, center_momentum=0.9):
        super().__init__()
        if not (teacher_temp > 0 and student_temp > 0 and 0 <= center_momentum <= 1):
            raise ValueError('temperatures must be positive and center_momentum within 0 to 1, got teacher_temp='
                             f'{teacher_temp!r}, student_temp={student_temp!r}, center_momentum={center_momentum!r}')
        self.teacher_temp = teacher_temp
        self.student_temp = student_temp
        self.center_momentum = center_momentum
        self.register_buffer('center', torch.zeros(1, in_channels))

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
        check_channels(teacher[0], self.center.shape[1], self)
        targets, entropy = self.targets(teacher, self.center, self.teacher_temp)
        loss = swapped_prediction(student, targets, range(len(teacher)), temperature=self.student_temp)
        if self.training:
            self.update_center(teacher)
        return dict(loss=loss, teacher_entropy=entropy)

    @staticmethod
    @torch.no_grad()
    @in_float32
    def targets(teacher, center, temperature):
        """Probabilities of the prototypes, as `teacher`, and their mean entropy."""
        log_p = ((teacher - center) / temperature).log_softmax(-1)
        p = log_p.exp()
        return p, -(p * log_p).sum(-1).mean()

    @torch.no_grad()
    def update_center(self, teacher):
        """Move the centre towards the mean scores of the batch of all processes."""
        mean = teacher.mean((0, 1), dtype=torch.promote_types(teacher.dtype, torch.float32))
        self.center.lerp_(reduce_mean(mean[None]).to(self.center.dtype), 1 - self.center_momentum)

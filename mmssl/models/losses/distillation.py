# Copyright (c) mmssl contributors. All rights reserved.
"""Losses of a student that learns from the features of a teacher."""
import torch

from .precision import in_float32


@in_float32
def similarity_distillation(student, teacher, queue, student_temp=0.2, teacher_temp=1e-4):
    """The student is to find the same images similar as the teacher (SEED, https://arxiv.org/abs/2101.04731).

    Each image is compared with its own teacher feature and with those of a queue. The softmax of the student's
    similarities is to be that of the teacher's.

    Args:
        student (Tensor): Projections of unit length, N x D.
        teacher (Tensor): Features of the teacher of unit length, N x D; they get no gradient.
        queue (Tensor): Features of the teacher of earlier batches, D x K.
        student_temp (float): Divides the student's similarities.
        teacher_temp (float): Divides the teacher's. At 1e-4, as published, the target is nearly the own image alone.

    Returns:
        Tensor: Mean cross-entropy over images, 0-dim.
    """
    teacher = teacher.detach()

    def similarities_to_all(x):
        return torch.cat([(x * teacher).sum(1, keepdim=True), x @ queue], 1)  # N x (1 + K)

    targets = (similarities_to_all(teacher) / teacher_temp).softmax(1)
    return -(targets * (similarities_to_all(student) / student_temp).log_softmax(1)).sum(1).mean()

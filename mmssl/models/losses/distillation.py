# Copyright (c) mmssl contributors. All rights reserved.
"""Losses of a student that learns from the features of a teacher."""
import torch
from torch.nn import functional as F

from mmssl.utils.errors import ConfigError
from .precision import in_float32


@in_float32
def similarity_distillation(student, teacher, queue, student_temp=0.2, teacher_temp=1e-4, own=True):
    """The student is to find the same images similar as the teacher (SEED, https://arxiv.org/abs/2101.04731).

    Each image is compared with its own teacher feature and with those of a queue. The softmax of the student's
    similarities is to be that of the teacher's.

    Args:
        student (Tensor): Projections of unit length, N x D.
        teacher (Tensor): Features of the teacher of unit length, N x D; they get no gradient.
        queue (Tensor): Features of the teacher of earlier batches, D x K.
        student_temp (float): Divides the student's similarities.
        teacher_temp (float): Divides the teacher's. At 1e-4, as published, the target is nearly the own image alone.
        own (bool): Compare with the own teacher feature too; ReSSL (https://arxiv.org/abs/2107.09282) takes the queue
            alone.

    Returns:
        Tensor: Mean cross-entropy over images, 0-dim.
    """
    teacher = teacher.detach()

    def similarities_to_all(x):
        to_queue = x @ queue  # N x K
        return torch.cat([(x * teacher).sum(1, keepdim=True), to_queue], 1) if own else to_queue

    targets = (similarities_to_all(teacher) / teacher_temp).softmax(1)
    return -(targets * (similarities_to_all(student) / student_temp).log_softmax(1)).sum(1).mean()


@in_float32
def patch_relations(student, teacher, temperature=0.07):
    """The places of an image are to be as similar to each other as they are to the teacher.

    For each place, the softmax of its cosines with all places of the image is compared with the teacher's.

    Args:
        student (Tensor): Maps, N x C x H x W.
        teacher (Tensor): Maps of the same height and width, N x D x H x W; they get no gradient.
        temperature (float): Divides the cosines of both.

    Returns:
        Tensor: Kullback-Leibler divergence of the student's rows from the teacher's, mean over images and places,
        0-dim; 0 where all are equal.

    Raises:
        ConfigError: There is one place, which has no other to be compared with.
    """
    if student.shape[2:].numel() < 2:
        raise ConfigError('the places of an image are compared with each other, and the maps have one place, of '
                          f'{" x ".join(map(str, student.shape[2:]))}: take larger images or smaller strides')

    def rows(x):
        x = F.normalize(x.flatten(2), dim=1)  # N x C x HW
        return (x.mT @ x / temperature).log_softmax(2)  # N x HW x HW

    return F.kl_div(rows(student), rows(teacher.detach()), reduction='sum', log_target=True) / student[:, 0].numel()


@in_float32
def map_regression(student, teacher, kind='mse'):
    """The student's map is to be the teacher's.

    Args:
        student (Tensor): Maps, N x D x H x W.
        teacher (Tensor): Maps of the same shape; they get no gradient.
        kind (str): 'mse' for the mean squared difference, 'cosine' for 2 - 2 cos of each place.

    Returns:
        Tensor: Mean over images and places, 0-dim.
    """
    teacher = teacher.detach()
    if kind == 'mse':
        return F.mse_loss(student, teacher)
    return 2 - 2 * F.cosine_similarity(student, teacher, dim=1).mean()

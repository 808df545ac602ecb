# Copyright (c) mmssl contributors. All rights reserved.
"""Head of MSN."""
import math

import torch
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.dist import get_world_size
from ..builder import HEADS
from ..losses import check_several_images, masked_siamese, prototype_scores
from ..utils.channels import check_channels
from ..utils.targets import SinkhornKnopp


@HEADS.register_module()
class MSNHead(BaseModule):
    """Masked views are assigned to learned prototypes as the whole image is (MSN, https://arxiv.org/abs/2204.07141).

    The assignment of the whole image is sharpened, and Sinkhorn has it use all prototypes of a batch. The mean of the
    assignments of all masked views is pulled to a prior, which keeps them from being all one: prototypes that are used
    alike, or by a power law (PMSN, https://arxiv.org/abs/2210.07277), as classes of collected images are.

    Args:
        in_channels (int): Dimension of the projections, D.
        num_prototypes (int): K.
        student_temp (float): Divides the scores.
        sharpening (float): Divides those of the whole image too.
        sinkhorn_iterations (int): See SinkhornKnopp; 0 for none.
        weight (float): Weight of the divergence from the prior.
        power (float): The n-th prototype shall be used like n to minus this power. 0 in MSN, 0.25 in PMSN.

    Attributes:
        uniform_values, sharpness, uniform_kind: See DINOHead.
        prototypes (Tensor): K x D. They are trained, without weight decay in the recipes.

    Raises:
        ValueError: A temperature is not positive, or a weight, a power or a number of iterations negative.
    """

    sharpness = ('sharpening', )
    uniform_kind = 'prototypes'

    def __init__(self,
                 in_channels,
                 num_prototypes=1024,
                 student_temp=0.1,
                 sharpening=0.25,
                 sinkhorn_iterations=3,
                 weight=1.,
                 power=0.):
        super().__init__()
        if not (student_temp > 0 and sharpening > 0 and min(sinkhorn_iterations, weight, power) >= 0):
            raise ValueError('student_temp and sharpening must be positive, sinkhorn_iterations, weight and power not '
                             f'negative; got {student_temp!r}, {sharpening!r}, {sinkhorn_iterations!r}, {weight!r} and '
                             f'{power!r}')
        self.student_temp = student_temp
        self.sharpening = sharpening
        self.sinkhorn = SinkhornKnopp(sinkhorn_iterations) if sinkhorn_iterations else None
        self.weight = weight
        self.uniform_values = dict.fromkeys(('cross_entropy', 'teacher_entropy'), math.log(num_prototypes))
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, in_channels))
        nn.init.uniform_(self.prototypes, -in_channels**-0.5, in_channels**-0.5)
        log_prior = (-power * torch.arange(1, num_prototypes + 1, dtype=torch.float64).log()).log_softmax(0)
        self.register_buffer('log_prior', log_prior.float(), persistent=False)

    def forward(self, anchors, whole):
        """Projections to the loss.

        Args:
            anchors (Tensor): Of the masked and small views, V x B x D.
            whole (Tensor): The teacher's, of whole views, B x D; they get no gradient.

        Returns:
            dict[str, Tensor]: `loss`; its terms `cross_entropy` and `divergence`, which is ln K if one prototype takes
            all and 0 if all are used as they shall be; and `teacher_entropy`, of the targets in nats. If both
            cross_entropy and teacher_entropy stay at ln K, all assignments are alike.

        Raises:
            ConfigError: Projections of another dimension.
        """
        check_channels(whole, self.prototypes.shape[1], self)
        check_several_images(len(whole) * get_world_size())
        targets = self.targets(whole)
        cross_entropy, divergence = masked_siamese(
            prototype_scores(anchors, self.prototypes), targets, self.log_prior, self.student_temp)
        return dict(
            loss=cross_entropy + self.weight * divergence,
            cross_entropy=cross_entropy,
            divergence=divergence,
            teacher_entropy=torch.special.entr(targets).sum(-1).mean())

    @torch.no_grad()
    def targets(self, whole):
        """Projections of whole views, B x D, to probabilities of the prototypes, B x K, in float32."""
        scores = prototype_scores(whole, self.prototypes) / (self.student_temp * self.sharpening)
        # rows with the sum 1 go into Sinkhorn, as published
        log_p = scores.log_softmax(-1)
        return log_p.exp() if self.sinkhorn is None else self.sinkhorn(log_p, 1.)

# Copyright (c) mmssl contributors. All rights reserved.
"""What distillations share: a student and its frozen teacher."""
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import check_arguments
from ..utils.frozen_teacher import FrozenTeacher
from ..utils.stored_teacher import StoredTeacher
from .base import BackboneNeckHead


class Distillation(BackboneNeckHead):
    """A student that learns from the features of a frozen teacher.

    Args:
        backbone (dict): Config of the student's backbone.
        neck (dict): Config of its projector, which ends with the dimension of the teacher's features.
        head (dict): Config of the loss.
        teacher (dict): Arguments of FrozenTeacher: `backbone`, `checkpoint` and, where its projections are taught,
            `neck`. Or those of StoredTeacher: `features`, a folder of features that were computed before.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ConfigError: There is no teacher, or its features have another dimension than the projections.
    """

    def __init__(self, backbone, neck=None, head=None, teacher=None, init_cfg=None):
        super().__init__(backbone, neck, head, init_cfg)
        if not isinstance(teacher, dict) or 'backbone' not in teacher and 'features' not in teacher:
            raise ConfigError('model.teacher is a dict with backbone and checkpoint, or with features, got '
                              f'{teacher!r}')
        kind = StoredTeacher if 'features' in teacher else FrozenTeacher
        check_arguments(kind, teacher, teacher)
        self.teacher = kind(**teacher)
        self.check_widths()

    @property
    def taught_channels(self):
        """int | None: Dimensions of what the teacher teaches, where it tells."""
        return self.teacher.out_channels

    def check_widths(self):
        """See that student and teacher give the same dimensions, where both tell."""
        own, others = self.neck.out_channels, self.taught_channels
        if None not in (own, others) and own != others:
            raise ConfigError(f'the teacher gives features of {others} dimensions, the neck projections of {own}: set '
                              f'the last width of model.neck to {others}')

    def need_network(self):
        """See that the teacher is there itself, whose maps belong to what is seen.

        Raises:
            ConfigError: It is a StoredTeacher.
        """
        if isinstance(self.teacher, StoredTeacher):
            raise ConfigError(f'{type(self).__name__} compares places of a view, which stored features '
                              f'(model.teacher.features={self.teacher.features!r}) have not: give model.teacher a '
                              'backbone and a checkpoint')

    def fit_to_data(self, samples, views=None):
        """Stored features are opened, see BaseModel.fit_to_data."""
        super().fit_to_data(samples, views)
        self.check_widths()

    def compile_parts(self):
        return [*super().compile_parts(), *getattr(self.teacher, 'network', {}).values()]

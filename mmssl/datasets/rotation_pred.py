# Copyright (c) mmssl contributors. All rights reserved.
"""Rotated copies of each image, to tell how far they were turned."""
import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from .pipelines.geometry import turn
from .pipelines.rng import seed_view
from .pretext import PretextDataset
from .registry import DATASETS


def rotate(img, num_angles=4):
    """An image turned by equal steps, counter-clockwise: four are 0, 90, 180 and 270 degrees.

    Args:
        img (ndarray | Tensor | Deferred): Square; arrays H x W x C, tensors C x H x W.
        num_angles (int): Number of steps in a full turn; see geometry.turn.

    Returns:
        list[ndarray | Tensor | Deferred]: The copies, contiguous.

    Raises:
        ValueError: The image is not square: two of the copies would have another shape.
    """
    if not isinstance(img, torch.Tensor):
        return [turn(img, number, num_angles) for number in range(num_angles)]
    copies = rotate(img.permute(1, 2, 0).numpy(), num_angles)
    return [torch.from_numpy(one).permute(2, 0, 1).contiguous() for one in copies]


@DATASETS.register_module()
class RotationPredDataset(PretextDataset):
    """Each image in all orientations, which are the classes <https://arxiv.org/abs/1803.07728>.

    One random orientation an image, as VISSL has it: SampleDataset with the step RandomAngle.

    Args: see BaseDataset, the pipeline ends with square images; besides
        num_angles (int): Number of orientations, equal steps of a full turn.
    """

    def __init__(self, data_source, pipeline, prefetch=False, num_angles=4):
        if isinstance(num_angles, bool) or num_angles < 2:
            raise ConfigError(f'num_angles must be an integer above 1, got {num_angles!r}')
        super().__init__(data_source, pipeline, prefetch)
        self.num_classes = num_angles

    def with_pipelines(self, change):
        # a turn by other angles takes the pixels
        return super().with_pipelines(change) if self.num_classes in (2, 4) else self

    def __getitem__(self, idx):
        img = self.stored_for([self.pipeline], idx)
        seed_view(0)
        view = self.finish(self.pipeline(img))
        try:
            views = rotate(view, self.num_classes)
        except ValueError as error:
            raise ConfigError(f'{type(self).__name__}.pipeline: {error}') from error
        return dict(img=views, rot_label=np.arange(self.num_classes), idx=idx)

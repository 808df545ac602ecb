# Copyright (c) mmssl contributors. All rights reserved.
"""Four rotated copies of each image, to tell how far they were turned."""
import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from .pipelines.rng import seed_view
from .pretext import PretextDataset
from .registry import DATASETS


def rotate(img):
    """An image turned by 0, 90, 180 and 270 degrees counter-clockwise.

    Args:
        img (ndarray | Tensor): Square; arrays H x W x C, tensors C x H x W.

    Returns:
        list[ndarray | Tensor]: The four copies, contiguous.

    Raises:
        ValueError: The image is not square: two of the copies would have another shape.
    """
    is_tensor = isinstance(img, torch.Tensor)
    height, width = img.shape[-2:] if is_tensor else img.shape[:2]
    if height != width:
        raise ValueError(f'only square images keep their shape when they are turned, got {height} x {width} pixels '
                         '(height x width)')
    if is_tensor:
        return [torch.rot90(img, quarters, (1, 2)).contiguous() for quarters in range(4)]
    return [np.ascontiguousarray(np.rot90(img, quarters)) for quarters in range(4)]


@DATASETS.register_module()
class RotationPredDataset(PretextDataset):
    """Each image in four orientations, which are the classes <https://arxiv.org/abs/1803.07728>.

    Args: see BaseDataset; the pipeline ends with square images.
    """
    num_classes = 4

    def __getitem__(self, idx):
        img = self.stored(idx)
        seed_view(0)
        view = self.finish(self.pipeline(img))
        try:
            views = rotate(view)
        except ValueError as error:
            raise ConfigError(f'{type(self).__name__}.pipeline: {error}') from error
        return dict(img=views, rot_label=np.arange(4), idx=idx)

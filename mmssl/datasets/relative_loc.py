# Copyright (c) mmssl contributors. All rights reserved.
"""Nine patches of each image, to tell where the outer ones lie."""
import numpy as np

from mmssl.utils.errors import ConfigError
from .images import is_pillow, to_array, to_pillow
from .pipelines.compose import Compose
from .pipelines.rng import rng, seed_view
from .pretext import PretextDataset
from .registry import DATASETS

_MIN_SIZE = 9  # a cell of 3 pixels is the smallest that has room for a jitter


def image_to_patches(img):
    """Cut one patch out of each cell of a 3 x 3 grid.

    An image of 255 x 255 pixels has cells of 85 pixels and patches of 64, which lie anywhere in their cells: borders
    of neighbours do not meet, and their distances vary, so that continued edges do not give the place away. Images of
    other sizes are cut in the same proportions.

    Args:
        img (ndarray | PIL.Image.Image): uint8, H x W x C.

    Returns:
        list[ndarray | PIL.Image.Image]: Nine patches in raster order, all of one size, uint8, h x w x C; Pillow images
            of such.

    Raises:
        TypeError: `img` is no such image.
        ValueError: It is too small for a grid.
    """
    back, img = to_pillow if is_pillow(img) else np.ascontiguousarray, to_array(img)
    if not isinstance(img, np.ndarray) or img.ndim != 3:
        raise TypeError(f'patches are cut out of an H x W x C array, got {type(img).__name__}: steps that make tensors '
                        'belong in format_pipeline')
    height, width = img.shape[:2]
    if min(height, width) < _MIN_SIZE:
        raise ValueError(
            f'an image of {height} x {width} pixels is too small for 3 x 3 patches with a jitter: it takes '
            f'{_MIN_SIZE} x {_MIN_SIZE} or more')
    cell = np.array([height // 3, width // 3])
    jitter = np.round(cell * 21 / 85).astype(int)
    h, w = cell - jitter
    shifts = rng().integers(0, jitter, (9, 2), endpoint=True)
    corners = cell * [(row, column) for row in range(3) for column in range(3)] + shifts
    return [back(img[y:y + h, x:x + w]) for y, x in corners]


@DATASETS.register_module()
class RelativeLocDataset(PretextDataset):
    """Nine patches of each image: the middle one and its eight neighbours, which are the classes.

    As in Doersch et al. <https://arxiv.org/abs/1505.05192>, in the sizes that OpenSelfSup settled on.

    Args:
        data_source (dict | BaseDataSource): Where images come from.
        pipeline (list[dict | Callable]): Steps from the stored image to the one that is cut up.
        format_pipeline (list[dict | Callable]): Steps for each patch: ToTensor and Normalize. With `prefetch` steps
            that leave uint8 arrays, or none.
        prefetch (bool): See BaseDataset.
    """
    num_classes = 8

    def __init__(self, data_source, pipeline, format_pipeline, prefetch=False):
        super().__init__(data_source, pipeline, prefetch)
        self.format_pipeline = Compose(format_pipeline)

    def __getitem__(self, idx):
        img = self.stored(idx)
        seed_view(0)
        img = self.pipeline(img)
        try:
            patches = image_to_patches(img)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{type(self).__name__}.pipeline: {error}') from error
        patches = [self.finish(self.format_pipeline(patch)) for patch in patches]
        return dict(img=patches, patch_label=np.arange(8), idx=idx)

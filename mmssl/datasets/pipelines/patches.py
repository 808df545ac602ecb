# Copyright (c) mmssl contributors. All rights reserved.
"""Patches of a grid, cut out of one image and put in another order: Jigsaw and PIRL."""
import math

import numpy as np

from mmssl.utils.errors import ConfigError
from ..images import is_pillow, to_array, to_pillow
from ..permutations import choose_permutations, load_permutations
from ..registry import PIPELINES
from .crop import RandomResizedCrop
from .rng import rng
from .sample import SampleStep, map_images


def grid_side(num_patches):
    """Cells along a side of a square grid of so many patches.

    Raises:
        ConfigError: There is no such grid.
    """
    side = math.isqrt(num_patches) if isinstance(num_patches, int) and num_patches > 0 else 0
    if side < 2 or side**2 != num_patches:
        raise ConfigError(f'num_patches must be a square number, 4 or more, such as 9; got {num_patches!r}')
    return side


def image_to_patches(img, side=3, jitter=None):
    """Cut one patch out of each cell of a grid, of 3 x 3 cells by default.

    An image of 255 x 255 pixels has cells of 85 pixels and patches of 64, which lie anywhere in their cells: borders
    of neighbours do not meet, and their distances vary, so that continued edges do not give the place away. Images of
    other sizes are cut in the same proportions.

    Args:
        img (ndarray | PIL.Image.Image): uint8, H x W x C.
        side (int): Cells along each side of the grid.
        jitter (int, optional): By how many pixels a patch is smaller than its cell, in height and width; 21/85 of it.

    Returns:
        list[ndarray | PIL.Image.Image]: side ** 2 patches in raster order, all of one size, uint8, h x w x C; Pillow
            images of such.

    Raises:
        TypeError: `img` is no such image.
        ValueError: It is too small for a grid.
    """
    back, img = to_pillow if is_pillow(img) else np.ascontiguousarray, to_array(img)
    if not isinstance(img, np.ndarray) or img.ndim != 3:
        raise TypeError(f'patches are cut out of an H x W x C array, got {type(img).__name__}: steps that make tensors '
                        'belong in format_pipeline')
    height, width = img.shape[:2]
    smallest = side * (3 if jitter is None else jitter + 1)  # a cell of 3 pixels has room for a jitter of one
    if min(height, width) < smallest:
        raise ValueError(f'an image of {height} x {width} pixels is too small for {side} x {side} patches with a '
                         f'jitter{"" if jitter is None else f" of {jitter}"}: it takes {smallest} x {smallest} or more')
    cell = np.array([height // side, width // side])
    jitter = np.round(cell * 21 / 85).astype(int) if jitter is None else np.array([jitter, jitter])
    h, w = cell - jitter
    shifts = rng().integers(0, jitter, (side**2, 2), endpoint=True)
    corners = cell * [(row, column) for row in range(side) for column in range(side)] + shifts
    return [back(img[y:y + h, x:x + w]) for y, x in corners]


@PIPELINES.register_module()
class ImageToPatches(SampleStep):
    """Cut each image of the sample into patches, see image_to_patches.

    Args:
        num_patches (int): A square number, such as 9 for a grid of 3 x 3.
        jitter (int, optional): By how many pixels a patch is smaller than its cell; see image_to_patches.

    Raises:
        ConfigError: There is no such grid, or an image is too small for it.
    """

    def __init__(self, num_patches=9, jitter=None):
        self._side = grid_side(num_patches)
        self.num_patches = num_patches
        if jitter is not None and jitter < 0:
            raise ConfigError(f'jitter must be 0 pixels or more, got {jitter!r}')
        self.jitter = jitter

    def cut(self, img):
        """An image, H x W x C, to num_patches x h x w x C."""
        try:
            return np.stack(image_to_patches(img, self._side, self.jitter))
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{type(self).__name__}: {error}') from error

    def __call__(self, sample):
        return dict(sample, img=map_images(self.cut, sample['img']))


@PIPELINES.register_module()
class PermutePatches(SampleStep):
    """Put the patches of a sample in the order of a random one of some permutations, whose number is the label.

    Args:
        permutations (int | str): How many, which are made by choose_permutations; or a .npy file that holds them, as
            tools/data_converters/make_permutations.py writes it.
        num_patches (int): Patches of each image.
        rule (str): Of permutations that are made, see choose_permutations.
        seed (int): The same.

    Attributes:
        num_classes (int): Number of permutations.

    Raises:
        ConfigError: Permutations of another number of patches than there are.
    """
    makes = ('label', )

    def __init__(self, permutations=2000, num_patches=9, rule='max-avg', seed=0):
        self.permutations = permutations
        self.num_patches = num_patches
        try:
            self._set = load_permutations(permutations) if isinstance(permutations, str) else \
                choose_permutations(permutations, num_patches, rule, seed)
        except ConfigError as error:
            raise ConfigError(f'permutations: {error}') from error
        if self._set.shape[1] != num_patches:
            raise ConfigError(f'permutations: those of {permutations} are of {self._set.shape[1]} patches, num_patches '
                              f'is {num_patches}')
        self.num_classes = len(self._set)

    def __call__(self, sample):
        img = sample['img']
        if not isinstance(img, np.ndarray) or img.ndim != 4 or len(img) != self.num_patches:
            found = f'{len(img)} patches' if getattr(img, 'ndim', 0) == 4 else f'{type(img).__name__} of another kind'
            raise ConfigError(f'PermutePatches takes {self.num_patches} patches, an array num_patches x H x W x C, as '
                              f'ImageToPatches makes them; got {found}')
        label = int(rng().integers(self.num_classes))
        return dict(sample, img=img[self._set[label]], label=label)


@PIPELINES.register_module()
class ImageAndPatches(ImageToPatches):
    """What PIRL compares <https://arxiv.org/abs/1912.01991>: a crop of the image, and patches of another crop.

    The patches come in a random order, any of all there are. `img` is then dict(image=crop, patches=patches): steps
    behind treat the image and each of the patches on its own.

    Args:
        size (int | Sequence[int]): Size of the crop of the image, in pixels.
        scale (Sequence[float]): Range of its share of the area, see RandomResizedCrop.
        patch_size (int | Sequence[int]): Size of the crop that is cut into patches: of 255 pixels these have 64.
        patch_scale (Sequence[float]): Range of its share of the area.
        num_patches (int): See ImageToPatches.
        jitter (int, optional): See ImageToPatches.
        permute (bool): Put the patches in a random order.
    """

    def __init__(self,
                 size=224,
                 scale=(0.08, 1.),
                 patch_size=255,
                 patch_scale=(0.6, 1.),
                 num_patches=9,
                 jitter=None,
                 permute=True):
        super().__init__(num_patches, jitter)
        self.image_crop = RandomResizedCrop(size, scale)
        self.patch_crop = RandomResizedCrop(patch_size, patch_scale)
        self.permute = permute

    def __call__(self, sample):
        img = sample['img']
        if not isinstance(img, np.ndarray) or img.ndim != 3:
            raise ConfigError(f'{type(self).__name__} takes a sample of one image, got {type(img).__name__}: it stands '
                              'before steps that make several')
        image, patches = self.image_crop(img), self.cut(self.patch_crop(img))
        if self.permute:
            patches = patches[rng().permutation(self.num_patches)]
        return dict(sample, img=dict(image=image, patches=patches))

# Copyright (c) mmssl contributors. All rights reserved.
"""Masks for masked image modelling: which patches of an image are hidden from the encoder."""
import math

import numpy as np

from ..registry import PIPELINES
from .base import Step, check_size
from .rng import rng

_TRIES = 100  # blocks in a row that do not fit, after which the rest of a mask is filled patch by patch


def share_of(count, ratio):
    """`ratio * count`, without the rounding error that would move floor or ceil by one.

    Raises:
        ValueError: The ratio is not within 0..1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f'mask_ratio must be within 0..1, got {ratio}')
    return round(ratio * count, 6)  # 0.29 * 100 is 28.999999999999996, and 0.56 * 25 is 14.000000000000002


def _numbers():
    """Four random numbers for each block; drawing those of several at once takes a tenth of the time."""
    while True:
        yield from rng().random((16, 4)).tolist()


class MaskStep(Step):
    """A step that adds a mask to an image or to a tuple of images, which stay as they are.

    It stands last, behind ToTensor and Normalize where there are such. A subclass says in `draw_mask` what is hidden.
    """

    def draw_mask(self):
        """Draw a mask.

        Returns:
            ndarray: int64, h x w patches; 1 is hidden, 0 is seen.
        """
        raise NotImplementedError

    def run(self, img):
        """Add a mask.

        Args:
            img (ndarray | Tensor | tuple): Image, or images such as those of
                RandomResizedCropAndInterpolationWithTwoPic.

        Returns:
            tuple: The image or images, and the mask.
        """
        return (*(img if isinstance(img, (tuple, list)) else (img, )), self.draw_mask())


@PIPELINES.register_module()
class SimMIMMaskGenerator(MaskStep):
    """Hide a share of the squares of a coarse grid, as in SimMIM (https://arxiv.org/abs/2111.09886, section 3.2).

    The mask has a row and a column for each patch of the model, input_size / model_patch_size. The number of hidden
    squares is rounded up: with the default figures 22 of 36.

    Args:
        input_size (int): Length of the image's side in pixels.
        mask_patch_size (int): Length of a square's side in pixels.
        model_patch_size (int): Length of the side of a patch of the model, in pixels.
        mask_ratio (float): Share of the squares that are hidden.
    """

    def __init__(self, input_size=192, mask_patch_size=32, model_patch_size=4, mask_ratio=0.6):
        sizes = input_size, mask_patch_size, model_patch_size
        if any(not isinstance(size, int) or size < 1 for size in sizes) or input_size % mask_patch_size \
                or mask_patch_size % model_patch_size:
            raise ValueError('input_size must be a multiple of mask_patch_size, and that of model_patch_size, all in '
                             f'whole pixels; got {input_size!r}, {mask_patch_size!r} and {model_patch_size!r}')
        self.input_size = input_size
        self.mask_patch_size = mask_patch_size
        self.model_patch_size = model_patch_size
        self.mask_ratio = mask_ratio
        self._side = input_size // mask_patch_size
        self._scale = mask_patch_size // model_patch_size
        self._count = math.ceil(share_of(self._side**2, mask_ratio))

    def draw_mask(self):
        mask = np.zeros(self._side**2, np.int64)
        mask[rng().permutation(len(mask))[:self._count]] = 1
        return mask.reshape(self._side, self._side).repeat(self._scale, 0).repeat(self._scale, 1)


@PIPELINES.register_module()
class BEiTMaskGenerator(MaskStep):
    """Hide rectangular blocks until a number of patches is hidden (BEiT, https://arxiv.org/abs/2106.08254, alg. 1).

    A block counts if it hides at least one patch more and not more than are still missing. The number is always
    reached, so that masks of a batch have equally many hidden patches: where a hundred blocks in a row do not count,
    the rest is chosen patch by patch, at random.

    Args:
        input_size (int | Sequence[int]): Patches along a side, or (rows, columns).
        num_masking_patches (int): Number of hidden patches.
        min_num_patches (int): Least area of a block, in patches. Towards the end, when fewer are missing, it is the
            largest.
        max_num_patches (int, optional): Largest area of a block. None: `num_masking_patches`.
        min_aspect (float): Least height / width of a block.
        max_aspect (float, optional): Largest height / width. None: 1 / `min_aspect`.
    """

    # BEiT gives up after ten blocks that do not count, which leaves a mask short in a third of CAE's images; CAE's
    # authors then fill up patch by patch; MMSelfSup goes on with blocks, without end where none can count. Ours are
    # MMSelfSup's masks but for the one in some hundreds that would take it more than a hundred blocks in a row.
    def __init__(self,
                 input_size,
                 num_masking_patches,
                 min_num_patches=4,
                 max_num_patches=None,
                 min_aspect=0.3,
                 max_aspect=None):
        self.height, self.width = check_size(input_size, 'input_size')
        patches = self.height * self.width
        if not isinstance(num_masking_patches, int) or not 0 <= num_masking_patches <= patches:
            raise ValueError(f'num_masking_patches must be an integer within 0..{patches}, which is the grid of '
                             f'{self.height} x {self.width}; got {num_masking_patches!r}')
        if min_num_patches < 1 or max_num_patches is not None and max_num_patches < min_num_patches:
            raise ValueError('1 <= min_num_patches <= max_num_patches must hold, got '
                             f'min_num_patches={min_num_patches}, max_num_patches={max_num_patches}')
        if min_aspect > 0 and max_aspect is None:
            max_aspect = 1 / min_aspect
        if not 0 < min_aspect <= max_aspect:
            raise ValueError('0 < min_aspect <= max_aspect must hold, got '
                             f'min_aspect={min_aspect}, max_aspect={max_aspect}')
        self.num_masking_patches = num_masking_patches
        self.min_num_patches = min_num_patches
        self.max_num_patches = num_masking_patches if max_num_patches is None else max_num_patches
        self.min_aspect = min_aspect
        self.max_aspect = max_aspect
        self._log_aspect = math.log(min_aspect), math.log(max_aspect)
        # of each height, the bits of a block one patch wide in the first column
        self._columns = [sum(1 << self.width * row for row in range(h)) for h in range(self.height)]

    def get_shape(self):
        """Rows and columns of the mask."""
        return self.height, self.width

    def draw_mask(self):
        # while it is drawn, a mask is an integer with a bit a patch, row after row: for so few patches that takes half
        # the time of an array and its slices
        patches = self.height * self.width
        seen = (1 << patches) - 1
        missing, failed, numbers = self.num_masking_patches, 0, _numbers()
        while missing and failed < _TRIES:
            most = min(missing, self.max_num_patches)
            new = self._draw_block(most, *next(numbers)) & seen
            if 0 < new.bit_count() <= most:
                seen ^= new
                missing -= new.bit_count()
                failed = 0
            else:
                failed += 1
        seen = np.frombuffer(seen.to_bytes(-(-patches // 8), 'little'), np.uint8)
        mask = 1 - np.unpackbits(seen, count=patches, bitorder='little').astype(np.int64)
        if missing:
            mask[rng().permutation(np.flatnonzero(mask == 0))[:missing]] = 1
        return mask.reshape(self.get_shape())

    def _draw_block(self, most, area, aspect, top, left):
        """The bits of a block of up to `most` patches, by four numbers within 0..1; none where it is too long."""
        area = self.min_num_patches + area * (most - self.min_num_patches)
        aspect = math.exp(self._log_aspect[0] + aspect * (self._log_aspect[1] - self._log_aspect[0]))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h >= self.height or w >= self.width:
            return 0
        top, left = int(top * (self.height - h + 1)), int(left * (self.width - w + 1))
        return self._columns[h] * ((1 << w) - 1) << top * self.width + left


@PIPELINES.register_module()
class MaskFeatMaskGenerator(BEiTMaskGenerator):
    """Hide blocks until a share of the grid is hidden, as in MaskFeat (https://arxiv.org/abs/2112.09133).

    The number of hidden patches is rounded down: with the default figures 78 of 196. Like that of BEiTMaskGenerator,
    which says how blocks are drawn, it is always reached; MaskFeat's own code stops short where ten blocks in a row do
    not fit, in three of ten images.

    Args:
        mask_window_size (int): Patches along a side.
        mask_ratio (float): Share of hidden patches.
        min_num_patches (int): See BEiTMaskGenerator.
        max_num_patches (int, optional): See BEiTMaskGenerator.
        min_aspect (float): See BEiTMaskGenerator.
        max_aspect (float, optional): See BEiTMaskGenerator.
    """

    def __init__(self,
                 mask_window_size=14,
                 mask_ratio=0.4,
                 min_num_patches=15,
                 max_num_patches=None,
                 min_aspect=0.3,
                 max_aspect=None):
        height, width = check_size(mask_window_size, 'mask_window_size')
        super().__init__((height, width), math.floor(share_of(height * width, mask_ratio)), min_num_patches,
                         max_num_patches, min_aspect, max_aspect)

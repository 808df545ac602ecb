# Copyright (c) mmssl contributors. All rights reserved.
"""A folder with classes of the photographs that packages carry: a class is the photograph that a tile was cut from."""
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from mmssl.utils.errors import ConfigError

SIZE = 64  # pixels of a tile's side
_EVERY = 4  # a quarter of the tiles is for the test
_LEAST = 24  # tiles of a photograph, below which it is no class
_MOST = 8  # tiles to a side, so that large photographs make no larger classes
# drawings, masks and pages of text are no photographs
_PHOTOGRAPHS = ('astronaut', 'brick', 'camera', 'cell', 'chelsea', 'coffee', 'coins', 'grass', 'gravel',
                'hubble_deep_field', 'ihc', 'moon', 'motorcycle_left', 'retina', 'rocket')


def photographs():
    """Photographs that scikit-image, scikit-learn and matplotlib carry.

    Returns:
        dict[str, ndarray]: By name uint8 arrays H x W x 3, in RGB.

    Raises:
        ConfigError: There are fewer than four: scikit-image is missing.
    """
    import matplotlib
    import sklearn.datasets
    folders = [Path(sklearn.datasets.__file__).parent / 'images', Path(matplotlib.get_data_path(), 'sample_data')]
    wanted = ['china.jpg', 'flower.jpg', 'grace_hopper.jpg']
    try:
        import skimage.data
        folders.append(Path(skimage.data.__file__).parent)
        wanted += [f'{name}{end}' for name in _PHOTOGRAPHS for end in ('.png', '.jpg')]
    except ImportError:
        pass
    found = {}
    for name in wanted:
        path = next((f / name for f in folders if (f / name).exists()), None)
        if path is not None:
            found[path.stem] = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    if len(found) < 4:
        raise ConfigError(f'only {", ".join(found) or "none"} of the photographs are here: pip install scikit-image')
    return found


def make_tiles(folder, bands=False):
    """Cut photographs into tiles that do not overlap, and write those of each into a class folder.

    Every fourth tile, on diagonals of the grid, is for the test, so that no pixel is in both parts.

    Args:
        folder (str | Path): Where to; what is there already is taken as it is.
        bands (bool): Write arrays (.npy) of 13 bands and 16 bits, see data_tiles.tile_of, instead of PNG files.

    Returns:
        Path: The folder, with train/CLASS and test/CLASS in it.
    """
    folder = Path(folder)
    if folder.exists():
        return folder
    part = folder.with_name(f'{folder.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    rng = np.random.default_rng(0)
    for name, image in photographs().items():
        rows, columns = (min(_MOST, side // SIZE) for side in image.shape[:2])
        if rows * columns < _LEAST:
            continue
        for row in range(rows):
            for column in range(columns):
                tile = image[row * SIZE:(row + 1) * SIZE, column * SIZE:(column + 1) * SIZE]
                path = part / ('test' if (row + 2 * column) % _EVERY == 0 else 'train') / name / f'{row:02}-{column:02}'
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, tile, rng if bands else None)
    os.rename(part, folder)
    return folder


def _write(path, tile, rng):
    if rng is None:
        cv2.imwrite(f'{path}.png', np.ascontiguousarray(tile[..., ::-1]))
    else:
        from .data_tiles import tile_of
        np.save(f'{path}.npy', tile_of(tile, rng))

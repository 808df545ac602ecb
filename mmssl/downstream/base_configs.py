# Copyright (c) mmssl contributors. All rights reserved.
"""The configs that an OpenMMLab package carries, as bases of ours. mmcv 1.x knows only paths."""
from importlib.util import find_spec
from pathlib import Path

from mmssl.utils.errors import ConfigError


def base_configs(package, *names):
    """Paths of config files of another package, for `_base_`.

    Args:
        package (str): Module, such as 'mmdet'. It is not imported.
        names (str): Files under its folder `configs/_base_`, such as 'models/mask_rcnn_r50_fpn.py'.

    Returns:
        list[str]: Absolute paths.

    Raises:
        ConfigError: The package is not installed, or has no such file.
    """
    spec = find_spec(package)
    if spec is None:
        raise ConfigError(f'this config stands on those of {package}, which is not installed; `make downstream` '
                          'installs it, and `source .venv-downstream/bin/activate` makes it the one that is used')
    folder = Path(spec.submodule_search_locations[0]) / '.mim' / 'configs' / '_base_'
    for name in names:
        if not (folder / name).is_file():
            raise ConfigError(f'{package} has no config {folder / name}')
    return [str(folder / name) for name in names]

# Copyright (c) mmssl contributors. All rights reserved.
"""Reading the files that tools/extract_features.py has written; mmssl/evaluation/stored_features.py writes them."""
import json
from pathlib import Path

import numpy as np

from .errors import ConfigError


def stored_settings(folder, split, layers=None):
    """What stored features were made of.

    Args:
        folder (str | Path): The folder.
        split (str): The split.
        layers (Sequence[str], optional): Those that are needed.

    Returns:
        dict: The settings.

    Raises:
        FileNotFoundError: The folder has no features of this split, or unfinished ones.
        ConfigError: It lacks a layer.
    """
    note = Path(folder) / f'{split}.json'
    if not note.exists():
        unfinished = (Path(folder) / f'{split}.unfinished').exists()
        raise FileNotFoundError(f'{folder} has no features of {split}' +
                                (', only unfinished ones: run tools/extract_features.py again' if unfinished else ''))
    settings = json.loads(note.read_text())
    for layer in layers or ():
        if layer not in settings['layers']:
            raise ConfigError(f'{folder} has no layer {layer} of {split}; there are {", ".join(settings["layers"])}')
    return settings


def stored_array(folder, split, name):
    """One array of a split, which stays in its file until it is read.

    Args:
        folder (str | Path): The folder.
        split (str): The split.
        name (str): A layer, 'labels' or 'index'.

    Returns:
        ndarray: A row for each image that could be read.
    """
    return np.load(Path(folder) / f'{split}_{name}.npy', mmap_mode='c')  # torch warns of arrays that are read-only

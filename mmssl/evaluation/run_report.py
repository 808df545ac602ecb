# Copyright (c) mmssl contributors. All rights reserved.
"""The files of a run's report: the page, and the pictures in it, which a later page takes over."""
import json
from pathlib import Path

from mmssl.utils.misc import atomic_write, write_json
from .run_page import run_page

PAGE = 'report.html'
PICTURES = 'report_pictures.json'
VERSION = 1  # of the second


def write_page(path, record, pictures=None, every=30):
    """Write the page into a file; see `run_page`."""
    with atomic_write(path) as file:
        file.write(run_page(record, pictures, every))


def save_pictures(folder, pictures):
    """Keep the pictures in the folder of a run."""
    write_json(Path(folder, PICTURES), dict(pictures, version=VERSION), indent=None)


def load_pictures(folder):
    """Pictures from the folder of a run.

    Returns:
        dict: {} where there are none, or none that this version knows.
    """
    try:
        pictures = json.loads(Path(folder, PICTURES).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return pictures if isinstance(pictures, dict) and pictures.get('version') == VERSION else {}

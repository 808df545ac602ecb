# Copyright (c) mmssl contributors. All rights reserved.
"""Lists of images in tables of text: .csv and .tsv, with quotes and headings or without."""
import csv
import os.path as osp
import re

from mmssl.utils.errors import ConfigError
from .base import IMG_EXTENSIONS, has_file_allowed_extension, read_lines
from .labels import labels_of

NAMES = ('paths', 'path', 'images', 'image', 'filenames', 'filename', 'files', 'file', 'img_path')
LABELS = ('labels', 'label', 'targets', 'target', 'gt_labels', 'gt_label')
_FILES = (*IMG_EXTENSIONS, '.npy', '.npz')


def is_table(path):
    """Whether a list is a .tsv, or a .csv whose lines have a comma, semicolon or tab between cells."""
    end = osp.splitext(path)[1].lower()
    return end == '.tsv' or end == '.csv' and _delimiter(next(read_lines(path), (1, ''))[1]) is not None


def read_table(path):
    """The images that a table lists.

    Args:
        path (str): Its first line has headings where no cell of it is the name of an image file. The column of names
            is called `path`, `image`, `filename` or `file`, or is the only one that holds names of image files; labels
            are in the column `label` or `target`, or in the other one of two.

    Returns:
        dict: `paths`, and `labels` where there are any: integers, or words; None where a cell is empty.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: A row has more cells than the first, or it cannot be said which column is which.
    """
    lines = list(read_lines(path))
    if not lines:
        raise ConfigError(f'{path} lists no image')
    delimiter = '\t' if path.lower().endswith('.tsv') else _delimiter(lines[0][1])
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, skipinitialspace=True)
    rows = [[cell.strip() for cell in row] for row in reader]
    width = len(rows[0])
    for (number, _), row in zip(lines, rows):
        if len(row) > width:
            raise ConfigError(f'{path}, line {number}: {len(row)} cells, where the first line has {width}; names that '
                              f'hold {delimiter!r} stand in quotes')
        row += [''] * (width - len(row))
    headings = None if any(has_file_allowed_extension(cell, _FILES) for cell in rows[0]) else rows.pop(0)
    if not rows:
        raise ConfigError(f'{path} lists no image')
    name, label = _columns(path, headings, rows[0])
    paths = [row[name] for row in rows]
    return dict(paths=paths) if label is None else dict(paths=paths, labels=labels_of([row[label] for row in rows]))


def _delimiter(line):
    """What is between the cells of a line, None where it is a name alone."""
    name = re.sub(r'[ \t]+[+-]?\d+$', '', line)
    if name[:1] != '"' and has_file_allowed_extension(name, _FILES) and name[-1:] != '"':  # it may hold a comma
        return None
    found = max(',;\t', key=line.count)
    return found if found in line else None


def _columns(path, headings, row):
    """Numbers of the column of names and of that of labels, None where there is none."""
    low = [heading.lower() for heading in headings or ()]
    files = [i for i, cell in enumerate(row) if has_file_allowed_extension(cell, _FILES)]
    names = [i for i, heading in enumerate(low) if heading in NAMES]
    names = names if len(names) == 1 else files
    labels = [i for i, heading in enumerate(low) if heading in LABELS]
    if len(row) == 2 and len(names) == 1 and not labels:
        labels = [1 - names[0]]
    if len(names) != 1 or len(labels) > 1 or len(row) > 1 and not labels:
        shown = f'the columns {", ".join(headings)}' if headings else f'no headings, and {len(row)} cells a line'
        raise ConfigError(
            f'{path}: which column holds the names of the images, and which the labels? There are {shown}: '
            'call them path and label in the first line, or leave out what is neither')
    return names[0], labels[0] if labels else None

# Copyright (c) mmssl contributors. All rights reserved.
"""What the data sets of a config of mmdet or mmseg read from the disk."""
import os

# In mmdet's and mmseg's data sets alike; data_root stands before all of them
KEYS = ('ann_file', 'split', 'img_prefix', 'seg_prefix', 'img_dir', 'ann_dir')


def data_files(dataset):
    """Files and folders that a data set reads.

    Args:
        dataset (dict | list[dict]): Config of one or several, with wrappers around them.

    Returns:
        list[str]: Paths. Addresses, such as s3://..., are left out.
    """
    inner = dataset if isinstance(dataset, (list, tuple)) else dataset.get('datasets') or dataset.get('dataset')
    if inner:
        inner = inner if isinstance(inner, (list, tuple)) else [inner]
        return [path for one in inner for path in data_files(one)]
    paths = []
    for key in KEYS:
        values = dataset.get(key) or []
        for value in [values] if isinstance(values, str) else values:
            path = os.path.join(dataset.get('data_root') or '', value)
            if '://' not in path:
                paths.append(path)
    return paths

# Copyright (c) mmssl contributors. All rights reserved.
"""Features of a static augmented data set, for the tools of the small-models evaluation."""
import functools
import re

import numpy as np

from mmssl.utils.config import check_sections, load_config
from mmssl.utils.errors import ConfigError
from .evaluation import EvaluationRun


def extract_views(args, name):
    """Features of originals and views.

    Args:
        args (argparse.Namespace): With the options of add_evaluation_options, of which `data_root` is the folder of
            the static set, and `samples_per_class` (int | None).
        name (str): Of the tool, for the log file.

    Returns:
        tuple: The EvaluationRun; the Features of the originals; a list of those of the views.
    """
    # what these options mean is known here: the set has one folder for all sections
    data_root, args.data_root = args.data_root, None
    data = load_config(args.dataset_config, {}).get('data', {})
    sections = sorted((key for key in data if re.fullmatch(r'view\d+', key)), key=lambda key: int(key[4:]))
    run = EvaluationRun(args, ['data.original', *(f'data.{section}' for section in sections or ['view1'])], name)
    for section in ('original', *sections):
        check_sections(run.data_cfg, [f'data.{section}.data_source'])
        source = run.data_cfg.data[section].data_source
        if data_root:
            source.data_prefix = data_root
        if args.samples_per_class:
            source.samples_per_class = args.samples_per_class
    parts = [run.extract(section) for section in ('original', *sections)]
    # an image of which a view cannot be read is left out as a whole
    kept = functools.reduce(np.intersect1d, (part.index for part in parts))
    if not len(kept):
        raise ConfigError('of each image, the original or a view cannot be read')
    originals, *views = [part if len(part) == len(kept) else part.take(kept) for part in parts]
    return run, originals, views

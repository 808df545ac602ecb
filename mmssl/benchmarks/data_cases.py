# Copyright (c) mmssl contributors. All rights reserved.
"""Cases of data that benchmark_data.py measures besides a config's own pipeline, each against what it improves on.

A case NAME is the function `run(cfg, data_prefix, num)` of the module data_NAME beside this one. It gets the config of
the training data set, a folder of images or None, and a number of samples, and returns a dict: `rows`, a list of dicts
with `what`, `images_per_second` and `ratio` (to the first of them); whatever else it has is printed below them by its
name.
"""
from importlib import import_module

CASES = dict(
    photographs='photographs of 12 megapixels: scaled decoding, a packed copy',
    tiles='tiles of 13 channels and 16 bits, against torchvision on float tensors',
    shards='tar shards against the same images in a folder',
    device_steps='batches with the colour steps left to the device (data.device_steps)',
    remote='shards on a server that answers late, against shards on disk')


def run_case(name, cfg, data_prefix=None, num=100):
    """Measure one case.

    Args:
        name (str): One of CASES.
        cfg (dict): Config of the training data set.
        data_prefix (str, optional): Folder of images to measure with, instead of those that the case makes.
        num (int): Number of samples.

    Returns:
        dict: `case`, `rows` and what else the case tells.
    """
    return dict(case=name, **import_module(f'{__package__}.data_{name}').run(cfg, data_prefix, num))


def compare(functions, num, repetitions=5):
    """Processor time of functions that do the same work in several ways, measured in turns.

    Args:
        functions (dict[str, Callable]): By what they do; each takes the number of a sample.
        num (int): Number of samples.
        repetitions (int): A sample counts with the fastest of so many.

    Returns:
        list[dict]: `what`, `images_per_second` of one thread and `ratio` to the first.
    """
    from .data import fastest, one_thread  # with torch, and the names of the cases are wanted without
    with one_thread():
        seconds = fastest(list(functions.values()), num, repetitions)
    return [dict(what=name, images_per_second=1 / own, ratio=seconds[0] / own) for name, own in zip(functions, seconds)]


def format_case(result):
    """The result of run_case as text."""
    lines = [f'{result["case"]:<60} {"images/s":>10} {"ratio":>7}']
    lines += [f'{row["what"]:<60} {row["images_per_second"]:>10.1f} {row["ratio"]:>7.2f}' for row in result['rows']]
    more = {name: value for name, value in result.items() if name not in ('case', 'rows')}
    return '\n'.join(lines + [''] * bool(more) + [f'{name.replace("_", " ")}: {_shown(v)}' for name, v in more.items()])


def _shown(value):
    if isinstance(value, dict):
        return ', '.join(f'{name} {_shown(v)}' for name, v in value.items())
    return f'{value:.3g}' if isinstance(value, float) else str(value)

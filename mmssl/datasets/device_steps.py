# Copyright (c) mmssl contributors. All rights reserved.
"""Data sets whose colour steps are left to the device: what `data.device_steps` does to them."""
import copy

from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from .pipelines.compose import Compose
from .pipelines.record import deferring, first_deferred
from .pipelines.sample import SamplePipeline


def leave_to_device(dataset):
    """A data set that draws the colour steps of its pipelines, and what stands behind them, and does not do them.

    The log says which steps these are.

    Args:
        dataset (Dataset): One of ours with `prefetch=True`, or wrappers of such; it stays as it is.

    Returns:
        Dataset: A copy; its images are Deferred, where a pipeline has such steps.

    Raises:
        ConfigError: A data set of another kind, without `prefetch`, or one whose colour steps all have to be done in
            the worker.
    """
    found = {}
    changed = _changed(dataset, lambda pipeline: _leave(pipeline, found))
    left = [step for steps, _ in found.values() for step in steps]
    stopped = [(steps, by) for steps, by in found.values() if by is not None]
    for steps, by in stopped:
        words = f'{_name(by)} cannot run on the device and has a colour step before it'
        if not left:
            raise ConfigError(f'data.device_steps=True leaves nothing to the device: {words}; let it stand before the '
                              'colour steps, or leave data.device_steps out')
        get_root_logger().warning('data.device_steps: %s: all steps up to it run in the worker', words)
    if left:
        get_root_logger().info('data.device_steps: on the device run %s', ', '.join(dict.fromkeys(map(_name, left))))
    else:
        get_root_logger().info(
            'data.device_steps: %s has no colour steps that can be left to the device, all run in the worker',
            type(dataset).__name__)
    return changed


def _changed(dataset, change):
    other = copy.copy(dataset)
    if hasattr(dataset, 'with_pipelines'):
        if not dataset.prefetch:
            raise ConfigError('data.device_steps=True takes prefetch=True in the data set, without ToTensor and '
                              'Normalize in its pipeline: the steps run on uint8 images, before they are normalised')
        return dataset.with_pipelines(change)
    if hasattr(dataset, 'datasets'):
        other.datasets = [_changed(one, change) for one in dataset.datasets]
    elif hasattr(dataset, 'dataset'):
        other.dataset = _changed(dataset.dataset, change)
    else:
        raise ConfigError(f'data.device_steps=True takes data sets with a pipeline of mmssl (BaseDataset), or wrappers '
                          f'of such; {type(dataset).__name__} is none: leave it out')
    return other


def _leave(pipeline, found):
    if type(pipeline) not in (Compose, SamplePipeline):  # a subclass may do anything
        return pipeline
    first, by = first_deferred(pipeline.transforms)
    found[id(pipeline)] = pipeline.transforms[first:], by
    return deferring(pipeline, first)


def _name(step):
    inner = getattr(step, 'transforms', None)
    inner = [step.step] if hasattr(step, 'step') else getattr(inner, 'transforms', ())
    return type(step).__name__ + (f'({", ".join(map(_name, inner))})' if inner else '')

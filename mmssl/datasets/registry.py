# Copyright (c) mmssl contributors. All rights reserved.
"""Registries of the data path, and what builds data sources, data sets, collators and samplers from configs."""
from functools import partial

from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import Registry, accepted_arguments
from .catalog import build_from_catalog
from .source_subset import build_with_subset

DATASOURCES = Registry('data source')
DATASETS = Registry('dataset')
COLLATORS = Registry('collator')
SAMPLERS = Registry('sampler')


class _Steps(Registry):
    """A registry that finds, under names which nobody registered, the steps of torchvision."""

    def get(self, key):
        found = super().get(key)
        if found is None and key.isidentifier():
            import torchvision.transforms
            found = getattr(torchvision.transforms, key, None)
            if not isinstance(found, type):
                return None
            self.register_module(name=key, module=found)
        return found


PIPELINES = _Steps('pipeline step')


def build_datasource(cfg, default_args=None):
    """Build a data source.

    Args:
        cfg (dict | BaseDataSource): Its config, of the type 'Catalog' for one by name; an entry `subset` has the
            arguments of SourceSubset. A built one is returned as it is.
        default_args (dict, optional): Arguments used where `cfg` has none.

    Returns:
        BaseDataSource | SourceSubset: The source.
    """
    if not isinstance(cfg, dict):
        return cfg
    kind = cfg.get('type')
    if 'subset' in cfg:
        known = DATASOURCES.get(kind) if isinstance(kind, str) else kind
        if not callable(known) or 'subset' not in accepted_arguments(known)[0]:  # which may have one of its own
            return build_with_subset(cfg, partial(build_datasource, default_args=default_args))
    if kind == 'Catalog':
        return build_from_catalog(cfg, build_datasource, default_args)
    return DATASOURCES.build(cfg, default_args=default_args)


def build_collator(cfg=None):
    """Build what puts the samples of a batch together.

    Args:
        cfg (dict | Callable, optional): Its config; None: DefaultCollator. Anything else that can be called is returned
            as it is.

    Returns:
        Callable: A list of samples -> a batch.
    """
    cfg = dict(type='DefaultCollator') if cfg is None else cfg
    return COLLATORS.build(cfg) if isinstance(cfg, dict) else cfg


def build_sampler(cfg, **known):
    """Build a sampler.

    Args:
        cfg (dict | Sampler): Its config; a built one is returned as it is.
        known: Arguments that it gets where it takes them and `cfg` has none, such as `dataset`, `rank` and `seed`.

    Returns:
        Sampler: Yields the indices of this process.

    Raises:
        ConfigError: It has no length, or cannot be iterated over.
    """
    if not isinstance(cfg, dict):
        return cfg
    kind = cfg.get('type')
    cls = SAMPLERS.get(kind) if isinstance(kind, str) else kind
    taken = accepted_arguments(cls)[0] if callable(cls) else ()  # what is no class is told by what builds it
    sampler = SAMPLERS.build(cfg, default_args={name: value for name, value in known.items() if name in taken})
    if not (hasattr(sampler, '__iter__') and hasattr(sampler, '__len__')):
        raise ConfigError(f'{kind} is no sampler: it has no __iter__ or no __len__', cfg)
    return sampler


def build_dataset(cfg, default_args=None):
    """Build a dataset.

    Args:
        cfg (dict | list[dict]): Its config; a list gives a ConcatDataset.
        default_args (dict, optional): Arguments used where `cfg` (each of a list) has none.

    Returns:
        Dataset: The dataset.
    """
    if isinstance(cfg, (list, tuple)):
        return DATASETS.build(dict(type='ConcatDataset', datasets=[build_dataset(c, default_args) for c in cfg]))
    return DATASETS.build(cfg, default_args=default_args)

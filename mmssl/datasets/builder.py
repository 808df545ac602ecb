# Copyright (c) mmssl contributors. All rights reserved.
"""Registries of the data path."""
from mmssl.utils.registry import Registry

DATASOURCES = Registry('data source')
DATASETS = Registry('dataset')
PIPELINES = Registry('pipeline step')

# Copyright (c) mmssl contributors. All rights reserved.
from . import pipelines
from .base import BaseDataset
from .builder import (COLLATORS, DATASETS, DATASOURCES, PIPELINES, SAMPLERS, build_collator, build_dataloader,
                      build_dataset, build_datasource)
from .catalog import CATALOG
from .collators import DefaultCollator, MixupCrops, MultiHotLabels
from .data_sources import *  # noqa: F401,F403
from .dataset_wrappers import ConcatDataset, RepeatDataset, distinct, sample_name
from .deepcluster import DeepClusterDataset
from .loader import PrefetchLoader
from .multi_view import MultiViewDataset
from .relative_loc import RelativeLocDataset
from .rotation_pred import RotationPredDataset
from .sample import SampleDataset
from .samplers import *  # noqa: F401,F403
from .single_view import SingleViewDataset

# Copyright (c) mmssl contributors. All rights reserved.
from ..utils.drawing import keyed_integers
from .cluster import InterCLRMemory, ODCMemory
from .crop_memory import CropMemory
from .queue import enqueue, nearest_keys, new_queue
from .simple import SimpleMemory, bank_similarities, blend_features

__all__ = [
    'CropMemory', 'InterCLRMemory', 'ODCMemory', 'SimpleMemory', 'bank_similarities', 'blend_features', 'enqueue',
    'keyed_integers', 'nearest_keys', 'new_queue'
]

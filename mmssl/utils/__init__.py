# Copyright (c) mmssl contributors. All rights reserved.
"""Helpers without knowledge of models or data. Names are looked up on first use, so that importing this is cheap."""
import importlib
import sys

from mmssl import old_places

_HOMES = {
    'alias_multinomial': ('AliasMethod', ),
    'checkpoint': ('CheckpointError', 'find_latest_checkpoint', 'get_state_dict', 'inflate', 'load_weights',
                   'read_checkpoint', 'save_checkpoint'),
    'clustering': ('CLUSTERINGS', 'Kmeans', 'PIC', 'normalized_mutual_information', 'preprocess_features'),
    'collect': ('dist_forward_collect', 'nondist_forward_collect'),
    'collect_env': ('collect_env', ),
    'distributed_sinkhorn': ('distributed_sinkhorn', ),
    'config': ('DictAction', 'load_config'),
    'data_files': ('load_file', 'save_file'),
    'dist':
    ('batch_shuffle_ddp', 'batch_unshuffle_ddp', 'concat_all_gather', 'get_dist_info', 'init_dist', 'sync_random_seed'),
    'errors': ('ConfigError', ),
    'gather': ('gather_tensors', 'gather_tensors_batch'),
    'indices': ('get_indices_sparse', ),
    'logger': ('get_root_logger', ),
    'misc': ('atomic_write', 'run_tool', 'tensor2imgs'),
    'registry': ('Registry', ),
    'setup_env': ('setup_multi_processes', ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)
sys.modules[__name__].__class__ = old_places.FunctionsFirst


def __getattr__(name):
    if name not in _HOME:
        return old_places.lookup(__name__, name)
    value = getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
    globals()[name] = value
    return value

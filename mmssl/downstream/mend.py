# Copyright (c) mmssl contributors. All rights reserved.
"""mmcv 1.x, and what trains with it, on today's torch and on machines without a GPU.

Neither mmdet 2.x nor mmseg 0.x lets a config choose these, so they are replaced in place:

- how processes join: mmcv's functions divide by the number of GPUs;
- where samplers agree on a seed, and to where a run counted by iterations loads what it resumes: a GPU, whether there
  is one or not;
- the wrapper for several processes: mmcv's asks torch for an attribute that is gone, and both packages refuse a CPU;
- the stream for copies to a GPU: torch wants a device where mmcv gives a number.

Importing mmssl's models makes the registered 'SyncBN' work on CPUs, and 'Pretrained' count the keys that it loads.
"""
import functools
import logging
from importlib import import_module

import torch
from mmcv.parallel import _functions
from mmcv.parallel.scatter_gather import scatter_kwargs
from mmcv.runner import IterBasedRunner, dist_utils

from mmssl.core.distributed import DistributedDataParallel as _DistributedDataParallel
from mmssl.models.utils.pretrained import PretrainedInit
from mmssl.utils.dist import default_device, init_dist


class DistributedDataParallel(_DistributedDataParallel):
    """Ours, for batches in mmcv's DataContainers and for models that call themselves in train_step."""

    method = 'forward'

    def _run_ddp_forward(self, *inputs, **kwargs):
        inputs, kwargs = scatter_kwargs(inputs, kwargs, self.device_ids or [-1])
        return getattr(self.module, self.method)(*inputs[0], **kwargs[0])

    def _call(self, method, *args):
        """torch's forward pass, which prepares the gradients' reduction, around another method of the model."""
        self.method = method
        try:
            return self(*args)
        finally:
            self.method = 'forward'

    def train_step(self, data, optimizer):
        return self._call('train_step', data, optimizer)

    def val_step(self, data, optimizer=None):
        return self._call('val_step', data, optimizer)


def build_ddp(model, device='cuda', device_ids=None, **kwargs):
    """As the functions of this name in mmdet and mmseg, but for CPUs too."""
    return DistributedDataParallel(model.to(device), device_ids=device_ids if device == 'cuda' else None, **kwargs)


def get_stream(device, of=_functions._get_stream):
    """torch's background stream for copies to a device, which may be given as the number of a GPU."""
    return of(torch.device('cuda', device) if isinstance(device, int) else device)


def mend(package):
    """Put the replacements in their places.

    Args:
        package (str): 'mmdet' or 'mmseg'; its name is that of its log too.
    """
    PretrainedInit.logger = logging.getLogger(package)
    for launcher in ('pytorch', 'mpi', 'slurm'):
        setattr(dist_utils, f'_init_dist_{launcher}', functools.partial(init_dist, launcher))
    # the defaults of an argument each: no caller gives it
    IterBasedRunner.resume.__defaults__ = (True, 'cpu')  # resume_optimizer, map_location
    import_module(f'{package}.core.utils').sync_random_seed.__defaults__ = (None, default_device().type)
    _functions._get_stream = get_stream
    # the table serves their tools/test.py, which has its own name for build_ddp by the time a config is read
    import_module(f'{package}.utils.util_distribution').ddp_factory['cuda'] = DistributedDataParallel
    import_module(f'{package}.apis.train').build_ddp = build_ddp
